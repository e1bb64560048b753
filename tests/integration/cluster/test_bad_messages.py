"""Forged, garbled, replayed and stale messages change nothing and are counted; a peer that talks rubbish is a bad probe."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import socket
import threading
import time
import uuid
from typing import Callable, Iterator

import pytest

from ftplugin import protocol
from ftplugin.core.terms import Designation, ProbeCause
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import connect
from workers.adapters.agent_message import message
from workers.adapters.redis_votes import peer_redis_url

from .harness import SLACK_S, Pair, eventually, nothing_for

FORGED_KEYS = ("not-the-key-of-this-pair-0123456789",)
STALE_EPOCH = 3  # server2's first one
HIGH_EPOCH = 1_000_001  # server2's, far above every epoch in use


class PeerVoice:
    """Talks to server1 as server2 would: over HTTP and over the agent channel."""

    def __init__(self, pair: Pair) -> None:
        config = pair.cluster.node_config(2)
        self.keys, self.address = config.secret_keys, pair.cluster.address(1)
        host, port = f"{pair.cluster.config.net}.11", pair.cluster.config.redis_port
        self.redis = connect(peer_redis_url(host, port), 1.0, driver_info=None, **config.peer_login())

    def exchange(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, object], str]:
        """(status, body, challenge) of one question that is signed as the peer's."""
        nonce = protocol.new_nonce()
        headers = {protocol.ASK_HEADER: protocol.make_ask(self.keys, Designation.SERVER2, nonce)}
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text, state = answer.read(), answer.headers.get(protocol.STATE_HEADER, "")
        finally:
            connection.close()
        challenge = protocol.read_state(self.keys, state, nonce, Designation.SERVER1)[1] if state else ""
        return answer.status, dict(json.loads(text)), challenge

    def challenge(self) -> str:
        return self.exchange("GET", "/ft/node/state")[2]

    def command(self, body: bytes) -> tuple[int, object]:
        status, said, _ = self.exchange("POST", "/ft/node/command", body)
        return status, said.get("cause")

    def demote_message(self, **kwargs: object) -> None:
        queue = Keys().queue("agent")
        assert self.redis.lpush(queue, json.dumps(message(kwargs, queue)))


@pytest.fixture
def voice(pair: Pair) -> PeerVoice:
    if pair.status(1)["epoch"] <= STALE_EPOCH:  # a new pair: only after a switchover there is a stale epoch
        pair.order_switch(2)
        pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
        pair.bring_back()
    return PeerVoice(pair)


def refused_and_unmoved(pair: Pair, send: Callable[[], None], cause: str) -> None:
    """``send`` is refused for ``cause``, counted on the status, logged; role, epoch and seen epoch stay."""
    begun_s, before, count = time.monotonic(), pair.role(1), pair.refused(1).get(cause, 0)
    send()
    eventually(lambda: pair.refused(1).get(cause, 0) > count, 10, lambda: f"counted: {pair.refused(1)}")
    assert cause in pair.report(1)
    nothing_for(pair.timing.stop_s + pair.timing.guard_poll_s)  # a demotion that had begun would show by then
    after = pair.role(1)
    assert before is not None and after is not None
    assert (after.role, after.epoch, after.seen_epoch) == (before.role, before.epoch, before.seen_epoch)
    assert pair.active_on(1) and pair.watcher.words(1, begun_s) == ["ACTIVE"]
    assert pair.ft_status(1)["refused_messages"].get(cause, 0) > count


def test_demote_over_http_signed_with_another_key(pair: Pair, voice: PeerVoice) -> None:
    raw = protocol.make_command(FORGED_KEYS, Designation.SERVER2, voice.challenge(), "demote", {"epoch": HIGH_EPOCH})
    refused_and_unmoved(pair, lambda: check(voice.command(raw) == (403, "unsigned")), "unsigned")


def test_garbled_command_over_http(pair: Pair, voice: PeerVoice) -> None:
    refused_and_unmoved(pair, lambda: check(voice.command(b"\xff{]garbage") == (400, "unreadable")), "unreadable")


def test_stale_demote_over_http_and_its_replay(pair: Pair, voice: PeerVoice) -> None:
    """What once was a right command: its epoch is below the one in force, and its challenge is used up."""
    raw = protocol.make_command(voice.keys, Designation.SERVER2, voice.challenge(), "demote", {"epoch": STALE_EPOCH})
    refused_and_unmoved(pair, lambda: check(voice.command(raw) == (409, "stale")), "stale")
    refused_and_unmoved(pair, lambda: check(voice.command(raw) == (403, "replayed")), "replayed")


def test_demote_over_http_signed_over_a_challenge_that_was_never_given(pair: Pair, voice: PeerVoice) -> None:
    raw = protocol.make_command(voice.keys, Designation.SERVER2, "A" * 12, "demote", {"epoch": HIGH_EPOCH})
    refused_and_unmoved(pair, lambda: check(voice.command(raw) == (403, "replayed")), "replayed")


def test_forged_demote_over_the_agent_channel(pair: Pair, voice: PeerVoice) -> None:
    forged = protocol.make_demote(FORGED_KEYS, Designation.SERVER2, HIGH_EPOCH, uuid.uuid4().hex)
    refused_and_unmoved(pair, lambda: voice.demote_message(**forged), "unsigned")


def test_replayed_demote_of_an_earlier_switch_over_the_agent_channel(pair: Pair, voice: PeerVoice) -> None:
    old = protocol.make_demote(voice.keys, Designation.SERVER2, STALE_EPOCH, uuid.uuid4().hex)
    for _ in range(2):
        refused_and_unmoved(pair, lambda: voice.demote_message(**old), "stale")


@pytest.mark.parametrize("garbage", [b"\x00\xff not JSON", b"[]", b'{"body": 7}'])
@pytest.mark.parametrize("queue", ["switch", "agent"])
def test_garbage_in_a_queue_of_the_switch_worker(pair: Pair, garbage: bytes, queue: str) -> None:
    worker = pair.cluster.node(1).pid("switch")
    refused_and_unmoved(pair, lambda: check(pair.redis_of(1).lpush(Keys().queue(queue), garbage)), "unreadable")
    assert pair.cluster.node(1).pid("switch") == worker, "the worker went down"


def test_demote_message_with_other_fields(pair: Pair, voice: PeerVoice) -> None:
    refused_and_unmoved(pair, lambda: voice.demote_message(sender="server2", epoch=HIGH_EPOCH, x=1), "unreadable")


def check(done: object) -> None:
    assert done


# --- a peer that answers rubbish -----------------------------------------------------------------------------------


class StandIn:
    """Listens on the peer's portal address and gives every connection to ``answer``."""

    def __init__(self, host: str, port: int, answer: Callable[[socket.socket], None]) -> None:
        self._server = eventually(lambda: self._listen(host, port), 10, f"{host}:{port} is free")
        self._answer, self._open = answer, True
        threading.Thread(target=self._serve, name="stand-in", daemon=True).start()

    @staticmethod
    def _listen(host: str, port: int) -> socket.socket | None:
        with contextlib.suppress(OSError):
            return socket.create_server((host, port), backlog=64)
        return None

    def _serve(self) -> None:
        while self._open:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(5)
            connection.recv(4096)
            self._answer(connection)

    def close(self) -> None:
        self._open = False
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture
def no_portal(pair: Pair) -> Iterator[Pair]:
    """Server2 without its portal; it is started again afterwards."""
    pair.cluster.node(2).control("stopProcess", "portal")
    yield pair
    pair.cluster.node(2).control("startProcess", "portal")


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"\x16\x03\x01 SSH-2.0 nonsense\r\n\r\n\x00\xff" * 20)


def ten_megabytes(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10485760\r\n\r\nIPSWS=OK")
    for _ in range(160):
        connection.sendall(b"x" * 65_536)


def never(connection: socket.socket) -> None:
    while connection.recv(4096):  # until the asker gives up
        pass


def right_word_unsigned(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nIPSWS=OK")


def redirect(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    "answer, cause",
    [
        (garbage, ProbeCause.UNREADABLE),
        (ten_megabytes, ProbeCause.TOO_LARGE),
        (never, ProbeCause.TIMEOUT),
        (right_word_unsigned, ProbeCause.NO_STATE),
        (redirect, ProbeCause.REDIRECT),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_peer_that_answers_rubbish_is_a_bad_probe_with_its_cause(
    no_portal: Pair, answer: Callable[[socket.socket], None], cause: ProbeCause
) -> None:
    pair, begun_s = no_portal, time.monotonic()
    lines_before = len(pair.report(1).splitlines())
    stand_in = StandIn(f"{pair.cluster.config.net}.12", pair.cluster.config.portal_port, answer)
    try:
        eventually(
            lambda: any(bad_probe(line, cause) for line in pair.report(1).splitlines()[lines_before:]), 15, pair.story
        )
        eventually(lambda: cause in server(pair, 2)["detail"], 10, lambda: f"the page: {server(pair, 2)}")
        pair.ticks_pass(2, 1)
        assert pair.active_on(1) and pair.watcher.words(1, begun_s) == ["ACTIVE"]
        assert pair.tick_s(1) > 0 and pair.status(1)["age_s"] <= pair.timing.stale_s + SLACK_S
    finally:
        stand_in.close()


def bad_probe(line: str, cause: ProbeCause) -> bool:
    return "Check server2 : " + cause in line and "count = " in line


def server(pair: Pair, node: int) -> dict[str, str]:
    found: dict[str, str] = pair.status(1)["servers"][node - 1]
    return found


# --- what cannot be reached at start -------------------------------------------------------------------------------


def since(log: pathlib.Path, size: int) -> str:
    """What was written to the log after it had that size."""
    return log.read_bytes()[size:].decode()


def test_workers_started_without_their_redis_name_it_and_go_on_when_it_is_there(pair: Pair) -> None:
    begun_s, node = time.monotonic(), pair.cluster.node(2)
    node.control("stopProcess", "redis")
    logs = {name: pair.cluster.config.directory / "node2" / f"{name}.log" for name in ("tick", "switch")}
    sizes = {name: path.stat().st_size for name, path in logs.items()}
    for name in logs:
        pair.cluster.kill(2, name)
    where = f"{pair.cluster.config.net}.12:{pair.cluster.config.redis_port}"
    for name, path in logs.items():
        words = (where, "Trying again until it answers")
        eventually(lambda: all(w in since(path, sizes[name]) for w in words), 20, lambda: since(path, sizes[name]))
        assert pair.cluster.secrets.redis not in since(path, sizes[name]), "a password in the log"
    assert pair.active_on(1), "without its Redis the standby node is only gone"
    node.control("startProcess", "redis")
    pair.wait_healthy(1)
    assert pair.watcher.words(1, begun_s) == ["ACTIVE"]


def test_workers_started_without_their_database_name_it_and_go_on_when_it_is_there(pair: Pair) -> None:
    begun_s, url = time.monotonic(), pair.cluster.node_config(2).database_url
    database = pair.cluster.config.directory / "node2" / url.rpartition("/")[2]
    hidden = database.with_suffix(".away")
    log = database.with_name("tick.log")
    size = log.stat().st_size
    pair.cluster.node(2).control("stopProcess", "portal")  # the portal would only hold its open file
    database.rename(hidden)
    database.mkdir()
    try:
        pair.cluster.kill(2, "tick")
        words = ("FT_DATABASE_URL", database.name, "Trying again")
        eventually(lambda: all(w in since(log, size) for w in words), 20, lambda: since(log, size))
        assert "Traceback" not in since(log, size)
    finally:
        database.rmdir()
        hidden.rename(database)
        pair.cluster.node(2).control("startProcess", "portal")
    pair.wait_healthy(1)
    assert pair.watcher.words(1, begun_s) == ["ACTIVE"]
