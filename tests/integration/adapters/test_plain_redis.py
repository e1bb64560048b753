"""The guard's own Redis client against real Redis, and against servers that drip, lie or close."""

from __future__ import annotations

import pathlib
import socket
import threading
import time
from typing import Any, Callable, Iterator

import pytest

from ftplugin.clock import SystemClock
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Phase, Role
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from workers.adapters.plain_redis import PlainRedis, RedisFailure
from workers.guard import GuardStore

from .conftest import RedisProcess

LIMIT_S, SLACK_S = 0.3, 0.25


Speaker = Callable[[socket.socket], None]


@pytest.fixture
def speak() -> Iterator[Callable[[Speaker], str]]:
    """Starts a server that reads one command, lets the given function speak, and closes; returns its URL."""
    listeners: list[socket.socket] = []

    def start(speaker: Speaker) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65_536)
                        speaker(connection)
                    except OSError:
                        continue  # the client has given up, as it should

        threading.Thread(target=serve, daemon=True).start()
        return f"redis://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def took_s(started_s: float) -> float:
    return time.monotonic() - started_s


def test_guard_reads_what_the_agent_wrote_and_its_word_is_read_back(redis_process: RedisProcess) -> None:
    agent = RuntimeStore(connect(redis_process.url), Keys("x"))
    guard = GuardStore(PlainRedis(redis_process.url), Keys("x"), 1.0)
    assert guard.read_role() == RoleRecord() and guard.fetch("agent") is None
    deadline_s = SystemClock().now_s() + 5.25
    written = RoleRecord(
        role=Role.ACTIVE,
        phase=Phase.STARTING,
        epoch=6,
        seen_epoch=6,
        boot_id="b",
        deadline_s=deadline_s,
        progress_s=1.5,
    )
    assert agent.write_role(written) and agent.publish("agent", {"guard_poll_s": 0.05, "name": "zwölf"})
    assert guard.read_role() == agent.read_role() == written
    assert guard.fetch("agent") == {"guard_poll_s": 0.05, "name": "zwölf"}
    assert guard.set_clear(6, True) and agent.read_role().clear
    assert not guard.set_clear(5, False), "a lower epoch may not speak for a newer role"
    assert agent.read_role().clear


def test_password_user_and_database_of_the_url_are_used(make_redis: Callable[..., RedisProcess]) -> None:
    made = make_redis("--requirepass", "p@ss/word", "--user", "guard", "on", ">a:b", "~*", "+@all")
    place = f"{made.host}:{made.port}"
    first = PlainRedis(f"redis://:p%40ss%2Fword@{place}/3")
    assert first.call(1.0, "SET", "k", "in three") == "OK"
    assert PlainRedis(f"redis://guard:a%3Ab@{place}/3").call(1.0, "GET", "k") == "in three"
    assert PlainRedis(f"redis://guard:a%3Ab@{place}").call(1.0, "GET", "k") is None
    with pytest.raises(RedisFailure, match="NOAUTH"):
        PlainRedis(f"redis://{place}").call(1.0, "GET", "k")
    with pytest.raises(RedisFailure, match="WRONGPASS"):
        PlainRedis(f"redis://:wrong@{place}").call(1.0, "GET", "k")


def test_unix_socket(make_redis: Callable[..., RedisProcess], tmp_path: pathlib.Path) -> None:
    make_redis("--unixsocket", str(tmp_path / "r.sock"))
    assert PlainRedis(f"unix://{tmp_path}/r.sock?db=2").call(1.0, "PING") == "PONG"


def test_frozen_redis_costs_the_limit_and_its_late_answer_is_never_taken_for_another(
    redis_process: RedisProcess,
) -> None:
    client = PlainRedis(redis_process.url)
    client.call(1.0, "SET", "a", "first")
    client.call(1.0, "SET", "b", "second")
    redis_process.freeze()
    started_s = time.monotonic()
    with pytest.raises(TimeoutError):
        client.call(LIMIT_S, "GET", "a")
    assert took_s(started_s) < LIMIT_S + SLACK_S
    redis_process.thaw()
    assert client.call(1.0, "GET", "b") == "second"


def test_restarted_redis_is_asked_again_at_once(redis_process: RedisProcess) -> None:
    client = PlainRedis(redis_process.url)
    assert client.call(1.0, "PING") == "PONG"
    redis_process.kill()
    with pytest.raises(ConnectionError):
        client.call(1.0, "PING")
    redis_process.start()
    assert client.call(1.0, "PING") == "PONG"
    redis_process.kill()
    redis_process.start()
    assert client.call(1.0, "PING") == "PONG", "the kept connection proved closed and was replaced"


def test_large_value_arrives_whole(redis_process: RedisProcess) -> None:
    client, text = PlainRedis(redis_process.url), "ü\r\n$" * 100_000
    client.call(2.0, "SET", "large", text)
    assert client.call(2.0, "GET", "large") == text


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "not RESP"),
        (b"$99999999999\r\n", "too many"),
        (b":one\r\n", "not RESP"),
        (b"-LOADING Redis is loading\r\n", "refused: LOADING"),
        (b"", "closed"),
    ],
)
def test_what_is_no_answer_is_none_and_is_said(speak: Callable[[Speaker], str], said: bytes, why: str) -> None:
    client = PlainRedis(speak(lambda connection: connection.sendall(said)))
    with pytest.raises(OSError, match=why):
        client.call(LIMIT_S, "HGETALL", "ft:role")
    guard, started_s = GuardStore(client, Keys(), LIMIT_S), time.monotonic()
    assert guard.read_role() is None and guard.fetch("agent") is None and not guard.set_clear(4, True)
    assert took_s(started_s) < LIMIT_S, "none of these has to be waited for"


def test_hash_with_a_field_too_many_is_no_role(speak: Callable[[Speaker], str]) -> None:
    url = speak(lambda connection: connection.sendall(b"*1\r\n$4\r\nrole\r\n"))
    assert GuardStore(PlainRedis(url), Keys(), LIMIT_S).read_role() is None


def test_answer_that_drips_ends_at_the_limit(speak: Callable[[Speaker], str]) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"$1000\r\n")
        for _ in range(50):
            connection.sendall(b"x")
            time.sleep(0.05)

    client, started_s = PlainRedis(speak(drip)), time.monotonic()
    with pytest.raises(TimeoutError):
        client.call(LIMIT_S, "GET", "k")
    assert LIMIT_S <= took_s(started_s) < LIMIT_S + SLACK_S


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/0", "redis://127.0.0.1:1/first", "redis://127.0.0.1:port/0"])
def test_url_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        PlainRedis(url)


def test_nothing_stays_open_after_close(redis_process: RedisProcess) -> None:
    client: Any = PlainRedis(redis_process.url)
    client.call(1.0, "PING")
    client.close()
    assert client.call(1.0, "PING") == "PONG"
