"""What the oracle must be right about: one owner a port, release delay, silence, and a silently granted double."""

from __future__ import annotations

import pathlib
from typing import Iterator

import pytest

from demo import oracle

from tests.parts import eventually, free_port

from .helpers import Client, running

KEEPALIVE_S, RELEASE_S = 0.8, 0.4


@pytest.fixture
def history(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "history.jsonl"


@pytest.fixture(params=["static"])
def manager(request: pytest.FixtureRequest, history: pathlib.Path) -> Iterator[int]:
    port = free_port()
    limits = ["--keepalive-s", str(KEEPALIVE_S), "--release-delay-s", str(RELEASE_S)]
    with running("demo.call_manager", port, "--history", str(history), "--mode", request.param, *limits):
        yield port


def test_a_second_owner_is_refused_and_the_attempt_is_in_the_history(manager: int, history: pathlib.Path) -> None:
    one, two = Client(manager, "server1"), Client(manager, "server2")
    assert one.call(op="register", port=7101)["ok"]
    answer = two.call(op="register", port=7101)
    assert not answer["ok"] and answer["owner"] == "server1"
    assert one.call(op="unregister", port=7101)["ok"]
    assert two.call(op="register", port=7101)["ok"]
    assert [(r.node, r.owner) for r in oracle.refusals(history)] == [("server2", "server1")]
    assert oracle.overlaps(oracle.read_history(history)) == []


@pytest.mark.parametrize("manager", ["dynamic"], indirect=True)
def test_dynamic_mode_grants_a_second_owner_and_the_oracle_shows_it(manager: int, history: pathlib.Path) -> None:
    one, two = Client(manager, "server1"), Client(manager, "server2")
    assert one.call(op="register", port=7101)["ok"] and two.call(op="register", port=7101)["ok"]
    assert len(Client(manager).call(op="owners")["owners"]["7101"]) == 2
    one.call(op="unregister", port=7101)
    (double,) = oracle.overlaps(oracle.read_history(history))
    assert double.port == 7101 and set(double.owners) == {"server1", "server2"} and double.to_s is not None


@pytest.mark.parametrize("manager", ["static", "dynamic"], indirect=True)
def test_a_dropped_owner_is_no_owner_but_static_keeps_its_ports(manager: int, history: pathlib.Path) -> None:
    one, two = Client(manager, "server1"), Client(manager, "server2")
    one.call(op="register", port=7101)
    one.close()
    eventually(lambda: oracle.read_history(history)[0].to_s is not None, what="the call manager sees the drop")
    eventually(lambda: two.call(op="register", port=7101)["ok"], what="granted after the release delay")
    first, second = oracle.read_history(history)
    assert (first.owner, second.owner) == ("server1", "server2")
    assert oracle.overlaps([first, second]) == []
    assert first.to_s is not None and first.kept_to_s is not None and second.from_s >= first.kept_to_s
    mode = Client(manager).call(op="set")["mode"]
    assert mode == "dynamic" or first.kept_to_s - first.to_s >= RELEASE_S * 0.95


def test_a_silent_owner_is_missed_after_the_keepalive_limit_and_released(manager: int, history: pathlib.Path) -> None:
    one, two = Client(manager, "server1"), Client(manager, "server2")
    one.call(op="register", port=7101)
    eventually(lambda: two.call(op="register", port=7101)["ok"], what="granted after silence")
    first, second = oracle.read_history(history)
    assert first.ended_by == "vanish" and first.to_s is not None
    assert KEEPALIVE_S * 0.95 <= first.to_s - first.from_s < KEEPALIVE_S + 0.5
    assert oracle.gaps([first, second])[0][0] == 7101


def test_a_heartbeat_keeps_the_ports_and_the_same_node_may_come_back(manager: int, history: pathlib.Path) -> None:
    one = Client(manager, "server1")
    one.call(op="register", port=7101)
    beats: list[bool] = []

    def kept_beyond_the_limit() -> bool:
        beats.append(one.call(op="heartbeat")["ok"])
        return len(beats) * 0.02 > 1.5 * KEEPALIVE_S

    eventually(kept_beyond_the_limit)
    assert Client(manager).call(op="owners")["owners"] == {"7101": [{"node": "server1", "vanished": False}]}
    one.close()
    assert Client(manager, "server1").call(op="register", port=7101)["ok"]
    assert oracle.overlaps(oracle.read_history(history)) == []


def test_limits_are_set_while_running_and_wrong_ones_are_refused_by_name(manager: int) -> None:
    control = Client(manager)
    assert control.call(op="set", release_delay_s=5)["release_delay_s"] == 5
    assert "keepalive_s" in control.call(op="set", keepalive_s="soon")["detail"]
    assert "mode" in control.call(op="set", mode="other")["detail"]
    assert not control.call(op="register", port=1)["ok"]
    assert not control.call(op="nonsense")["ok"]


def test_half_a_line_at_the_end_of_the_history_is_no_error(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "h"
    path.write_text('{"at_s": 1, "event": "grant", "port": 1, "node": "server1", "client": 1}\n{"at_s": 2, "ev')
    (only,) = oracle.read_history(path)
    assert only.to_s is None and (only.port, only.owner) == (1, "server1")
