"""The active server misbehaves, or the client does: each ends within its limit, says so, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ftplugin.config import NodeConfig
from ftplugin.core.terms import Role
from ftplugin.report import Report
from tests.parts import eventually

from ..web.conftest import RedisProcess, free_port
from .conftest import serve
from .pair import Pen, ask, portal_config
from .site_app import create_app

LATE_S = 10.0  # a busy machine; the limits that are tested are 1 and 3 s
Answer = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\n"


class Upstream:
    """In place of the active server: takes connections and does with each what the test says."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.answer: Answer = lambda sock: None
        self.heads: list[bytes] = []
        self.socks: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        self.socks.append(sock)
        sock.settimeout(30)
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                piece = sock.recv(65536)
                if not piece:
                    return
                head += piece
            self.heads.append(head)
            self.answer(sock)
        except OSError:
            return  # the standby server has ended it
        finally:
            self.socks.remove(sock)
            sock.close()

    @property
    def open(self) -> int:
        return len(self.socks)

    def hang_up(self) -> None:
        """End every connection, kept ones too."""
        for sock in list(self.socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        eventually(lambda: not self.socks, LATE_S)


class Scene:
    def __init__(self, upstream: Upstream, address: str, pen: Pen) -> None:
        self.upstream, self.address, self.pen = upstream, address, pen

    def asked(self, answer: Answer | bytes, target: str = "/quick", **values: Any) -> Any:
        self.upstream.answer = answer if callable(answer) else lambda sock: sock.sendall(answer)
        return ask(self.address, target, **values)

    def log(self) -> str:
        report = Report(NodeConfig.of(self.pen.config).instance_dir, 30)
        return report.read(report.days()[0])


@pytest.fixture(scope="module")
def scene_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("hostile")
    redis, upstream = RedisProcess(folder), Upstream()
    address = f"127.0.0.2:{free_port()}"
    config = portal_config(2, address, redis.port, folder)
    pen = Pen(2, config)
    pen.settings(upstream.address, address)
    app = create_app(config)
    server = serve(app, address)
    yield Scene(upstream, address, pen)
    server.close()
    app.extensions["ftplugin"].close()
    upstream.listener.close()
    redis.kill()


@pytest.fixture
def scene(scene_of_module: Scene) -> Scene:
    scene_of_module.pen.role(Role.STANDBY)
    scene_of_module.pen.heard(Role.ACTIVE)
    scene_of_module.upstream.hang_up()
    scene_of_module.upstream.heads.clear()
    return scene_of_module


def drip(data: bytes, gap_s: float) -> Answer:
    def send(sock: socket.socket) -> None:
        for i in range(len(data)):
            sock.sendall(data[i : i + 1])
            time.sleep(gap_s)

    return send


@pytest.mark.parametrize(
    "answer",
    [
        b"what is this\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        OK + b"no colon here\r\nContent-Length: 2\r\n\r\nok",
        OK + b"X\x01Y: 1\r\nContent-Length: 2\r\n\r\nok",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        OK + b"Content-Length: -5\r\n\r\nok",
        OK + b"Content-Length: 10737418240\r\n\r\nok",
        OK + b"X-Long: " + b"x" * 70_000 + b"\r\n\r\n",
        OK + b"X-Many: 1\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 999 Nonsense\r\n\r\n",
    ],
    ids=[
        "no HTTP", "no status", "line without colon", "control in a name", "two lengths", "negative length",
        "length of 10 GB", "long header", "many headers", "switching protocols", "status 999",
    ],
)  # fmt: skip
def test_what_cannot_be_passed_on_is_502(scene: Scene, answer: bytes) -> None:
    reply = scene.asked(answer)
    assert (reply.status, reply.text) == (502, "The active server gave an answer that cannot be passed on.\n")


def test_a_header_on_two_lines_comes_back_on_one(scene: Scene) -> None:
    reply = scene.asked(OK + b"X-Folded: a\r\n  b\r\nContent-Length: 2\r\n\r\nok")
    assert (reply.status, reply.headers["X-Folded"]) == (200, "a b")


@pytest.mark.parametrize(
    "head", [drip(OK + b"X-Slow: yes\r\n" * 100, 0.2), lambda sock: sock.recv(1)], ids=["drip", "silent"]
)
def test_an_answer_that_does_not_begin_in_time_is_504(scene: Scene, head: Answer) -> None:
    start_s = time.monotonic()
    reply = scene.asked(head)
    assert reply.status == 504 and "did not answer in time" in reply.text
    assert time.monotonic() - start_s < 1.0 + 4.0, "the limit is 1 s"


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 40\r\n\r\nten bytes.",
        OK + b"Transfer-Encoding: chunked\r\n\r\na\r\nten bytes.\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nten bytes.",
        OK + b"Transfer-Encoding: chunked\r\n\r\na\r\nten bytes.\r\nzz\r\n",
    ],
    ids=["short", "between chunks", "in a chunk", "no chunk"],
)
def test_a_server_that_dies_in_its_answer_cuts_the_clients_too(scene: Scene, answer: bytes) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        scene.asked(answer)
    eventually(lambda: "standby request, cut: answer of server1" in scene.log(), LATE_S)


@pytest.mark.parametrize(
    "body",
    [
        lambda sock: sock.sendall(OK + b"Content-Length: 100\r\n\r\n"),
        lambda sock: (sock.sendall(OK + b"\r\n"), drip(b"x" * 100, 0.3)(sock)),
    ],
    ids=["silent", "drip"],
)
def test_a_body_that_does_not_come_on_is_cut(scene: Scene, body: Answer) -> None:
    def held(sock: socket.socket) -> None:
        body(sock)
        sock.recv(1)

    start_s = time.monotonic()
    try:
        assert scene.asked(held).status == 500, "waitress had sent nothing yet"
    except (http.client.IncompleteRead, ConnectionError) as error:
        assert "silent" not in str(error)
    assert time.monotonic() - start_s < 3.0 + 4.0, "the limits are 1 s of silence, 3 s in all"


def test_an_endless_answer_is_cut_at_its_limit(scene: Scene) -> None:
    def endless(sock: socket.socket) -> None:
        sock.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            sock.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        scene.asked(endless)
    eventually(lambda: scene.upstream.open == 0, LATE_S)


def test_a_server_that_closes_without_an_answer_is_503(scene: Scene) -> None:
    reply = scene.asked(b"")
    assert reply.status == 503 and "cannot be reached" in reply.text and reply.headers["Retry-After"] == "30"
    eventually(lambda: "standby request, closed: GET /quick: server1: connection closed" in scene.log(), LATE_S)


def test_a_body_that_is_too_large_is_not_sent(scene: Scene) -> None:
    assert scene.asked(OK, method="POST", body=b"x" * 1_000_001).status == 413
    assert scene.upstream.heads == []


def test_a_refusal_that_comes_before_the_body_is_read_comes_back(scene: Scene) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"
    reply = scene.asked(refusal, "/echo", method="POST", body=b"x" * 8_000_000)
    assert reply.status in (413, 503), "503 where the reset of the connection overtook the answer"


def test_a_form_is_never_sent_twice(scene: Scene) -> None:
    """A kept connection may be closed under a request; only what changes nothing is sent again."""
    heads = scene.upstream.heads

    def once(sock: socket.socket) -> None:
        sock.sendall(OK + b"Content-Length: 2\r\n\r\nok")
        if second := sock.recv(65536):
            heads.append(second)  # a second request on this connection gets no answer

    asks = 0

    def sent_again() -> bool:
        """On a new connection, after the kept one; right after an answer none may be kept yet."""
        nonlocal asks
        asks += 1
        assert scene.asked(once, "/echo").text == "ok"
        return len(heads) > asks

    eventually(sent_again, LATE_S)
    gets = asks + 1
    assert [head.split()[0] for head in heads] == [b"GET"] * gets
    assert scene.asked(once, "/echo", method="POST", body=b"").text == "ok"
    assert [head.split()[0] for head in heads] == [b"GET"] * gets + [b"POST"]
    assert scene.asked(b"", "/echo", method="POST", body=b"x=1").status == 503
    assert sum(head.startswith(b"POST") for head in heads) == 2


def test_a_client_that_goes_away_ends_the_exchange(scene: Scene) -> None:
    def endless(sock: socket.socket) -> None:
        sock.sendall(OK + b"\r\n")
        while True:
            sock.sendall(b"x" * 65536)

    scene.upstream.answer = endless
    host, _, port = scene.address.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as client:
        client.sendall(f"GET /stream/1 HTTP/1.1\r\nHost: {scene.address}\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        eventually(lambda: scene.upstream.open == 1, LATE_S)
    eventually(lambda: scene.upstream.open == 0, LATE_S)


def test_the_monitor_answers_while_every_turn_is_taken(scene: Scene) -> None:
    """A standby server whose threads all wait for a frozen active one could not take over."""
    ends = threading.Event()
    scene.upstream.answer = lambda sock: (ends.wait(20), sock.sendall(OK + b"Content-Length: 2\r\n\r\nok"))
    replies: list[int] = []
    waiting = [threading.Thread(target=lambda: replies.append(ask(scene.address, "/echo").status)) for _ in range(4)]
    for thread in waiting:
        thread.start()
    eventually(lambda: len(scene.upstream.heads) == 4, LATE_S)
    fifth = ask(scene.address, "/echo")
    assert fifth.status == 503 and "as many requests to the active one as it may" in fifth.text
    assert ask(scene.address, "/ft/monitor?mod=FT").text == "STANDBY"
    ends.set()
    for thread in waiting:
        thread.join(20)
    assert replies == [200] * 4
    assert scene.asked(OK + b"Content-Length: 2\r\n\r\nok", "/echo").status == 200, "the turns are free again"


def test_a_server_where_nobody_listens_is_503(scene: Scene) -> None:
    """The last one here: it closes the listener."""
    scene.upstream.listener.shutdown(socket.SHUT_RDWR)
    scene.upstream.listener.close()
    reply = ask(scene.address, "/echo", "POST", b"x=1", Accept="text/html")
    assert reply.status == 503 and "cannot be reached from this one" in reply.text
