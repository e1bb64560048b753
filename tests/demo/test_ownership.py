"""Both modes of the call manager, seen by CTI servers: a release is waited for, and a silent double is noticed by both."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator

import pytest

from demo import oracle

from tests.parts import eventually, free_port

from .helpers import Client, order, running

RELEASE_S = 1.5
LEASE = {"epoch": 2, "lease_s": 60}


@pytest.fixture
def history(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "history.jsonl"


@pytest.fixture
def manager(request: pytest.FixtureRequest, history: pathlib.Path) -> Iterator[int]:
    port = free_port()
    limits = ("--keepalive-s", "1.0", "--release-delay-s", str(RELEASE_S), "--mode", request.param)
    with running("demo.call_manager", port, "--history", str(history), *limits):
        yield port


@pytest.fixture
def two(manager: int) -> Iterator[tuple[int, int]]:
    """The CTI servers of server1 and server2."""
    one, other = free_port(), free_port()
    common = ("--call-manager", f"127.0.0.1:{manager}", "--scale", "0.1")
    with (
        running("demo.cti_server", one, "--node", "server1", *common),
        running("demo.cti_server", other, "--node", "server2", *common),
    ):
        yield one, other


@pytest.mark.parametrize("manager", ["static"], indirect=True)
def test_a_port_of_an_owner_that_is_gone_is_waited_for_until_its_release(manager: int, history: pathlib.Path) -> None:
    gone, cti = Client(manager, "server1"), free_port()
    gone.call(op="register", port=7102)
    with running(
        "demo.cti_server", cti, "--node", "server2", "--call-manager", f"127.0.0.1:{manager}", "--scale", "0.1"
    ):
        gone.close()
        gone_s = time.monotonic()
        order(cti, "/promote", LEASE)
        seen: list[float] = []

        def active() -> bool:
            answer = order(cti, "/status")[1]
            if "waiting_s" in answer:
                assert answer["progress"] == 1 and answer["detail"].startswith("waiting for release of port 7102")
                assert "(held by server1, " in answer["detail"]
                seen.append(answer["waiting_s"])
            return bool(answer["state"] == "active")

        eventually(active, 10, "active after the release")
        assert time.monotonic() - gone_s >= RELEASE_S * 0.95
        assert seen and seen == sorted(seen, reverse=True) and seen[0] - seen[-1] > RELEASE_S / 2
        assert "waiting_s" not in order(cti, "/status")[1]
    assert oracle.overlaps(oracle.read_history(history)) == []


@pytest.mark.parametrize("manager", ["static"], indirect=True)
def test_the_wait_for_an_owner_that_lives_on_begins_anew_each_time(manager: int, two: tuple[int, int]) -> None:
    order(two[0], "/promote", LEASE)
    eventually(lambda: order(two[0], "/status")[1]["state"] == "active")
    order(two[1], "/promote", LEASE)
    waits = eventually(lambda: order(two[1], "/status")[1].get("waiting_s"), what="it waits")
    end_s = time.monotonic() + 2 * RELEASE_S
    while time.monotonic() < end_s:
        answer = order(two[1], "/status")[1]
        assert answer["state"] == "starting" and answer["progress"] == 0
        waits = min(waits, answer["waiting_s"])
        time.sleep(0.05)
    assert waits > RELEASE_S / 3, "the owner is heard each quarter of a second"


@pytest.mark.parametrize("manager", ["dynamic"], indirect=True)
def test_a_silent_double_is_told_by_both_until_one_lets_go(manager: int, two: tuple[int, int]) -> None:
    for port in two:
        order(port, "/promote", LEASE)
    ports = ("port 7101", "port 7102", "port 7103")
    for port, other in zip(two, ("server2", "server1"), strict=True):
        eventually(lambda: order(port, "/status")[1].get("also_owned") == dict.fromkeys(ports, other), what=other)
        assert order(port, "/status")[1]["state"] == "active", "it was granted all the same"
    order(two[1], "/demote", {"epoch": 3})
    eventually(lambda: order(two[0], "/status")[1]["also_owned"] == {}, what="alone again")
    assert "also_owned" not in order(two[1], "/status")[1], "it owns nothing and asks nobody"


@pytest.mark.parametrize("manager", ["dynamic"], indirect=True)
def test_an_owner_that_is_gone_is_no_second_one(manager: int, two: tuple[int, int]) -> None:
    gone = Client(manager, "server9")
    gone.call(op="register", port=7101)
    gone.close()
    order(two[0], "/promote", LEASE)
    eventually(lambda: order(two[0], "/status")[1].get("also_owned") == {}, what="asked")
