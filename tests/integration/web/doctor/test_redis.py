"""What the doctor says of Redis, its ACL and the agent channel, with Redis 7 and the bundled 6.2."""

from __future__ import annotations

import pathlib
import re
from dataclasses import replace

import pytest
import redis

from demo.layout import redis_binary
from ftplugin.pairing import redis_users
from tests.integration.web.conftest import free_port
from tests.integration.web.doctor.conftest import (
    OWN_PASSWORD,
    PEER_PASSWORD,
    MakePair,
    Pair,
    PairRedis,
    both_redis,
    unchanged,
)


def test_a_wrong_password_for_the_peer(make_pair: MakePair) -> None:
    pair = make_pair(own={"FT_PEER_REDIS_PASSWORD": "not-this-one"})
    pair.doctor()
    assert pair.wrong() == ["channel.out"] and "wrong user or password" in pair.of("channel.out")["found"]
    assert "FT_PEER_REDIS_PASSWORD" in pair.of("channel.out")["todo"]


def test_a_wrong_password_of_the_peer_at_our_redis(pair: Pair) -> None:
    pair.held.connection_pool.disconnect()
    with pytest.raises(redis.AuthenticationError):
        pair.redis[0].client(username="peer", password="not-this-one").ping()
    pair.doctor()
    assert pair.wrong() == ["channel.in_use"] and "was refused" in pair.of("channel.in_use")["found"]


def test_a_wrong_password_for_the_own_redis(pair: Pair) -> None:
    pair.redis[0].client().config_set("requirepass", "another-password")
    pair.doctor()
    assert "redis.answers" in pair.wrong() and pair.status("redis.address") == "unknown"
    assert "wrong user or password" in pair.of("redis.answers")["found"]
    assert "requirepass" in pair.of("redis.answers")["todo"]


@both_redis
@pytest.mark.parametrize("side", (0, 1), ids=("ours", "theirs"))
@pytest.mark.parametrize(
    ("fault", "named"),
    (
        ("+lpush", "LPUSH ft-agent"),
        ("+hset", "HSET ft:vote"),
        ("+evalsha", "EVALSHA ft:vote"),
        ("~ft:word:*", "SET ft:word:doctor"),
    ),
    ids=("no LPUSH", "no HSET", "no scripts", "no word"),
)
def test_an_acl_that_lacks_something(make_pair: MakePair, side: int, fault: str, named: str, binary: str) -> None:
    def edit(text: str) -> str:
        return re.sub(r"(?m)^(user peer .*)" + re.escape(fault), r"\1", text)

    pair = make_pair(edits=(edit, unchanged) if side == 0 else (unchanged, edit), binary=binary)
    pair.doctor()
    name = ("channel.in", "channel.out")[side]
    assert pair.wrong() == [name] and f"may not {named}" in pair.of(name)["found"], pair.found["channel.in"]


@both_redis
@pytest.mark.parametrize(("fault", "named"), [("+watch", "WATCH ft:vote"), ("+exec", "EXEC")])
def test_an_acl_from_before_votes_without_scripts(make_pair: MakePair, fault: str, named: str, binary: str) -> None:
    def edit(text: str) -> str:
        return re.sub(r"(?m)^(user peer .*) " + re.escape(fault) + r"\b", r"\1", text)

    pair = make_pair(edits=(edit, unchanged), binary=binary)
    pair.doctor()
    assert pair.wrong() == ["channel.in"] and f"may not {named}," in pair.of("channel.in")["found"]


def test_the_file_that_redis_reads_at_its_start_is_compared_with_what_this_version_needs(pair: Pair) -> None:
    secrets, keys = pair.own.portal.config.secrets, pair.own.portal.keys
    pair.doctor()
    assert "channel.in_file" not in pair.found, "the line is kept elsewhere"
    redis_users.write_users(secrets.redis_users_file, "peer", redis_users.hashed(PEER_PASSWORD), keys)
    pair.doctor()
    assert pair.status("channel.in_file") == "ok" and pair.wrong() == []
    whole = secrets.redis_users_file.read_text()
    secrets.redis_users_file.write_text(whole.replace(" +exec", "").replace(" +watch)", ")"))
    pair.doctor()
    found = pair.of("channel.in_file")
    assert pair.wrong() == ["channel.in_file"] and pair.status("channel.in") == "ok", "the running one has them"
    assert "+exec" in found["found"] and "+watch" in found["found"] and "+unwatch" not in found["found"]
    assert "'ft redis-acl --apply'" in found["todo"]
    done = pair.own.app.test_cli_runner().invoke(args=["ft", "redis-acl", "--apply"])
    assert done.exit_code == 0, done.output
    pair.doctor()
    assert pair.status("channel.in_file") == "ok" and secrets.redis_users_file.read_text() == whole
    secrets.redis_users_file.chmod(0o644)
    pair.doctor()
    assert pair.status("channel.in_file") == "warning" and PEER_PASSWORD not in str(pair.found)


@both_redis
def test_an_acl_that_allows_too_much_or_needs_no_password(make_pair: MakePair, binary: str) -> None:
    pair = make_pair(binary=binary)
    pair.redis[0].client().execute_command("ACL", "SETUSER", "peer", "~*", "+config", "+hset", "+lpush")
    pair.doctor()
    assert pair.status("channel.in") == "warning" and pair.wrong() == []
    assert all(word in pair.of("channel.in")["found"] for word in ("HSET ft:role", "LPUSH ft-tick", "CONFIG"))
    pair.redis[0].client().execute_command("ACL", "SETUSER", "peer", "nopass")
    pair.doctor()
    assert pair.wrong() == ["channel.in"] and "needs no password" in pair.of("channel.in")["found"]
    pair.redis[0].client().execute_command("ACL", "DELUSER", "peer")
    pair.doctor()
    assert "channel.in" in pair.wrong() and "is not there" in pair.of("channel.in")["found"]


def test_persistence_and_eviction_are_wrong(pair: Pair, tmp_path: pathlib.Path) -> None:
    client = pair.redis[0].client()
    client.config_set("save", "60 1")
    client.config_set("maxmemory-policy", "allkeys-lru")
    pair.doctor()
    assert sorted(pair.wrong()) == ["redis.memory", "redis.persistence"]
    assert 'save "60 1"' in pair.of("redis.persistence")["found"] and "allkeys-lru" in pair.of("redis.memory")["found"]
    client.config_set("save", "")
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("appendonly", "yes")
    pair.doctor()
    assert pair.wrong() == ["redis.persistence"] and 'appendonly "yes"' in pair.of("redis.persistence")["found"]
    client.config_set("appendonly", "no")
    client.save()
    pair.doctor()
    assert pair.wrong() == ["redis.persistence"] and "old snapshot" in pair.of("redis.persistence")["found"]


def test_a_redis_without_password_or_at_another_address(pair: Pair) -> None:
    pair.own.portal.settings.save({"agent_port": free_port()}, "test", None, "test")
    pair.settle()
    pair.doctor()
    assert "redis.address" in pair.wrong() and "agent_port" in pair.of("redis.address")["todo"]
    pair.redis[0].client().config_set("requirepass", "")
    pair.doctor()
    assert pair.status("redis.answers") == "wrong" and "has no password" in pair.of("redis.answers")["found"]
    config = pair.own.portal.config
    pair.own.portal.config = replace(config, redis_url=config.redis_url.replace(f":{OWN_PASSWORD}@", ""))
    pair.doctor()
    assert pair.status("redis.answers") == "ok" and pair.status("redis.password") == "wrong"


def test_the_witness_is_asked_with_its_own_password(make_pair: MakePair, tmp_path: pathlib.Path) -> None:
    port = free_port()
    third = PairRedis(tmp_path / "witness", "127.0.0.13", port, unchanged, redis_binary())
    try:
        settings = {"witness": f"127.0.0.13:{port}"}
        pair = make_pair(own={"FT_WITNESS_PASSWORD": OWN_PASSWORD}, settings=settings)
        pair.doctor()
        assert pair.status("channel.witness") == "ok" and pair.exit_code == 0
        third.kill()
        pair.doctor()
        assert pair.wrong() == ["channel.witness"]
    finally:
        third.kill()
