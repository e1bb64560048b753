"""A program that holds keys of its own beside a file of keys: said by the doctor, and no rotation leaves it behind."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ftplugin.local_programs import running
from tests.parts import eventually

from .conftest import KEY
from .test_keys import Both, both as both_servers  # noqa: F401

LIMIT_S = 20.0


@contextlib.contextmanager
def worker(**environment: str) -> Iterator[int]:
    """A process that looks like the tick worker from outside; its pid."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FT_")}
    command = [sys.executable, "-c", "import time; time.sleep(120)", "workers", "tick"]
    process = subprocess.Popen(command, env={**inherited, **environment})
    try:
        eventually(lambda: process.pid in {p.pid for p in running()}, LIMIT_S, "it has become that program")
        yield process.pid
    finally:
        process.kill()
        process.wait(LIMIT_S)


@pytest.mark.parametrize("side", [0, 1], ids=["here", "there"])
def test_a_rotation_is_refused_before_anything_is_changed(
    both_servers: Both, side: int, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.delenv("FT_CONFIG_FILE", raising=False)
    site, before = (both_servers.own, both_servers.peer)[side], both_servers.rings()
    with worker(FT_SECRET_KEYS=KEY, FT_INSTANCE_DIR=str(site.portal.config.instance_dir)) as pid:
        refused = both_servers.run("rotate")
        assert refused.exit_code == 1 and f"tick worker (pid {pid}): has FT_SECRET_KEYS" in refused.output
        assert ("server2 refused key_new" in refused.output) == (side == 1), refused.output
        assert both_servers.rings() == before
    done = both_servers.run("rotate")
    assert done.exit_code == 0 and both_servers.rings() != before, done.output


def test_programs_of_other_instances_and_those_that_read_the_file_hinder_nothing(
    both_servers: Both, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.delenv("FT_CONFIG_FILE", raising=False)
    own = str(both_servers.own.portal.config.instance_dir)
    with worker(FT_INSTANCE_DIR=own), worker(FT_SECRET_KEYS=KEY, FT_INSTANCE_DIR=str(tmp_path / "another")):
        with worker(FT_SECRET_KEYS=KEY, FT_INSTANCE_DIR=own, FT_CONFIG_FILE=str(tmp_path / "another.toml")):
            done = both_servers.run("rotate")
            assert done.exit_code == 0, done.output


def test_the_doctor_names_it(both_servers: Both, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.delenv("FT_CONFIG_FILE", raising=False)
    runner = both_servers.own.app.test_cli_runner()
    with worker(FT_SECRET_KEYS=KEY, FT_INSTANCE_DIR=str(both_servers.own.portal.config.instance_dir)) as pid:
        said = runner.invoke(args=["ft", "doctor"]).output
        assert f"tick worker (pid {pid}): has FT_SECRET_KEYS and does not read" in said and KEY not in said
    assert "has FT_SECRET_KEYS" not in runner.invoke(args=["ft", "doctor"]).output
