"""What a status document of the HTTP control API may add: a wait for something outside, and who else owns."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ftplugin.core.terms import ServiceState as S
from ftplugin.core.view import ServiceReading
from workers.adapters.services import build

from .conftest import Server, answer

Ask = Callable[..., ServiceReading]


@pytest.fixture
def ask(serve: Callable[..., Server]) -> Ask:
    def ask_once(status: str = "200 OK", **document: Any) -> ServiceReading:
        body = json.dumps({"state": "starting", "progress": 2, "total": 9} | document).encode()

        def say(connection: Any, _request: bytes, _number: int) -> bool:
            connection.sendall(answer(body, status=status))
            return True

        reading: ServiceReading = build([{"name": "cti", "kind": "http", "url": serve(say).url}])[0].status()
        return reading

    return ask_once


def test_a_wait_and_other_owners_are_read(ask: Ask) -> None:
    found = ask(waiting_s=12, also_owned={"port 7101": "server2", "port 7102": "server2"})
    assert found.state is S.STARTING and found.waiting_s == 12.0
    assert found.also_owned == (("port 7101", "server2"), ("port 7102", "server2"))
    assert ask(also_owned={}).also_owned == () and ask().also_owned is None, "none is not unknown"


@pytest.mark.parametrize("value", ["soon", True, None, float("nan"), float("inf"), [3]])
def test_a_wait_that_is_no_number_of_seconds_is_none(ask: Ask, value: object) -> None:
    assert ask(waiting_s=value).waiting_s is None


def test_a_wait_counts_only_while_it_starts(ask: Ask) -> None:
    assert ask(state="active", waiting_s=12).waiting_s is None and ask(waiting_s=-4).waiting_s == 0.0


@pytest.mark.parametrize("value", ["server2", ["server2"], 7, None])
def test_other_owners_in_another_form_are_unknown(ask: Ask, value: object) -> None:
    assert ask(also_owned=value).also_owned is None


def test_hostile_other_owners_are_cut_to_lines_of_text(ask: Ask) -> None:
    (found,) = ask(also_owned={"port\n2026/01/01 forged": "x" * 500, "port 2": 7, "": "server2"}).also_owned or ()
    assert found == ("port 2026/01/01 forged", "x" * 80)
    assert len(ask(also_owned={f"port {n}": "server2" for n in range(2000)}).also_owned or ()) == 500


def test_an_answer_that_is_an_error_tells_nothing_of_owners(ask: Ask) -> None:
    found = ask("503 Service Unavailable", also_owned={})
    assert found.state is S.UNKNOWN and found.also_owned is None
