"""The login that the demo gives the other node: enough to vote, to answer and to send demote; nothing else."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from typing import Iterator

import pytest
import redis

from demo.layout import make_redis, redis_binary
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import connect
from workers.adapters.agent_channel import AgentChannel

from tests.parts import eventually, free_port, reachable


def binaries() -> list[str]:
    """The system's Redis and the bundled one, whichever there are."""
    found = [redis_binary()]
    path, os.environ["PATH"] = os.environ["PATH"], ""
    try:
        found.append(redis_binary())
    finally:
        os.environ["PATH"] = path
    return list(dict.fromkeys(found))


@pytest.fixture(params=binaries(), ids=lambda path: pathlib.Path(path).name)
def port(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[int]:
    number = free_port()
    _, file = make_redis(tmp_path, "127.0.0.1", number, "own-password", "peer-password")
    process = subprocess.Popen([request.param, file], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        eventually(lambda: reachable("127.0.0.1", number), what="Redis listens")
        yield number
    finally:
        process.kill()
        process.wait(5)
        shutil.rmtree(tmp_path, ignore_errors=True)


def test_the_peer_can_vote_answer_and_send_demote(port: int) -> None:
    settings = Settings(server1_address="127.0.0.2:1", server2_address="127.0.0.1:1", agent_port=port)
    channel = AgentChannel(
        own_url=f"redis://:own-password@127.0.0.1:{port}/0",
        settings=lambda: settings,
        designation=lambda: Designation.SERVER1,
        keys=Keys(),
        secret_keys=["0123456789abcdef"],
        peer_login=lambda: {"username": "peer", "password": "peer-password"},
    )
    own = connect(f"redis://:own-password@127.0.0.1:{port}/0")
    assert channel.demote(4, "nonce-1234", 2.0)
    assert own.llen(Keys().queue("agent")) == 1
    channel.answer("nonce-1234", 4, True, 1.0)
    assert own.get(Keys().word_prefix + "nonce-1234")
    channel.close()
    peer = connect(f"redis://peer:peer-password@127.0.0.1:{port}/0")
    known = own.script_load("redis.call('HSET', KEYS[1], 'owner', 'x'); return 1")
    assert peer.evalsha(known, 1, Keys().vote) == 1


def test_the_peer_can_touch_neither_the_role_nor_the_tick_queue_nor_the_server(port: int) -> None:
    peer = connect(f"redis://peer:peer-password@127.0.0.1:{port}/0")
    for forbidden in (
        lambda: peer.hset(Keys().role, "role", "active"),
        lambda: peer.eval("return redis.call('HSET', KEYS[1], 'role', 'active')", 1, Keys().role),
        lambda: peer.lpush(Keys().queue("tick"), "x"),
        lambda: peer.lpush(Keys().queue("switch"), "x"),
        lambda: peer.get(Keys().document("agent")),
        lambda: peer.flushall(),
        lambda: peer.config_set("maxmemory", 0),
        lambda: peer.keys("*"),
    ):
        with pytest.raises(redis.RedisError):
            forbidden()
    with pytest.raises(redis.RedisError):
        connect(f"redis://127.0.0.1:{port}/0").ping()
