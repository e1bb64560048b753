"""The agent channel against live, dead, frozen and black-holed Redis processes."""

from __future__ import annotations

import base64
import gc
import json
import operator
import os
import threading
import time
from typing import Any, Callable

import pytest

from ftplugin import protocol
from ftplugin.store.keys import Keys
from tests.parts import eventually
from workers.adapters.agent_channel import AgentChannel
from workers.adapters.runner import DaemonPool

from .conftest import KEYS, OWN, PEER, RedisProcess, black_hole, free_port, settings_with

Make = Callable[..., RedisProcess]


def channel_to(port: int, own_url: str = "redis://127.0.0.1:1/0", **options: Any) -> AgentChannel:
    settings = settings_with(server1_address="127.0.0.1", server2_address="127.0.0.1:81", agent_port=port)
    return AgentChannel(
        own_url=own_url,
        settings=lambda: settings,
        designation=lambda: OWN,
        keys=Keys(),
        secret_keys=KEYS,
        **options,
    )


def test_demote_arrives_in_the_agent_queue_signed_and_without_expiry(redis_process: RedisProcess) -> None:
    assert channel_to(redis_process.port).demote(4, "nonce", 1.0)
    raw = json.loads(str(redis_process.client().lpop(Keys().queue("agent"))))
    assert raw["headers"]["task"] == "workers.demote" and raw["headers"]["expires"] is None
    _, kwargs, _ = json.loads(base64.b64decode(raw["body"]))
    assert protocol.check_demote(KEYS, PEER, **kwargs) == 4


def left_over() -> tuple[int, int]:
    """(threads, open files) of this process."""
    gc.collect()  # kombu's poller is in a reference cycle
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("case", ["refused", "black hole", "frozen", "wrong password"])
def test_send_fails_within_its_limit_and_leaves_nothing(case: str, make_redis: Make) -> None:
    pool = DaemonPool()
    redis_process = make_redis(*(["--requirepass", "secret"] if case == "wrong password" else []))
    password = "wrong" if case == "wrong password" else ""
    with black_hole() as (_, hole):
        port = {"refused": free_port(), "black hole": hole}.get(case, redis_process.port)
        if case == "frozen":
            redis_process.freeze()
        channel = channel_to(port, peer_login=lambda: {"password": password or None}, pool=pool)
        for turn in range(6):
            started_s = time.monotonic()
            assert channel.demote(4, "nonce", 0.6) is False
            assert time.monotonic() - started_s < 0.75
            if turn == 3:
                time.sleep(0.7)  # the threads left behind end by their socket limits
                first = left_over()
        eventually(lambda: all(map(operator.le, left_over(), first)), 10, lambda: f"{left_over()}, not above {first}")


def test_right_password_with_special_characters(make_redis: Make) -> None:
    redis_process = make_redis("--requirepass", "p@ss/w:rd%")
    assert channel_to(redis_process.port, peer_login=lambda: {"password": "p@ss/w:rd%"}).demote(4, "n", 1.0)


def test_word_goes_to_the_asker_and_is_believed_only_when_signed(redis_process: RedisProcess) -> None:
    asker = channel_to(1, own_url=redis_process.url)
    assert asker.word("nonce") is None
    peer = AgentChannel(
        own_url="redis://127.0.0.1:1/0",
        settings=lambda: settings_with(agent_port=redis_process.port),
        designation=lambda: PEER,
        keys=Keys(),
        secret_keys=KEYS,
    )
    peer.answer("nonce", 4, True, 0.5)
    assert asker.word("nonce") == (4, True)
    assert asker.word("other") is None
    redis_process.client().set(Keys().word_prefix + "forged", "4.1.aaaaaaaaaaaaaaaaaaaaaa")
    assert asker.word("forged") is None
    redis_process.client().set(Keys().word_prefix + "bytes", b"\xff\xfe")  # no text: a stolen login may write it
    assert asker.word("bytes") is None and asker.word("nonce") == (4, True)


def test_answer_to_a_frozen_peer_keeps_its_limit(redis_process: RedisProcess) -> None:
    redis_process.freeze()
    started_s = time.monotonic()
    channel_to(redis_process.port).answer("nonce", 4, True, 0.3)
    assert time.monotonic() - started_s < 0.4
