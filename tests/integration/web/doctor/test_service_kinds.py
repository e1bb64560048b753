"""What the doctor says of services that the workers' own program has to ask."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import pytest

from tests.integration.services.conftest import Agent
from workers.check_services import main

from .conftest import MakePair

KEY = "a key of this pair, long enough"


def test_each_kind_is_asked_and_a_wrong_table_is_told_with_its_way_out(
    make_pair: MakePair, tmp_path: pathlib.Path
) -> None:
    agent = Agent(tmp_path)
    nobody = f"unix://{tmp_path}/none"
    tables: list[dict[str, Any]] = [
        agent.table(name="good", stop_limit_s=1.0),
        agent.table(name="typo", stop_limit_s=1.0, params={"folder": "/", "colour": "red"}),
        {"name": "beat", "kind": "supervisord", "program": "beat", "url": nobody, "stop_limit_s": 1.0},
        {"name": "odd", "kind": "magic", "stop_limit_s": 1.0},
    ]
    pair = make_pair(own={"FT_SERVICES": tables})
    pair.doctor()
    assert pair.status("service good") == "ok" and "standby" in pair.of("service good")["found"]
    typo = pair.of("service typo")
    assert typo["status"] == "wrong" and "params.colour: is no parameter of X" in typo["found"]
    assert pair.status("service beat") == "wrong" and "nobody listens" in pair.of("service beat")["found"]
    assert "must be one of http, command, systemd, supervisord, ocf" in pair.of("service odd")["found"]


def test_service_whose_controller_hangs_is_left_at_the_doctors_limit(
    make_pair: MakePair, tmp_path: pathlib.Path
) -> None:
    agent = Agent(tmp_path)
    agent.does("monitor", "hang")
    pair = make_pair(own={"FT_SERVICES": [agent.table(status_limit_s=60.0, stop_limit_s=1.0)]})
    pair.doctor()
    assert pair.status("service x") in ("unknown", "wrong") and "X" not in pair.of("service x")["todo"]


def test_validate_all_that_fails_is_told_in_the_agents_words(make_pair: MakePair, tmp_path: pathlib.Path) -> None:
    agent = Agent(tmp_path)
    agent.does("validate-all", "6")
    pair = make_pair(own={"FT_SERVICES": [agent.table(stop_limit_s=1.0)]})
    pair.doctor()
    found = pair.of("service x")["found"]
    assert "refused" in found and "OCF_ERR_CONFIGURED" in found and "told to fail" in found


def check(tables: list[dict[str, Any]], monkeypatch: Any, capsys: Any) -> tuple[int, str]:
    monkeypatch.setenv("FT_SERVICES", json.dumps(tables))
    monkeypatch.setenv("FT_SECRET_KEYS", json.dumps([KEY]))
    code = main([])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_command_line_shows_the_order_of_starts_and_each_state(
    tmp_path: pathlib.Path, monkeypatch: Any, capsys: Any
) -> None:
    agent = Agent(tmp_path)
    tables = [agent.table(name="a", after=["b"]), agent.table(name="b")]
    code, said = check(tables, monkeypatch, capsys)
    assert code == 0 and said.splitlines()[:2] == ["1. b: standby", "2. a: standby"]
    tables[1]["params"]["colour"] = "red"
    code, said = check(tables, monkeypatch, capsys)
    assert code == 1 and "b: wrong: FT_SERVICES[1].params.colour: is no parameter" in said


@pytest.mark.parametrize("tables", [["x"], [{"name": "a", "kind": "ocf", "agent": "ocf:a:b", "after": ["c"]}]])
def test_command_line_refuses_a_configuration_that_cannot_be(tables: Any, monkeypatch: Any, capsys: Any) -> None:
    code, said = check(tables, monkeypatch, capsys)
    assert code == 2 and "FT_SERVICES[1]" in said


def test_doctor_without_a_python_of_its_own_says_what_to_run(
    make_pair: MakePair, tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    agent = Agent(tmp_path)
    pair = make_pair(own={"FT_SERVICES": [agent.table(stop_limit_s=1.0)]})
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    pair.doctor()
    assert pair.status("service x") == "unknown" and "workers.check_services by hand" in pair.of("service x")["todo"]


def test_the_portals_control_must_name_the_portal_that_runs(make_pair: MakePair, tmp_path: pathlib.Path) -> None:
    table = {"kind": "command", "start": ["true"], "stop": ["true"], "status": ["true"], "stop_limit_s": 1.0}
    pair = make_pair(own={"FT_PORTAL": table})
    pair.doctor()
    assert pair.status("portal control") == "ok" and "answers: active" in pair.of("portal control")["found"]


def test_a_portals_control_that_names_something_else_is_wrong(make_pair: MakePair, tmp_path: pathlib.Path) -> None:
    stopped = ["sh", "-c", "exit 3"]
    pair = make_pair(own={"FT_PORTAL": {"kind": "command", "start": ["true"], "stop": ["true"], "status": stopped}})
    pair.doctor()
    found = pair.of("portal control")
    assert found["status"] == "wrong" and "names what does not run" in found["found"] and "FT_PORTAL" in found["todo"]


WRONG = {"kind": "systemd", "unit": "portal", "stop_limit_s": 1.0}


def test_a_wrong_table_of_the_portal_is_told_with_its_key(make_pair: MakePair) -> None:
    pair = make_pair(own={"FT_PORTAL": WRONG})
    pair.doctor()
    found = pair.of("portal control")
    assert found["status"] == "wrong" and "FT_PORTAL.unit: must be a unit's name" in found["found"]


def test_command_line_tells_a_wrong_table_of_the_portal(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("FT_PORTAL", json.dumps(WRONG))
    code, said = check([], monkeypatch, capsys)
    assert code == 1 and "portal: wrong: FT_PORTAL.unit: must be a unit's name" in said


def test_command_line_says_when_no_portal_is_watched(monkeypatch: Any, capsys: Any) -> None:
    code, said = check([], monkeypatch, capsys)
    assert code == 0 and "FT_PORTAL is empty: a dead portal is not restarted" in said
