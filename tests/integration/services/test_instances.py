"""Services of two instances on one server that have the same name."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from ftplugin.core.terms import ServiceState as S
from workers import check_services
from workers.adapters.services import build

from .conftest import becomes, needs_agents

DUMMY = {"name": "one", "kind": "ocf", "agent": "ocf:heartbeat:Dummy", "start_limit_s": 20.0, "stop_limit_s": 5.0}


@needs_agents
def test_agents_keep_their_state_apart_by_the_prefix(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents name their state files by the resource alone, in a folder of the whole server."""
    monkeypatch.setenv("HA_RSCTMP", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    first = build([DUMMY], tmp_path)[0]
    second = build([DUMMY], tmp_path / "x", "x")[0]
    first.promote(4, 2.5)
    becomes(first, S.ACTIVE)
    assert second.status().state is S.STANDBY
    assert second.demote(5).state is S.STANDBY
    assert first.status().state is S.ACTIVE, "stopped by another instance"
    assert check_services.examine(DUMMY)["state"] == "active"
    assert check_services.examine(DUMMY, "x")["state"] == "standby"
    first.demote(5)


def test_start_files_of_the_same_service_are_apart(tmp_path: pathlib.Path) -> None:
    table: dict[str, Any] = {"name": "a", "kind": "command"}
    table |= {"start": ["/bin/true"], "stop": ["/bin/true"], "status": ["/bin/sh", "-c", "exit 3"]}
    first, second = build([table], tmp_path)[0], build([table], tmp_path / "x", "x")[0]
    first.promote(8, 2.5)
    assert second.promote(4, 2.5).detail.find("refused") == -1, "below an epoch of another instance"
    assert "refused: epoch 6 is below 8" in first.promote(6, 2.5).detail
