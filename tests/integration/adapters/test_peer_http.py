"""The heartbeat against good and hostile servers on real sockets."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from typing import Any, Callable

import pytest

from ftplugin import protocol
from ftplugin.clock import SystemClock
from ftplugin.core.terms import Designation, ProbeCause
from workers.adapters.peer_http import PeerHttp
from workers.adapters.runner import DaemonPool

from .conftest import KEYS, OWN, PEER, answer, ask_in, black_hole, free_port, settings_with, signed
from .conftest import state_of, wait_until

Make = Callable[..., Any]


def peer_at(url: str, pool: DaemonPool | None = None) -> PeerHttp:
    return PeerHttp(
        keys=KEYS,
        designation=lambda: OWN,
        peer_url=lambda: url,
        own_url=lambda: url,
        settings=lambda: settings_with(),
        url_prefix="/ft",
        clock=SystemClock(),
        pool=pool,
    )


def good(connection: socket.socket, request: bytes, number: int) -> bool:
    connection.sendall(answer(headers=signed(request)))
    return True


def drip(text: bytes) -> Any:
    def handler(connection: socket.socket, request: bytes, number: int) -> None:
        for index in range(10_000):
            connection.sendall(text[index : index + 1] or b"x")
            time.sleep(0.05)

    return handler


def whole(data: bytes | Callable[[bytes], bytes]) -> Any:
    def handler(connection: socket.socket, request: bytes, number: int) -> bool:
        connection.sendall(data(request) if callable(data) else data)
        return True

    return handler


def flood(connection: socket.socket, request: bytes, number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n")
    for _ in range(160):
        connection.sendall(b"x" * 65_536)


def flood_of_headers(connection: socket.socket, request: bytes, number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for index in range(160_000):
        connection.sendall(b"X-%d: %s\r\n" % (index, b"y" * 60_000))


def silent(connection: socket.socket, request: bytes, number: int) -> bool:
    return True


def reset(connection: socket.socket, request: bytes, number: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


HOSTILE: list[tuple[str, Any, ProbeCause]] = [
    ("drips its header", drip(b"HTTP/1.1 200 OK\r\nX: "), ProbeCause.TIMEOUT),
    ("drips its body", drip(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"), ProbeCause.TIMEOUT),
    ("never answers", silent, ProbeCause.TIMEOUT),
    ("sends 10 MB", flood, ProbeCause.TOO_LARGE),
    ("sends headers without end", flood_of_headers, ProbeCause.TOO_LARGE),
    ("redirects", whole(answer(status="302 Found", headers={"Location": "/"})), ProbeCause.REDIRECT),
    ("says 500", whole(answer(status="500 Oops")), ProbeCause.STATUS),
    ("says 404", whole(lambda r: answer(status="404 No", headers=signed(r))), ProbeCause.STATUS),
    ("talks garbage", whole(b"\x00\xff not http at all\r\n\r\n"), ProbeCause.UNREADABLE),
    ("resets", reset, ProbeCause.CONNECT),
    ("gives no state", whole(answer()), ProbeCause.NO_STATE),
    ("gives a garbled state", whole(answer(headers={"X-FT-State": "1~2~3"})), ProbeCause.UNREADABLE),
    (
        "signs with another key",
        whole(lambda r: answer(headers={"X-FT-State": protocol.make_state(["x" * 20], state_of(), ask_in(r), "c")})),
        ProbeCause.UNSIGNED,
    ),
    (
        "repeats an old answer",
        whole(lambda r: answer(headers={"X-FT-State": protocol.make_state(KEYS, state_of(), "an-old-nonce", "c")})),
        ProbeCause.UNSIGNED,
    ),
    (
        "is this node itself",
        whole(lambda r: answer(headers=signed(r, state_of(OWN)))),
        ProbeCause.UNSIGNED,
    ),
    ("has a dead agent", whole(lambda r: answer(headers=signed(r, state_of(agent_age_s=2.5)))), ProbeCause.AGENT_STALE),
    ("never ticked", whole(lambda r: answer(headers=signed(r, state_of(agent_age_s=None)))), ProbeCause.AGENT_STALE),
    ("says KO", whole(lambda r: answer(b"IPSWS=KO\nAXL: no", headers=signed(r))), ProbeCause.BODY),
]


@pytest.mark.parametrize("handler, cause", [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_a_peer_that(serve: Make, handler: Any, cause: ProbeCause) -> None:
    peer = peer_at(serve(handler).url)
    started_s = time.monotonic()
    probe = peer.probe(0.6, check_body=True)
    assert probe.cause is cause, probe
    assert time.monotonic() - started_s < 0.6 + 0.15
    assert (probe.state is not None) is (cause in (ProbeCause.AGENT_STALE, ProbeCause.BODY))
    assert probe.detail


def test_good_peer_is_heard_on_one_slim_kept_connection(serve: Make) -> None:
    server = serve(good)
    peer = peer_at(server.url)
    for _ in range(5):
        probe = peer.probe(1.0, check_body=True)
        assert probe.good and probe.state is not None and probe.state.designation is PEER
        assert probe.skew_s is not None and abs(probe.skew_s) < 0.2
    assert server.connections == 1
    request = server.requests[0]
    names = [line.split(b":")[0] for line in request.split(b"\r\n")[1:] if line]
    assert names == [b"Host", b"X-FT-Ask"]
    frames = 3 * 52  # question, answer, acknowledgement: IPv4 20 + TCP 20 + time stamps 12
    assert len(request) + len(answer(headers=signed(request))) + frames <= 750


def test_body_is_not_judged_without_the_application_error_setting(serve: Make) -> None:
    server = serve(whole(lambda r: answer(b"IPSWS=KO", headers=signed(r))))
    assert peer_at(server.url).probe(1.0, check_body=False).good


def test_connection_closed_while_idle_costs_no_probe(serve: Make) -> None:
    server = serve(lambda c, r, n: bool(c.sendall(answer(headers=signed(r)))))  # closes after each answer
    peer = peer_at(server.url)
    assert [peer.probe(1.0, check_body=True).cause for _ in range(4)] == [ProbeCause.OK] * 4


def test_connection_closed_on_the_question_is_retried_at_once(serve: Make) -> None:
    def handler(connection: socket.socket, request: bytes, number: int) -> bool:
        return number != 2 and good(connection, request, number)

    peer = peer_at(serve(handler).url)
    assert peer.probe(5.0, check_body=True).good
    probe = peer.probe(5.0, check_body=True)
    assert probe.good and probe.latency_s < 0.5


def test_lost_first_attempt_is_answered_by_a_hedge(serve: Make) -> None:
    def handler(connection: socket.socket, request: bytes, number: int) -> bool:
        return True if number < 3 else good(connection, request, number)

    probe = peer_at(serve(handler).url).probe(1.0, check_body=True)
    assert probe.good
    assert 0.35 < probe.latency_s < 0.6  # the third attempt, at 2t/5


def test_refused_connection_ends_the_probe_at_once() -> None:
    probe = peer_at(f"http://127.0.0.1:{free_port()}").probe(5.0, check_body=True)
    assert probe.cause is ProbeCause.CONNECT and probe.latency_s < 0.3


def test_process_killed_between_two_probes_is_noticed_at_once(serve: Make) -> None:
    server = serve(good)
    peer = peer_at(server.url)
    assert peer.probe(5.0, check_body=True).good
    server.close()
    probe = peer.probe(5.0, check_body=True)
    assert probe.cause is ProbeCause.CONNECT and probe.latency_s < 0.3


def test_black_hole_is_a_timeout_and_leaves_no_threads_growing() -> None:
    pool = DaemonPool()
    with black_hole() as (host, port):
        peer = peer_at(f"http://{host}:{port}", pool)
        for _ in range(8):
            started_s = time.monotonic()
            assert peer.probe(0.3, check_body=True).cause is ProbeCause.TIMEOUT
            assert time.monotonic() - started_s < 0.45
        assert pool.threads <= 8


def test_unset_address_is_a_bad_probe() -> None:
    assert peer_at("").probe(0.3, check_body=True).cause is ProbeCause.CONNECT


def test_own_portal_is_believed_for_its_own_signature_without_a_tick(serve: Make) -> None:
    own = state_of(OWN, agent_age_s=None)
    assert peer_at(serve(whole(lambda r: answer(headers=signed(r, own)))).url).probe_own(1.0).good
    ko = serve(whole(lambda r: answer(b"IPSWS=KO", headers=signed(r, own))))
    assert peer_at(ko.url).probe_own(1.0).cause is ProbeCause.BODY


# --- node API


class Portal:
    """Answers as the node API does: challenges are good once, bodies are signed."""

    def __init__(self, drop_body_signature: bool = False) -> None:
        self.fresh: set[str] = set()
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.drop = drop_body_signature
        self.lock = threading.Lock()

    def __call__(self, connection: socket.socket, request: bytes, number: int) -> bool:
        head, _, body = request.partition(b"\r\n\r\n")
        status, said = "200 OK", {"revision": 7, "values": {"threshold": 5}}
        if b"/node/command" in head:
            while b"signature" not in body:
                body += connection.recv(65_536)
            status, said = self.command(body)
        nonce, challenge = ask_in(request), f"challenge-{number}"
        self.fresh.add(challenge)
        text = json.dumps(said)
        headers = signed(request, challenge=challenge)
        if not self.drop:
            headers[protocol.BODY_HEADER] = protocol.sign_body(KEYS, PEER, nonce, text)
        connection.sendall(answer(text.encode(), status=status, headers=headers))
        return True

    def command(self, raw: bytes) -> tuple[str, dict[str, Any]]:
        challenge, name, body = protocol.read_command(KEYS, PEER, raw)
        if challenge not in self.fresh:
            return "403 Forbidden", {"taken": False, "cause": "replayed", "error": "challenge used"}
        self.fresh.discard(challenge)
        self.taken.append((name, body))
        return "200 OK", {"taken": True}


def test_command_is_signed_over_the_challenge_of_the_last_heartbeat(serve: Make) -> None:
    portal = Portal()
    server = serve(portal)
    peer = peer_at(server.url)
    peer.probe(1.0, check_body=False)
    reply = peer.command("demote", {"epoch": 6}, 1.0)
    assert reply.answered and reply.body["taken"] and portal.taken == [("demote", {"epoch": 6})]
    assert len(server.requests) == 2


def test_command_fetches_a_challenge_when_it_has_none_or_it_is_used(serve: Make) -> None:
    portal = Portal()
    peer = peer_at(serve(portal).url)
    assert peer.command("demote", {"epoch": 6}, 1.0).answered
    portal.fresh.clear()  # the peer's Redis was wiped: its last challenge is unknown
    reply = peer.command("demote", {"epoch": 8}, 1.0)
    assert reply.answered and not reply.detail and [b["epoch"] for _, b in portal.taken] == [6, 8]


def test_refused_command_says_why(serve: Make) -> None:
    portal = Portal()
    portal.command = lambda raw: ("409 Conflict", {"taken": False, "error": "epoch 9 is stored"})  # type: ignore
    reply = peer_at(serve(portal).url).command("demote", {"epoch": 6}, 1.0)
    assert reply.answered and "refused" in reply.detail and "epoch 9 is stored" in reply.detail


def test_settings_are_believed_only_when_signed(serve: Make) -> None:
    reply = peer_at(serve(Portal()).url).settings(1.0)
    assert reply.answered and reply.body["revision"] == 7
    reply = peer_at(serve(Portal(drop_body_signature=True)).url).settings(1.0)
    assert not reply.answered and not reply.body and "not signed" in reply.detail


@pytest.mark.parametrize("handler", [silent, drip(b"HTTP/1.1 200 OK\r\nX: ")], ids=["silent", "drips"])
def test_node_api_keeps_its_limit(serve: Make, handler: Any) -> None:
    peer = peer_at(serve(handler).url)
    commands = {"epoch": 2}
    for call in (lambda: peer.state(0.3), lambda: peer.command("demote", commands, 0.3), lambda: peer.settings(0.3)):
        started_s = time.monotonic()
        reply = call()
        assert not reply.answered and reply.detail
        assert time.monotonic() - started_s < 0.45


def test_address_changes_without_a_restart(serve: Make) -> None:
    first, second = serve(good), serve(good)
    urls = [first.url]
    peer = PeerHttp(
        keys=KEYS,
        designation=lambda: Designation.SERVER1,
        peer_url=lambda: urls[0],
        own_url=lambda: "",
        settings=lambda: settings_with(),
        url_prefix="/ft",
        clock=SystemClock(),
    )
    assert peer.probe(1.0, check_body=True).good
    urls[0] = second.url
    assert peer.probe(1.0, check_body=True).good
    wait_until(lambda: second.requests)
    assert len(first.requests) == 1
