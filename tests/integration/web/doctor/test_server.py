"""What the doctor says of this server, of services and settings, and that it shows no secret."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from ftplugin.doctor import examine, run, show
from ftplugin.doctor.place import misspelt
from tests.integration.web.conftest import KEY, MakeSite
from tests.integration.web.doctor.conftest import HOSTS, OWN_PASSWORD, PEER_PASSWORD, TOKEN, MakePair, Pair


def test_its_own_redis_dead_is_no_traceback(pair: Pair) -> None:
    pair.redis[0].kill()
    pair.doctor()
    assert pair.exit_code == 1 and {"redis.answers", "server.portal"} <= set(pair.wrong())
    assert pair.status("server.agent") == "unknown" and pair.took_s < 5
    assert pair.status("server.mode") == "unknown", "nothing holds it back: who would know?"


def test_a_database_that_cannot_be_written(pair: Pair) -> None:
    path = pair.own.portal.database.url.database
    lock = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE'); "
            "print('held', flush=True); time.sleep(60)",
            str(path),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert lock.stdout is not None and lock.stdout.readline() == b"held\n"
        pair.doctor()
        assert pair.wrong() == ["server.database"] and "locked" in pair.of("server.database")["found"]
    finally:
        lock.kill()
        lock.wait(5)


def test_what_people_forget_is_a_warning(pair: Pair) -> None:
    pair.own.portal.pause("ann", "upgrade", None)
    paused = pair.own.portal.runtime.fetch("pause")
    pair.own.portal.runtime.publish("pause", paused | {"boot_id": "before"})  # it outlasts a reboot
    pair.own.portal.runtime.publish("drain", {"owner": "ben"})
    pair.tick(pair.own, manual_hold=True, frozen=True)
    pair.own.health(False, failed=("disk: 3 MiB free",))
    pair.doctor()
    assert pair.exit_code == 0
    said = " ".join(finding["found"] for finding in pair.found["server.mode"])
    assert all(word in said for word in ("paused by ann: upgrade", "drained by ben", "frozen", "held"))
    assert pair.status("server.health") == "warning" and "3 MiB" in pair.of("server.health")["found"]


def test_a_misspelt_key_is_found_with_the_one_that_was_meant(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('FT_OWN_ADDRESS = "10.0.0.11"\nFT_MONITOR_ALOW = []\nFT_COLOUR = "red"\nPORTAL_NAME = "x"\n')
    environ = {"FT_CONFIG_FILE": str(file), "FT_SERVICE": "[]", "FT_VENV": "/opt", "FT_REDIS_URL": "redis://x"}
    found = [(finding.found, finding.todo.split(",")[0]) for finding in misspelt(environ)]
    assert found == [
        (f"Nobody reads FT_COLOUR ({file}).", "Remove it"),
        (f"Nobody reads FT_MONITOR_ALOW ({file}).", "Write FT_MONITOR_ALLOW."),
        ("Nobody reads FT_SERVICE.", "Write FT_SERVICES."),
    ]
    assert misspelt({}) == []


def test_an_agent_that_stopped_is_wrong(pair: Pair) -> None:
    pair.own.agent(age_s=100)
    pair.doctor()
    assert pair.wrong() == ["server.agent"] and "100 s ago" in pair.of("server.agent")["found"]
    assert pair.status("server.mode") == "unknown" and pair.status("lan.agent") == "unknown", "its last word is old"


def test_a_guard_is_seen_and_a_frozen_one_is_told(pair: Pair, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        f'FT_OWN_ADDRESS = "{HOSTS[0]}:{pair.ports[0]}"\nFT_INSTANCE_DIR = "{tmp_path}/node0"\n'
        f'FT_SECRET_KEYS = ["{KEY}"]\nFT_REDIS_URL = "{pair.redis[0].url}"\n'
    )
    pair.doctor()
    assert pair.status("server.guard") == "unknown"
    guard = subprocess.Popen([sys.executable, "-m", "workers.guard"], stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + 10
        while "workers.guard" not in pathlib.Path(f"/proc/{guard.pid}/cmdline").read_text():
            assert time.monotonic() < end_s
            time.sleep(0.02)
        pair.doctor()
        assert pair.status("server.guard") == "ok" and str(guard.pid) in pair.of("server.guard")["found"]
        assert pair.wrong() == ["server.tick", "server.switch"]
        os.kill(guard.pid, signal.SIGSTOP)
        os.waitpid(guard.pid, os.WUNTRACED)
        pair.doctor()
        assert "server.guard" in pair.wrong() and "kill -CONT" in pair.of("server.guard")["todo"]
    finally:
        guard.kill()
        guard.wait(5)


def test_a_check_that_raises_is_unknown_and_logged(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(where: Any) -> Any:
        raise RuntimeError(f"boom with {KEY}")

    asks = tuple((name, subject, broken if name == "redis" else ask) for name, subject, ask in run.ASKS)
    monkeypatch.setattr(run, "ASKS", asks)
    pair.doctor()
    assert pair.status("redis") == "unknown" and "RuntimeError: boom with ***" in pair.of("redis")["found"]
    assert "check redis failed" in pair.own.log() and KEY not in pair.own.log()


def test_a_node_without_addresses_is_2(make_site: MakeSite) -> None:
    site = make_site()
    result = site.app.test_cli_runner().invoke(args=["ft", "doctor"])
    assert result.exit_code == 2 and "is neither of the two servers" in result.output
    assert result.output.rstrip().endswith("This server is not configured yet.")
    unset = make_site(FT_OWN_ADDRESS="").app.test_cli_runner().invoke(args=["ft", "doctor", "--json"])
    assert unset.exit_code == 2 and "FT_OWN_ADDRESS is empty" in unset.stdout


def test_settings_that_cannot_be_read_are_wrong_not_unconfigured(make_site: MakeSite) -> None:
    site = make_site(FT_DATABASE_URL="sqlite:////proc/none/ft.sqlite3")
    result = site.app.test_cli_runner().invoke(args=["ft", "doctor"])
    assert result.exit_code == 1 and "/proc/none" in result.output and "Traceback" not in result.output


def test_no_secret_is_printed_whatever_is_wrong(make_pair: MakePair) -> None:
    other = "another-key-of-32-characters-long"
    services = [{"name": "x", "kind": "http", "url": "http://127.0.0.1:1", "token": TOKEN, "stop_limit_s": 1.0}]
    pair = make_pair(own={"FT_SERVICES": services, "FT_SECRET_KEYS": [other]})
    outputs = []
    for _ in range(2):
        found = examine(pair.own.portal)
        outputs.append("\n".join(show.table(found)) + json.dumps(show.document(found)))
        pair.redis[0].kill()
        pair.redis[1].kill()
    for secret in (KEY, other, OWN_PASSWORD, PEER_PASSWORD, TOKEN):
        assert not any(secret in output for output in outputs), secret
    assert all("wrong" in output for output in outputs)
