"""The checks of FT_HEALTH run by a real tick worker, as its published document tells them; and their command line."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.celery.node_process import KEY, NodeProcesses, wait_for

from .conftest import PASSWORD, ROOT, USER, AxlProcess

LIMIT_S = 40.0


def table(axl: AxlProcess, **more: Any) -> dict[str, Any]:
    found = {"name": "cucm", "kind": "axl", "url": axl.url, "user": USER, "password": PASSWORD, "timeout_s": 1.0}
    return found | {"ca_file": str(axl.ca_file)} | more


@pytest.fixture
def node(tmp_path: pathlib.Path) -> Iterator[NodeProcesses]:
    processes = NodeProcesses(tmp_path)
    processes.set(interval_s=0.5, timeout_s=0.5, threshold=3)
    yield processes
    processes.close()


def document(node: NodeProcesses) -> dict[str, Any]:
    text = node.client.get("ft:doc:health")
    return dict(json.loads(str(text))) if text else {}


def test_the_document_follows_the_call_manager(node: NodeProcesses, axl: AxlProcess) -> None:
    node.environ["FT_HEALTH"] = json.dumps([table(axl), table(axl, name="mine", shared=False)])
    node.start_redis()
    node.start("tick", "--beat")
    found = wait_for("all is well", lambda: (d := document(node)).get("ok") and d, LIMIT_S)
    assert [check["name"] for check in found["checks"]] == ["database", "disk", "service cti", "cucm", "mine"]
    axl.set(mode="throttle")
    found = wait_for("degraded", lambda: (d := document(node)).get("degraded") and d, LIMIT_S)
    assert found["ok"] is True and found["failed"] == [] and "503" in found["degraded"][0]
    axl.set(mode="ok")
    axl.process.send_signal(signal.SIGSTOP)
    try:
        found = wait_for("failed", lambda: len((d := document(node)).get("failed", ())) == 2 and d, LIMIT_S)
    finally:
        axl.process.send_signal(signal.SIGCONT)
    assert found["ok"] is False and found["failed"][0].startswith("cucm: no ") and found["shared_failed"] == ["cucm"]
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert states["database"] == states["service cti"] == "ok", "the others go on"
    wait_for("well again", lambda: document(node).get("ok"), LIMIT_S)
    told = [call["text"] for call in node.calls("report") if call["source"] == "health"]
    assert "health check cucm is well" in told
    everything = node.log("tick.log") + (node.folder / "calls.jsonl").read_text() + json.dumps(document(node))
    assert PASSWORD not in everything


def run(program: str, tables: list[dict[str, Any]], folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    environ = dict(os.environ) | {"FT_HEALTH": json.dumps(tables), "FT_SECRET_KEYS": json.dumps([KEY])}
    environ |= {"FT_INSTANCE_DIR": str(folder)}
    command = [sys.executable, "-m", *program.split()]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("program", ["workers tick", "workers.check_health", "ftplugin.cli status"])
def test_a_wrong_table_is_refused_at_the_start(program: str, axl: AxlProcess, tmp_path: pathlib.Path) -> None:
    done = run(program, [table(axl, timeout_s=0)], tmp_path)
    assert done.returncode != 0
    assert "FT_HEALTH[1].timeout_s: must be 0.1 to 60 seconds (got 0)" in done.stderr and PASSWORD not in done.stderr


def test_check_health_asks_once_and_tells(axl: AxlProcess, tmp_path: pathlib.Path) -> None:
    good = run("workers.check_health", [table(axl)], tmp_path)
    assert good.returncode == 0 and good.stdout.startswith("cucm: ok (") and "of 1 s, shared)" in good.stdout
    bad = run("workers.check_health", [table(axl, password="other"), table(axl, name="b")], tmp_path)
    assert bad.returncode == 1 and bad.stdout.startswith("cucm: failed: user or password is wrong (HTTP 401) (")
    assert run("workers.check_health", [], tmp_path).stdout.startswith("FT_HEALTH is empty")
