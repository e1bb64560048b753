"""LAN references and carrier, the own portal's watch, and who answers at the VIP."""

from __future__ import annotations

import pathlib
import socket
import threading
import time
from dataclasses import replace
from typing import Any, Callable

import pytest

from ftplugin import protocol
from ftplugin.clock import SystemClock
from ftplugin.core.terms import Designation, Tri, VipDestination
from ftplugin.core.timing import Timing
from workers.adapters import interfaces, lan_references
from workers.adapters.lan_probe import LanProbe, ask_period_s
from workers.adapters.lan_references import BadReference, IcmpAsker, parse_reference
from workers.adapters.runner import DaemonPool, SideBySide
from workers.adapters.vip_probe import VipProbe, holds

from .conftest import KEYS, OWN, PEER, Server, answer, ask_in, black_hole, free_port, nothing_for
from .conftest import settings_with, signed, state_of, wait_until

Make = Callable[..., Server]
PORTAL_S = Timing.of(settings_with()).portal_period_s  # how often the own portal is asked
MEASURED_S = 3.0


class Lan:
    def __init__(self, own_address: str = "127.0.0.1", own_url: str = "", **settings: Any) -> None:
        self.settings = settings_with(**settings)
        self.probe = LanProbe(
            settings=lambda: self.settings,
            own_address=lambda: own_address,
            own_url=lambda: own_url,
            url_prefix="/ft",
            clock=SystemClock(),
        )

    def __enter__(self) -> LanProbe:
        self.probe.start()
        return self.probe

    def __exit__(self, *_: Any) -> None:
        self.probe.stop()


@pytest.mark.parametrize("listening", [True, False], ids=["accepts", "refuses"])
def test_tcp_reference_that(listening: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not listening:
            server.close()
        with Lan(lan_references=(f"tcp:127.0.0.1:{port}",)) as lan:
            before_s = SystemClock().now_s() - 1
            reading = wait_until(lambda: (r := lan.reading()).up is Tri.YES and r)
            assert before_s < reading.seen_s <= SystemClock().now_s()


def test_one_living_reference_among_dead_ones_is_enough_and_its_end_is_noticed(serve: Make) -> None:
    with black_hole() as (host, port), black_hole() as (_, other):
        lan = Lan(lan_references=(f"tcp:{host}:{port}", f"tcp:127.0.0.1:{free_port()}"))
        with lan as probe:
            wait_until(lambda: probe.reading().up is Tri.YES)
            lan.settings = settings_with(lan_references=(f"tcp:{host}:{port}", f"tcp:{host}:{other}"))
            seen_s = wait_until(lambda: (r := probe.reading()).reference is Tri.NO and r.seen_s, 6)
            assert SystemClock().now_s() - seen_s > 2.0, "NO after one hold without an answer"


def test_missing_answers_are_asked_for_more_often_until_a_hold_has_passed() -> None:
    timing = Timing.of(settings_with(interval_s=1.0, timeout_s=1.0, threshold=3))
    usual_s = timing.lan_period_s
    periods = {silent_s: ask_period_s(timing, silent_s) for silent_s in (0.0, 2.9 * usual_s, 3.1 * usual_s, 1.9, 2.1)}
    assert list(periods.values()) == [usual_s, usual_s, usual_s / 4, usual_s / 4, usual_s]
    assert ask_period_s(Timing.of(settings_with(interval_s=0.2, timeout_s=0.2, threshold=3)), 0.1) >= 0.02


def test_silence_of_every_reference_is_noticed_by_more_asks(monkeypatch: Any) -> None:
    asked_s: list[float] = []
    send = lan_references.TcpAsker.send

    def counted(asker: Any, *arguments: Any) -> bool:
        asked_s.append(time.monotonic())
        return send(asker, *arguments)

    monkeypatch.setattr(lan_references.TcpAsker, "send", counted)
    with black_hole() as (host, port):
        lan = Lan(lan_references=(f"tcp:127.0.0.1:{free_port()}",), interval_s=1.0, timeout_s=1.0, threshold=3)
        with lan as probe:
            wait_until(lambda: probe.reading().up is Tri.YES)
            lan.settings = replace(lan.settings, lan_references=(f"tcp:{host}:{port}",))
            silent_s = time.monotonic()
            wait_until(lambda: probe.reading().reference is Tri.NO, 6)
    count = sum(at_s > silent_s for at_s in asked_s)
    usual = 2.0 / Timing.of(lan.settings).lan_period_s
    assert count > 1.5 * usual, f"{count} asks in one hold of silence; {usual:.0f} at the usual rate"


def test_icmp_reference_on_the_loopback() -> None:
    asker = IcmpAsker()
    possible = asker.send("127.0.0.1", 1.0)
    asker.close()
    with Lan(lan_references=("127.0.0.1",)) as lan:
        if possible:
            wait_until(lambda: lan.reading().up is Tri.YES)
        else:
            wait_until(lambda: "ICMP is not possible" in lan.detail())
            assert lan.reading().reference is Tri.UNKNOWN


def test_no_reference_and_no_gateway_is_unknown_and_says_so(monkeypatch: Any) -> None:
    monkeypatch.setattr(interfaces, "default_gateway", lambda: None)
    with Lan() as lan:
        wait_until(lambda: "no default gateway" in lan.detail())
        assert lan.reading().reference is Tri.UNKNOWN


def test_address_on_no_interface_is_no_carrier() -> None:
    with Lan(own_address="192.0.2.77", lan_references=(f"tcp:127.0.0.1:{free_port()}",)) as lan:
        wait_until(lambda: lan.reading().carrier is Tri.NO and "192.0.2.77" in lan.detail())
        assert lan.reading().up is Tri.NO


def test_garbled_reference_is_named() -> None:
    with pytest.raises(BadReference, match="tcp:x"):
        parse_reference("tcp:x")
    assert parse_reference("tcp:[::1]:80") == ("::1", 80)


def test_kernel_s_addresses_and_carriers_are_read() -> None:
    known = interfaces.addresses()
    assert "lo" in known.values()
    for name in set(known.values()):
        assert interfaces.carrier(name) in (Tri.YES, Tri.NO)
        assert pathlib.Path("/sys/class/net", name).exists()


def test_own_portal_is_seen_while_it_answers(serve: Make) -> None:
    alive = [True]

    def handler(connection: socket.socket, request: bytes, number: int) -> bool:
        assert b"GET /ft/live " in request
        if alive[0]:
            connection.sendall(answer(b"OK"))
        return True

    with Lan(own_url=serve(handler).url) as lan:
        first_s = wait_until(lan.portal_seen_s)
        wait_until(lambda: (lan.portal_seen_s() or 0) > first_s)
        alive[0] = False  # a frozen portal: accepts, never answers
        nothing_for(PORTAL_S)  # what was asked before it froze has ended
        last_s = lan.portal_seen_s()
        nothing_for(3 * PORTAL_S)
        assert lan.portal_seen_s() == last_s
        alive[0] = True
        wait_until(lambda: (lan.portal_seen_s() or 0) > (last_s or 0))


def test_probes_cost_less_than_a_percent_at_one_second(serve: Make) -> None:
    server = serve(lambda c, r, n: bool(c.sendall(answer(b"OK"))) or True)
    with Lan(own_url=server.url, lan_references=(f"tcp:127.0.0.1:{free_port()}", "127.0.0.1")):
        started_s, used_s = time.monotonic(), time.process_time()
        time.sleep(MEASURED_S)
        share = (time.process_time() - used_s) / (time.monotonic() - started_s)
    assert share < 0.02, f"{share:.2%}, the test's own server included"


# --- VIP


def vip_at(url: str) -> VipProbe:
    settings = settings_with(vip_address=url)
    return VipProbe(
        keys=KEYS, settings=lambda: settings, designation=lambda: OWN, url_prefix="/ft", clock=SystemClock()
    )


def node(*designations: Designation) -> Any:
    def handler(connection: socket.socket, request: bytes, number: int) -> None:
        state = state_of(designations[number % len(designations)])
        connection.sendall(answer(headers=signed(request, state)))

    return handler


def said(data: bytes) -> Any:
    return lambda connection, request, number: connection.sendall(data)


def stale(connection: socket.socket, request: bytes, number: int) -> None:
    assert ask_in(request)
    old = protocol.make_state(KEYS, state_of(), "an-old-nonce", "c")
    connection.sendall(answer(headers={protocol.STATE_HEADER: old}))


@pytest.mark.parametrize(
    "handler, destination",
    [
        (node(OWN), VipDestination.SELF),
        (node(PEER), VipDestination.PEER),
        (node(OWN, PEER), VipDestination.BOTH),
        (said(answer(status="503 No server")), VipDestination.NOBODY),
        (said(answer()), VipDestination.UNKNOWN),
        (said(b"garbage\r\n\r\n"), VipDestination.UNKNOWN),
        (stale, VipDestination.UNKNOWN),
        (lambda c, r, n: True, VipDestination.NOBODY),
    ],
    ids=["self", "peer", "both", "balancer without a node", "somebody else", "garbage", "old answer", "silent"],
)
def test_vip_leads_to(serve: Make, handler: Any, destination: VipDestination) -> None:
    started_s = time.monotonic()
    reading = vip_at(serve(handler, host="127.0.0.9").url).probe(0.5)
    assert reading.destination is destination
    assert (reading.peer_state is not None) is (destination in (VipDestination.PEER, VipDestination.BOTH))
    assert time.monotonic() - started_s < 0.65


def test_refused_vip_is_nobody_and_no_vip_is_unknown() -> None:
    assert vip_at(f"http://127.0.0.9:{free_port()}").probe(0.5).destination is VipDestination.NOBODY
    assert vip_at("").probe(0.5).destination is VipDestination.UNKNOWN


def test_node_that_holds_the_vip_itself_does_not_know(serve: Make) -> None:
    assert holds("127.0.0.1") and not holds("127.0.0.9")
    assert vip_at(serve(node(OWN)).url).probe(0.5).destination is VipDestination.UNKNOWN


# --- runner


def test_late_calls_are_left_behind_and_threads_are_reused() -> None:
    pool = DaemonPool(threads_max=8)
    runner, release = SideBySide(pool), threading.Event()
    started_s = time.monotonic()
    assert runner.side_by_side([lambda: 1, release.wait, lambda: 2], 0.2) == [1, None, 2]
    assert time.monotonic() - started_s < 0.3
    release.set()
    for _ in range(50):
        assert runner.side_by_side([lambda: 1, lambda: 2], 1.0) == [1, 2]
    assert pool.threads <= 4


def test_enough_ends_the_wait_and_a_full_pool_refuses() -> None:
    pool = DaemonPool(threads_max=2)
    release, first, second = threading.Event(), threading.Event(), threading.Event()

    def hold(held: threading.Event) -> None:
        held.set()
        release.wait()

    # a call that has not begun when the wait ends is dropped: the other one sees to it that it has
    started_s = time.monotonic()
    assert SideBySide(pool).side_by_side([lambda: hold(first), first.wait], 5.0, enough=bool) == [None, True]
    assert time.monotonic() - started_s < 2.0
    while not second.is_set():  # the thread of the other call may take a moment to be free
        SideBySide(pool).side_by_side([lambda: hold(second)], 0.1)
    assert SideBySide(pool).side_by_side([lambda: 1], 0.2) == [None]
    release.set()
    wait_until(lambda: SideBySide(pool).side_by_side([lambda: 1], 0.2) == [1])
