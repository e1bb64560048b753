"""``flask ft`` and ``ft``: exit codes and output."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

from ftplugin.core.terms import Role

from .conftest import KEY, OWN, PEER, Site


@pytest.fixture
def run(site: Site):
    site.agent()
    site.peer()
    runner = site.app.test_cli_runner()
    return lambda *arguments: runner.invoke(args=["ft", *arguments])


def test_status_for_people_and_programs(run, site: Site) -> None:
    site.role(Role.ACTIVE)
    found = run("status")
    assert found.exit_code == 0 and f"Server #1 {OWN} (this server): Active (Primary)" in found.output
    document = json.loads(run("status", "--json").output)
    assert document["active"] == "server1" and document["servers"][1]["status"] == "Standby (Backup)"


def test_status_without_redis_is_3(run, site: Site) -> None:
    site.redis.kill()
    found = run("status")
    assert found.exit_code == 3 and "does not answer" in found.output


def test_switch_is_ordered_or_refused(run, site: Site) -> None:
    site.role(Role.ACTIVE)
    assert run("switch", "server2", "--expect", "server2", "--reason", "r").exit_code == 1
    assert run("switch", "server1", "--reason", "r").exit_code == 1
    assert run("switch", "server3", "--reason", "r").exit_code == 2
    assert run("switch", "server2").exit_code == 2
    assert site.orders() == 0
    found = run("switch", "server2", "--reason", "r", "--json")
    assert found.exit_code == 0 and json.loads(found.output)["expected_active"] == "server1"
    assert site.orders() == 1
    site.redis.kill()
    assert run("switch", "server2", "--reason", "r").exit_code == 3


def test_settings_are_shown_and_set(run, site: Site) -> None:
    assert run("settings", "set", "threshold=6", "lan_references=10.0.0.9,10.0.0.8").exit_code == 0
    document = json.loads(run("settings", "show", "--json").output)
    assert document["revision"] == 2 and document["values"]["lan_references"] == ["10.0.0.9", "10.0.0.8"]
    refused = run("settings", "set", "timeout_s=99", "agent_port=x", "nonsense=1")
    assert refused.exit_code == 1 and "agent_port: must be a whole number" in refused.stderr
    warned = run("settings", "set", "threshold=3")
    assert warned.exit_code == 1 and "--reason" in warned.stderr
    assert run("settings", "set", "threshold=3", "--reason", "lab").exit_code == 0
    assert run("settings", "set", "threshold").exit_code == 2
    assert "against warnings: lab" in run("log").output


def test_hold_freeze_key_and_log(run, site: Site) -> None:
    site.portal.journal.set_manual_hold(True)
    assert run("release-hold").exit_code == 0 and not site.portal.journal.manual_hold()
    assert run("acknowledge-freeze").exit_code == 0 and site.portal.runtime.fetch("ack_freeze")
    assert len(run("key").output.strip()) >= 32
    assert run("log", "--list").output.startswith("FT_REPORT_")
    assert run("log", "--day", "../x").exit_code == 2
    assert run("log", "--day", "FT_REPORT_000101.txt").exit_code == 1


def test_pause_and_drain_are_durable_and_wrong_input_names_field_and_way_out(run, site: Site) -> None:
    site.role(Role.STANDBY)
    wrong = run("pause", "--reason", " ")
    assert wrong.exit_code == 1 and "reason: is empty; say why" in wrong.stderr and site.portal.journal.standing() == {}
    assert run("pause", "--reason", "r", "--minutes", "10081").exit_code == 2
    assert run("pause", "--reason", "upgrade", "--minutes", "5").exit_code == 0
    site.portal.runtime.client.flushall()
    site.role(Role.STANDBY)
    site.agent()
    assert json.loads(run("status", "--json").output)["pause"]["reason"] == "upgrade"
    assert run("resume").exit_code == 0 and site.portal.journal.standing() == {}
    bare = run("drain")
    assert bare.exit_code == 1 and "reason: is empty" in bare.stderr and "--reason TEXT" in bare.stderr
    assert run("drain", "--reason", "new disk").exit_code == 0
    assert site.portal.journal.standing()["drain"]["reason"] == "new disk"
    assert run("drain", "--end").exit_code == 0 and site.portal.journal.standing() == {}


def alone(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from ftplugin.cli import main; main()", *arguments]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("FT_", "FLASK_"))}
    return subprocess.run(program, env=plain | environ, capture_output=True, text=True, timeout=30)


def test_the_program_needs_only_its_file(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        f'FT_OWN_ADDRESS = "{OWN}"\nFT_INSTANCE_DIR = "{tmp_path}/instance"\nFT_SECRET_KEYS = ["{KEY}"]\n'
        'FT_REDIS_URL = "redis://127.0.0.1:1/0"\n'
    )
    pair = [f"server1_address={OWN}", f"server2_address={PEER}", "enabled=yes"]
    saved = alone("settings", "set", *pair, FT_CONFIG_FILE=str(file))
    assert saved.returncode == 0, saved.stderr
    shown = alone("settings", "show", "--json", FT_CONFIG_FILE=str(file))
    assert json.loads(shown.stdout)["values"]["enabled"] is True
    assert alone("status", FT_CONFIG_FILE=str(file)).returncode == 3
    dead = alone("settings", "show", FT_CONFIG_FILE=str(file), FT_DATABASE_URL="sqlite:////proc/none/ft.sqlite3")
    assert dead.returncode == 3 and "/proc/none" in dead.stderr


def test_a_wrong_configuration_is_2_and_named(tmp_path: pathlib.Path) -> None:
    found = alone("status", FT_CONFIG_FILE=str(tmp_path / "missing.toml"))
    assert found.returncode == 2 and "missing.toml" in found.stderr and "Traceback" not in found.stderr
    assert alone("key").returncode == 0
