"""The demo's service as the agent sees it: orders, epochs, lease, refusal by the call manager, frozen and resumed."""

from __future__ import annotations

import http.client
import os
import pathlib
import signal
import subprocess
import time
from typing import Iterator

import pytest

from demo import oracle

from tests.parts import eventually, free_port

from .helpers import Client, order, running


@pytest.fixture
def history(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "history.jsonl"


@pytest.fixture
def manager(history: pathlib.Path) -> Iterator[int]:
    port = free_port()
    limits = ("--keepalive-s", "1.0", "--release-delay-s", "0.3")
    with running("demo.call_manager", port, "--history", str(history), *limits):
        yield port


@pytest.fixture
def cti(manager: int) -> Iterator[int]:
    port = free_port()
    with running("demo.cti_server", port, "--call-manager", f"127.0.0.1:{manager}", "--scale", "0.2"):
        yield port


@pytest.fixture
def checking(manager: int, tmp_path: pathlib.Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    extra = ("--call-manager", f"127.0.0.1:{manager}", "--scale", "0.1", "--check-lease")
    with running("demo.cti_server", port, *extra, "--epoch-file", str(tmp_path / "epoch")) as process:
        yield port, process


def in_state(port: int, state: str) -> None:
    eventually(lambda: order(port, "/status")[1]["state"] == state, what=f"state {state}")


def test_promoted_it_registers_step_by_step_and_demoted_it_stays_up_owning_nothing(cti: int, manager: int) -> None:
    assert order(cti, "/status")[1]["state"] == "standby"
    status, first = order(cti, "/promote", {"epoch": 2, "lease_s": 60})
    assert status == 200 and first["state"] == "starting" and first["total"] == 3
    seen = set()

    def active() -> bool:
        answer = order(cti, "/status")[1]
        seen.add(answer["progress"])
        return bool(answer["state"] == "active")

    eventually(active)
    assert {1, 2} <= seen
    assert set(Client(manager).call(op="owners")["owners"]) == {"7101", "7102", "7103"}
    assert order(cti, "/demote", {"epoch": 3})[0] == 200
    in_state(cti, "standby")
    assert Client(manager).call(op="owners")["owners"] == {}


def test_a_lower_epoch_is_refused_and_changes_nothing(cti: int) -> None:
    order(cti, "/promote", {"epoch": 4, "lease_s": 60})
    in_state(cti, "active")
    assert order(cti, "/promote", {"epoch": 2, "lease_s": 60})[0] == 409
    assert order(cti, "/demote", {"epoch": 3})[0] == 409
    assert order(cti, "/renew", {"epoch": 3, "lease_s": 60})[0] == 409
    assert order(cti, "/status")[1]["state"] == "active"
    assert order(cti, "/demote", {"epoch": 4})[0] == 200
    in_state(cti, "standby")
    order(cti, "/demote", {"epoch": 7})
    assert order(cti, "/promote", {"epoch": 6, "lease_s": 60})[0] == 409


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/promote", {"epoch": "2", "lease_s": 1}, 400),
        ("/promote", {"epoch": 2, "lease_s": -1}, 400),
        ("/promote", [], 400),
        ("/nonsense", {}, 404),
        ("/promote", {"epoch": 2, "lease_s": 1, "x": "y" * 5000}, 413),
    ],
)
def test_a_wrong_order_is_refused_by_name(cti: int, path: str, body: dict[str, object], status: int) -> None:
    assert order(cti, path, body)[0] == status
    assert order(cti, "/status")[1]["state"] == "standby"


def test_a_refused_port_holds_the_start_and_says_who_has_it(cti: int, manager: int) -> None:
    other = Client(manager, "server2")
    other.call(op="register", port=7102)
    order(cti, "/promote", {"epoch": 2, "lease_s": 60})

    def refused() -> bool:
        other.call(op="heartbeat")
        return "waiting for release of port 7102 (held by server2" in order(cti, "/status")[1]["detail"]

    eventually(refused)
    assert order(cti, "/status")[1]["progress"] == 1
    other.call(op="unregister", port=7102)
    in_state(cti, "active")


def test_restart_keeps_the_process_and_comes_up_standby(cti: int, manager: int) -> None:
    order(cti, "/promote", {"epoch": 2, "lease_s": 60})
    in_state(cti, "active")
    assert order(cti, "/restart")[0] == 200

    def anew() -> bool:
        try:
            return bool(order(cti, "/status")[1]["state"] == "standby")
        except OSError:
            return False

    eventually(anew, 10)
    assert Client(manager).call(op="owners")["owners"] == {}


def test_after_the_call_manager_was_killed_it_registers_anew(history: pathlib.Path) -> None:
    manager, port = free_port(), free_port()
    with running("demo.cti_server", port, "--call-manager", f"127.0.0.1:{manager}", "--scale", "0.1"):
        order(port, "/promote", {"epoch": 2, "lease_s": 60})
        for _ in range(2):
            with running("demo.call_manager", manager, "--history", str(history), "--keepalive-s", "1"):
                in_state(port, "active")
                assert len(Client(manager).call(op="owners")["owners"]) == 3
            in_state(port, "starting")


def test_with_check_lease_it_lets_go_by_itself_when_the_lease_runs_out(
    checking: tuple[int, subprocess.Popen[bytes]], manager: int
) -> None:
    port, _ = checking
    order(port, "/promote", {"epoch": 2, "lease_s": 1.0})
    in_state(port, "active")
    assert order(port, "/renew", {"epoch": 2, "lease_s": 0.4})[0] == 200
    in_state(port, "standby")
    assert order(port, "/status")[1]["detail"] == "lease ran out"
    assert Client(manager).call(op="owners")["owners"] == {}
    assert order(port, "/renew", {"epoch": 2, "lease_s": 5})[0] == 409


def test_frozen_and_resumed_it_owns_nothing_and_believes_no_old_order(
    checking: tuple[int, subprocess.Popen[bytes]], manager: int, history: pathlib.Path
) -> None:
    port, process = checking
    order(port, "/promote", {"epoch": 2, "lease_s": 0.9})
    in_state(port, "active")
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(OSError):
            late = http.client.HTTPConnection("127.0.0.1", port, timeout=0.3)
            late.request("POST", "/renew", '{"epoch": 2, "lease_s": 600}')
            late.getresponse()
        eventually(lambda: not Client(manager).call(op="owners")["owners"], what="call manager misses it")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    granted = len(oracle.read_history(history))
    in_state(port, "standby")
    assert order(port, "/promote", {"epoch": 1, "lease_s": 5})[0] in (409, 503)
    assert len(oracle.read_history(history)) == granted, "it registered a port after it was resumed"


def test_an_order_that_waited_while_it_was_frozen_is_refused_when_it_is_resumed(
    checking: tuple[int, subprocess.Popen[bytes]], history: pathlib.Path
) -> None:
    port, process = checking
    late = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        late.request("POST", "/promote", '{"epoch": 2, "lease_s": 600}')
        sent_s = time.monotonic()
        eventually(lambda: time.monotonic() - sent_s > 1.0, what="frozen for a second")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert late.getresponse().status == 503
    late.close()
    assert order(port, "/status")[1]["state"] == "standby" and oracle.read_history(history) == []
    eventually(lambda: order(port, "/promote", {"epoch": 2, "lease_s": 5})[0] == 200, what="a fresh order is obeyed")


def test_the_highest_epoch_survives_a_kill(manager: int, tmp_path: pathlib.Path) -> None:
    port = free_port()
    extra = ("--call-manager", f"127.0.0.1:{manager}", "--epoch-file", str(tmp_path / "epoch"))
    with running("demo.cti_server", port, *extra):
        assert order(port, "/demote", {"epoch": 9})[0] == 200
    with running("demo.cti_server", port, *extra):
        assert order(port, "/promote", {"epoch": 8, "lease_s": 5})[0] == 409


def test_without_the_token_nothing_is_told_or_done(manager: int) -> None:
    port = free_port()
    env = {**os.environ, "CTI_TOKEN": "secret"}
    with running("demo.cti_server", port, "--call-manager", f"127.0.0.1:{manager}", env=env):
        assert order(port, "/status")[0] == 401
        assert order(port, "/promote", {"epoch": 2, "lease_s": 5}, token="wrong")[0] == 401
        assert order(port, "/status", token="secret")[0] == 200
