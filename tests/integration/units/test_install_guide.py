"""docs/install.md and docs/docker.md name only what is there: commands with their options, units, files, variables."""

from __future__ import annotations

import re

import click
import pytest

from ftplugin.cli import group

from ..docker.engine import compose, environment
from .installed import ROOT, SERVICES

INSTALL, DOCKER = ((ROOT / "docs" / name).read_text() for name in ("install.md", "docker.md"))


def ft_commands() -> list[str]:
    shown = re.findall(r"^    ft (.*)$", INSTALL, re.M) + re.findall(r"`ft ([a-z][^`]*)`", INSTALL)
    return sorted(set(shown))


@pytest.mark.parametrize("line", ft_commands())
def test_command_of_the_guide_exists_with_its_options(line: str) -> None:
    command: click.Command = group
    words = re.sub(r'"[^"]*"', "TEXT", line).split("#")[0].split()
    while words and isinstance(command, click.Group):
        found = command.commands.get(words.pop(0))
        assert found is not None, line
        command = found
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known | {"--help"}, line


def test_units_of_the_guide_exist() -> None:
    named = set(re.findall(r"ftplugin-([a-z]+)@", INSTALL)) | set(re.findall(r"`-([a-z]+)@node`", INSTALL))
    assert named == set(SERVICES)
    assert (ROOT / "deploy/systemd/commands.conf.example").exists()


def test_variables_of_flower_are_those_of_its_configuration() -> None:
    named = set(re.findall(r"FT_FLOWER_[A-Z_]+", INSTALL))
    assert named == set(re.findall(r"FT_FLOWER_[A-Z_]+", (ROOT / "deploy/flowerconfig.py").read_text()))


def test_containers_and_networks_of_the_docs_exist() -> None:
    file = compose(environment())
    containers = set(re.findall(r"\bft-([a-z0-9-]+)-1\b", DOCKER))
    assert containers and containers <= set(file["services"])
    assert set(re.findall(r"\bft_(node\d-lan)\b", DOCKER)) <= set(file["networks"])
    for network, address, container in re.findall(r"connect --ip ([\d.]+) ft_(\S+) ft-(\S+)-1", DOCKER):
        assert file["services"][container]["networks"][address]["ipv4_address"] == network
    shown = set(re.findall(r"127\.0\.0\.1:(\d+)", DOCKER))
    published = {port.split(":")[1] for service in file["services"].values() for port in service.get("ports", [])}
    assert shown == published
