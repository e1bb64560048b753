"""What the doctor says of the other server, and how it shows it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
import time

import pytest

from ftplugin.clock import SystemClock
from tests.integration.adapters.conftest import black_hole
from tests.integration.web.doctor.conftest import HOSTS, LIMIT_S, MakePair, Pair, both_redis


@both_redis
def test_a_healthy_pair_is_0_and_nothing_is_left_behind(make_pair: MakePair, binary: str) -> None:
    pair = make_pair(binary=binary)
    before = [sorted(server.client().keys("*")) for server in pair.redis]
    pair.doctor()
    assert pair.exit_code == 0 and pair.wrong() == [], pair.found
    good = "server.interface server.portal server.database server.agent redis.answers redis.persistence redis.password "
    good += (
        "redis.memory redis.address peer.portal peer.key peer.hears peer.version peer.settings channel.out channel.in "
    )
    good += "channel.in_use clock.skew lan.references lan.agent balancer.url settings.rules server.mode"
    assert {name: pair.status(name) for name in good.split()} == dict.fromkeys(good.split(), "ok"), pair.found
    for server, keys in zip(pair.redis, before, strict=True):
        passing = (b"challenge", b"probers")  # kept for a moment; the doctor's own question is one of those that asked
        left = [key for key in server.client().keys("*") if not any(word in key for word in passing)]
        assert sorted(left) == [key for key in keys if not any(word in key for word in passing)]
        refused = [entry for entry in server.client().acl_log() if entry["username"] == "peer"]
        assert refused == [], f"the log of refused commands is for an administrator's eyes: {refused}"
    with pair.own.portal.database.transaction() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM ft_event WHERE name = 'doctor'").scalar() == 0


def test_the_table_groups_by_subject_worst_first_and_ends_with_a_summary(pair: Pair) -> None:
    pair.redis[1].kill()
    result = pair.own.app.test_cli_runner().invoke(args=["ft", "doctor"])
    lines = result.output.rstrip().splitlines()
    assert result.exit_code == 1 and lines[0] == "This server"
    assert re.fullmatch(r"\d+ wrong, \d+ warning, \d+ unknown, \d+ ok\.", lines[-1]), lines[-1]
    channel = lines[lines.index("Agent channel") + 1 :]
    assert channel[0].startswith("  wrong    server2's Redis at 127.0.0.12:") and "-> Start it" in channel[1]
    assert max(map(len, lines)) <= 110
    words = [m[1] for line in lines if (m := re.match(r"  (wrong|warning|unknown|ok) ", line))]
    counted = {word: words.count(word) for word in ("wrong", "warning", "unknown", "ok")}
    assert lines[-1] == ", ".join(f"{count} {word}" for word, count in counted.items()) + "."
    order = ["wrong", "warning", "unknown", "ok"]
    for group in "\n".join(lines[:-1]).split("\n\n"):
        ranks = [
            order.index(m[1]) for line in group.splitlines() if (m := re.match(r"  (\w+) +\S", line)) and m[1] in order
        ]
        assert ranks == sorted(ranks), group


def test_a_dead_peer_is_wrong_on_both_channels(pair: Pair) -> None:
    pair.portals[1].close()
    pair.redis[1].kill()
    pair.doctor()
    assert pair.exit_code == 1 and {"peer.portal", "channel.out"} <= set(pair.wrong())
    assert "refused" in pair.of("peer.portal")["found"] and str(pair.ports[1]) in pair.of("peer.portal")["todo"]
    for name in ("peer.key", "peer.hears", "peer.version", "peer.settings", "clock.skew", "peer.agent"):
        assert pair.status(name) == "unknown", name
    assert pair.took_s < 5, pair.took_s


def test_a_peer_that_hangs_costs_one_limit(pair: Pair) -> None:
    pair.portals[1].close()
    os.kill(pair.redis[1].process.pid, signal.SIGSTOP)
    with socket.create_server((HOSTS[1], pair.ports[1])):  # takes connections and says nothing
        pair.doctor()
    assert pair.exit_code == 1 and {"peer.portal", "channel.out"} <= set(pair.wrong())
    assert "no answer within 2 s" in pair.of("peer.portal")["found"]
    assert "no answer within 2 s" in pair.of("channel.out")["found"]
    assert LIMIT_S < pair.took_s < 5, pair.took_s


def test_a_peer_that_drips_and_a_black_hole_end_in_time(pair: Pair) -> None:
    pair.portals[1].close()
    pair.redis[1].kill()
    listener = socket.create_server((HOSTS[1], pair.ports[1]))

    def drip() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=feed, args=(connection,), daemon=True).start()

    def feed(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                connection.sendall(b"x: y\r\n")
                time.sleep(0.5)

    threading.Thread(target=drip, daemon=True).start()
    with black_hole(HOSTS[1], pair.redis[1].port):
        pair.doctor()
    listener.close()
    assert "no complete answer within 2 s" in pair.of("peer.portal")["found"]
    assert pair.status("channel.out") == "wrong" and pair.took_s < 5, pair.took_s


def test_another_key_is_named_and_never_shown(make_pair: MakePair) -> None:
    other = "another-key-of-32-characters-long"
    pair = make_pair(peer={"FT_SECRET_KEYS": [other]})
    pair.doctor()
    assert pair.status("peer.key") == "wrong" and "FT_SECRET_KEYS" in pair.of("peer.key")["todo"]
    assert pair.status("peer.portal") == "wrong"


def test_other_settings_and_another_version_are_told(pair: Pair) -> None:
    pair.peer.portal.settings.save({"threshold": 6}, "test", None, "test")
    pair.peer.portal.version = "9.9.9"
    pair.tick(pair.peer)
    pair.doctor()
    assert pair.wrong() == ["peer.settings"] and "revision 2" in pair.of("peer.settings")["found"]
    assert pair.status("peer.version") == "warning" and "9.9.9" in pair.of("peer.version")["found"]


def test_one_revision_with_different_values_is_told(pair: Pair) -> None:
    pair.tick(pair.peer, settings_mark="00000000")
    pair.doctor()
    assert pair.wrong() == ["peer.settings"] and "mark 00000000" in pair.of("peer.settings")["found"]


@pytest.mark.parametrize(
    ("ahead_s", "status", "found"),
    [
        (1.5, "ok", "s ahead of this one's (within 2 s)"),
        (-8.0, "warning", "8.0 s behind"),
        (3600.0, "wrong", "3600.0 s ahead"),
        (-40.0, "wrong", "40.0 s behind"),
    ],
)
def test_clocks_apart_are_wrong_beyond_the_limits_of_the_page(
    pair: Pair, ahead_s: float, status: str, found: str
) -> None:
    class Apart(SystemClock):
        def wall_s(self) -> float:
            return time.time() + ahead_s

    pair.peer.portal.clock = Apart()
    pair.doctor()
    assert pair.status("clock.skew") == status and found in pair.of("clock.skew")["found"]
    assert pair.wrong() == (["clock.skew"] if status == "wrong" else [])


def test_a_peer_that_does_not_hear_us_or_does_not_tick(pair: Pair) -> None:
    pair.tick(pair.peer, peer_heard_s=None)
    pair.doctor()
    assert pair.wrong() == ["peer.hears"] and "never heard" in pair.of("peer.hears")["found"]
    pair.tick(pair.peer, tick_s=pair.peer.portal.clock.now_s() - 500)
    pair.doctor()
    assert pair.wrong() == ["peer.agent"] and pair.status("peer.hears") == "unknown"


def test_a_peer_with_silent_redis_or_without_addresses(make_pair: MakePair) -> None:
    pair = make_pair()
    os.kill(pair.redis[1].process.pid, signal.SIGSTOP)
    pair.doctor()
    assert "Make the Redis of that server answer" in pair.of("peer.portal")["todo"]
