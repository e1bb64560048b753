"""The systemd units: installed where they belong, without a word of complaint from systemd, and hardened."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from .installed import ROOT, SERVICES, SYSTEM, as_root, install

EXPOSURE_MAX = 2.5  # of 10, in the words of systemd-analyze: "OK"
INSTANCES = [*(f"ftplugin-{name}@shop-2.service" for name in SERVICES), "ftplugin-redis.service"]

needs_analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze") or not SYSTEM.is_dir(), reason="needs Debian's package systemd"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("destdir")
    install(made)
    as_root(made)
    return made


def analyze(folder: pathlib.Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", words[0], f"--root={folder}", "--no-pager", *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "LC_ALL": "C"})


def test_files_are_where_they_belong_and_readable(folder: pathlib.Path) -> None:
    etc = folder / "etc"
    found = {str(path.relative_to(etc)) for path in etc.rglob("*") if path.is_file()}
    units = {f"systemd/system/ftplugin-{name}@.service" for name in SERVICES}
    units |= {f"systemd/system/{name}" for name in ("ftplugin-redis.service", "ftplugin.target", "ftplugin@.target")}
    units |= {"systemd/system/ftplugin-.service.d/10-hardening.conf"}
    units |= {"systemd/system/ftplugin-tick@.service.d/15-ping.conf"}
    assert found == units | {"sysusers.d/ftplugin.conf", "polkit-1/rules.d/50-ftplugin.rules", "ft/flowerconfig.py"}
    assert all((etc / name).stat().st_mode & 0o777 == 0o644 for name in found)


def test_programs_of_another_environment_are_named_in_every_unit(tmp_path: pathlib.Path) -> None:
    units = install(tmp_path, "/srv/portal/env")
    texts = [path.read_text() for path in units.rglob("*.service")]
    assert sum("/srv/portal/env/bin/" in text for text in texts) == len(SERVICES)
    assert not any("/opt/ft/venv" in text for text in texts)


def test_second_installation_keeps_the_administrators_rule_and_says_so(tmp_path: pathlib.Path) -> None:
    install(tmp_path)
    rule = tmp_path / "etc/polkit-1/rules.d/50-ftplugin.rules"
    own = rule.read_text().replace("var UNITS = []", 'var UNITS = ["scheduler.service"]')
    rule.write_text(own)
    command = ["make", "-s", "install-units", f"DESTDIR={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and rule.read_text() == own and f"kept as it is, with your UNITS: {rule}" in done.stdout


@pytest.mark.parametrize("venv", ["", "env", "/srv/my env", "/srv/a|b", "/srv/a&b"])
def test_folder_that_no_unit_can_name_is_refused(tmp_path: pathlib.Path, venv: str) -> None:
    command = ["make", "-s", "install-units", f"DESTDIR={tmp_path}", f"FT_VENV={venv}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and f"FT_VENV='{venv}'" in done.stderr and not list(tmp_path.iterdir())


@needs_analyze
def test_systemd_has_no_complaint(folder: pathlib.Path) -> None:
    found = analyze(folder, "verify", "--man=no", "ftplugin.target", "ftplugin@shop-2.target", *INSTANCES)
    complaints = [line for line in (found.stdout + found.stderr).splitlines() if "ftplugin" in line]
    assert found.returncode == 0 and complaints == []


@needs_analyze
def test_relaxed_units_for_commands_are_valid_too(tmp_path: pathlib.Path) -> None:
    units = install(tmp_path)
    as_root(tmp_path)
    example = (ROOT / "deploy/systemd/commands.conf.example").read_text()
    named = re.findall(r"ftplugin-\w+@\.service\.d", example)
    assert len(named) == 4
    for name in named:
        (units / name).mkdir(exist_ok=True)
        (units / name / "20-commands.conf").write_text(example)
    relaxed = [name.replace("@.service.d", "@node.service") for name in named]
    found = analyze(tmp_path, "verify", "--man=no", *relaxed)
    assert "ftplugin" not in found.stdout + found.stderr
    sandbox = json.loads(analyze(tmp_path, "security", "--offline=true", "--json=short", relaxed[0]).stdout)
    held = {row["name"] for row in sandbox if row["set"]} & {"NoNewPrivileges=", "PrivateTmp=", "ProtectHome="}
    assert held == set(), "a daemon that is started by command is locked in by nothing"


@needs_analyze
@pytest.mark.parametrize("unit", INSTANCES)
def test_unit_is_hardened(folder: pathlib.Path, unit: str) -> None:
    threshold = f"--threshold={EXPOSURE_MAX * 10:.0f}"
    found = analyze(folder, "security", "--offline=true", threshold, unit)
    assert found.returncode == 0, found.stdout[-300:]
    rows = json.loads(analyze(folder, "security", "--offline=true", "--json=short", unit).stdout)
    known = {row["name"]: row["set"] for row in rows}
    for name in ("NoNewPrivileges=", "ProtectSystem=", "PrivateTmp=", "MemoryDenyWriteExecute=", "User=/DynamicUser="):
        assert known[name] is True, name


def test_guard_is_watched_spared_and_last_but_one(folder: pathlib.Path) -> None:
    units = folder / "etc/systemd/system"
    guard = (units / "ftplugin-guard@.service").read_text()
    for line in ("Type=notify", "WatchdogSec=10", "Restart=always", "OOMScoreAdjust=-900", "RefuseManualStop=yes"):
        assert line in guard.splitlines()
    after = {
        name: re.findall(r"ftplugin-(\w+)@%i", " ".join(re.findall(r"^After=(.*)$", text, re.M)))
        for name in SERVICES
        for text in [(units / f"ftplugin-{name}@.service").read_text()]
    }
    assert after["guard"] == ["release"], "so its stop comes before the services are let go"
    assert after["tick"] == after["switch"] == after["portal"] == ["guard"]
    assert set(after["leave"]) == {"portal", "tick", "switch", "guard"}, "so it is the first to stop"
