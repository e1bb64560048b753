"""What a stolen login of the peer, or of the witness, can do at a real Redis with the users of 'ft redis-acl'."""

from __future__ import annotations

import pathlib
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from demo.layout import redis_binary
from ftplugin.pairing import redis_users
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from workers.adapters.agent_channel import AgentChannel
from workers.adapters.redis_votes import SCRIPTS, RedisVotes

from .conftest import KEYS, OWN, PEER, free_port, settings_with

NAMES = Keys()
OTHER = Keys("shop")


class Server:
    """One Redis that includes the file of 'ft pair' and knows the witness's user too."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.port = free_port()
        users = folder / "redis-users.conf"
        redis_users.write_users(users, "peer", redis_users.hashed("peer-word"), NAMES)
        voter = redis_users.line("voter", redis_users.hashed("voter-word"), redis_users.witness_rules(NAMES))
        text = f'bind 127.0.0.1\nport {self.port}\nsave ""\ndir {folder}\nrequirepass own\ninclude {users}\n{voter}\n'
        (folder / "redis.conf").write_text(text)
        self.process = subprocess.Popen([redis_binary(), str(folder / "redis.conf")], stdout=subprocess.DEVNULL)
        self.own_url = f"redis://:own@127.0.0.1:{self.port}/0"
        self.own = connect(self.own_url, 1.0)
        end_s = time.monotonic() + 20
        while True:
            try:
                self.own.ping()
                break
            except redis.RedisError:
                assert time.monotonic() < end_s and self.process.poll() is None, "Redis did not start"
                time.sleep(0.02)

    def as_user(self, user: str) -> redis.Redis:
        url = f"redis://{user}:{user}-word@127.0.0.1:{self.port}/0"
        return connect(url, 1.0, protocol=2, driver_info=None)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("redis"))
    yield made
    made.process.kill()
    made.process.wait(10)


@pytest.fixture
def clean(server: Server) -> Server:
    server.own.flushall()
    server.own.script_flush()
    return server


LOOP = "while true do end"
FORGE = "return redis.call('HSET', KEYS[1], 'role', 'active')"
ATTACKS: tuple[tuple[Any, ...], ...] = (
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "dir", "/tmp"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("DBSIZE",),
    ("INFO",),
    ("MONITOR",),
    ("SAVE",),
    ("SHUTDOWN", "NOSAVE"),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("MIGRATE", "127.0.0.1", "1", NAMES.role, "0", "100"),
    ("MODULE", "LIST"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "peer", "+@all"),
    ("ACL", "WHOAMI"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "PAUSE", "10000"),
    ("SCRIPT", "LOAD", FORGE),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('x', function() end)"),
    ("FUNCTION", "LIST"),
    ("EVAL", FORGE, "1", NAMES.vote),
    ("EVAL", LOOP, "0"),
    ("EVAL_RO", LOOP, "0"),
    ("EVALSHA", "0" * 40, "1", NAMES.role),
    ("EVALSHA", "0" * 40, "2", NAMES.vote, NAMES.role),
    ("SUBSCRIBE", "x"),
    ("PUBLISH", "/0.ft.pidbox", "x"),
    ("SELECT", "1"),
    ("SWAPDB", "0", "1"),
    ("WATCH", NAMES.role),
    ("WATCH", NAMES.document("agent")),
    ("GET", NAMES.role),
    ("HGETALL", NAMES.role),
    ("HSET", NAMES.role, "role", "active"),
    ("DEL", NAMES.role),
    ("GET", NAMES.document("agent")),
    ("SET", NAMES.document("agent"), "{}"),
    ("SET", NAMES.challenge_prefix + "x", "1"),
    ("HINCRBY", NAMES.refused, "x", "1"),
    ("HGETALL", NAMES.vote),
    ("DEL", NAMES.vote),
    ("SET", NAMES.vote, "x"),
    ("LPUSH", NAMES.vote, "x"),
    ("EXPIRE", NAMES.vote, "1"),
    ("RENAME", NAMES.vote, "x"),
    ("COPY", NAMES.role, NAMES.vote),
    ("GET", NAMES.word_prefix + "x"),
    ("HSET", NAMES.word_prefix + "x", "a", "b"),
    ("LPUSH", NAMES.queue("switch"), "x"),
    ("LPUSH", NAMES.queue("tick"), "x"),
    ("RPUSH", NAMES.queue("agent"), "x"),
    ("LRANGE", NAMES.queue("agent"), "0", "-1"),
    ("SET", NAMES.queue("agent"), "x"),
    ("BRPOP", NAMES.queue("agent"), "1"),
    ("SADD", "_kombu.binding.ft-switch", "x"),
    ("HSET", OTHER.vote, "owner", "x"),
    ("LPUSH", OTHER.queue("agent"), "x"),
    ("SET", OTHER.word_prefix + "x", "1"),
)


@pytest.mark.parametrize("user", ["peer", "voter"])
def test_every_other_command_is_refused_to_a_stolen_login(clean: Server, user: str) -> None:
    stolen = clean.as_user(user)
    state = {NAMES.role: {"role": "standby", "epoch": "4"}, NAMES.vote: {"owner": "server1", "epoch": "4"}}
    for key, fields in state.items():
        clean.own.hset(key, mapping=fields)
    for attack in ATTACKS:
        if user == "voter" and attack[0] == "EVAL":
            continue  # it brings the vote's scripts itself, since nobody else is at the witness
        with pytest.raises(redis.RedisError) as refused:
            stolen.execute_command(*attack)  # type: ignore[no-untyped-call]
        text = str(refused.value)
        assert "permission" in text.lower() or "NOPERM" in text or "EXEC without MULTI" in text, (attack, text)
    assert {key: clean.own.hgetall(key) for key in state} == state
    assert sorted(clean.own.keys("*")) == sorted(state)


def test_a_script_of_the_own_agent_on_the_role_cannot_be_run_by_the_peer(clean: Server) -> None:
    """The node's own scripts are known there by their SHA; they act with the rights of who runs them."""
    store = RuntimeStore(clean.own, NAMES)
    assert store.see_epoch(4)
    known = clean.own.script_load(FORGE)
    stolen = clean.as_user("peer")
    with pytest.raises(redis.RedisError, match="(?i)permission|NOPERM"):
        stolen.evalsha(known, 1, NAMES.role)
    sneaky = clean.own.script_load("return redis.call('HSET', 'ft:role', 'role', 'active')")
    with pytest.raises(redis.RedisError):
        stolen.evalsha(sneaky, 1, NAMES.vote)
    assert "role" not in clean.own.hgetall(NAMES.role)


def votes(server: Server, *, me: Any, own_url: str, login: Any) -> RedisVotes:
    from ftplugin.clock import SystemClock

    values = {"server1_address": "127.0.0.1:81", "server2_address": "127.0.0.1", "agent_port": server.port}
    settings = settings_with(**values, witness=f"127.0.0.1:{server.port}")
    return RedisVotes(
        own_url=own_url,
        settings=lambda: settings,
        designation=lambda: me,
        keys=NAMES,
        clock=SystemClock(),
        peer_login=lambda: login,
        witness_login=lambda: {"username": "voter", "password": "voter-word"},
    )


def test_the_peer_votes_as_soon_as_the_own_agent_has_loaded_the_scripts_and_after_a_flush(clean: Server) -> None:
    login = {"username": "peer", "password": "peer-word"}
    peer = votes(clean, me=OWN, own_url="redis://127.0.0.1:1/0", login=login)
    own = votes(clean, me=PEER, own_url=clean.own_url, login=login)
    assert own.read(str(PEER), 1.0).ok
    for word in (peer.lock(str(PEER), 4, None, 1.0), peer.own(str(PEER), 4, None, True, 1.0)):
        assert word.ok, word
    assert peer.renew(str(PEER), 4, 1.0).ok and peer.release(str(PEER), 4, 1.0).ok
    clean.own.script_flush()
    before = clean.own.info("commandstats").get("cmdstat_exec", {}).get("calls", 0)
    assert own.read(str(PEER), 1.0).ok and peer.lock(str(PEER), 6, None, 1.0).ok, "the own agent brings all back"
    assert clean.own.info("commandstats").get("cmdstat_exec", {}).get("calls", 0) == before, "and it is used"
    for one in (peer, own):
        one.close()


# (word, epoch, mark, confirmed), by which server; marks: what was read last, or one from before
WORDS: tuple[tuple[Any, ...], ...] = (
    (OWN, "read"),
    (OWN, "release", 2),
    (OWN, "lock", 4, None),
    (PEER, "lock", 3, None),
    (PEER, "lock", 5, "old|mark"),
    (OWN, "own", 6, None, True),
    (OWN, "own", 4, None, False),
    (OWN, "own", 4, "missing", False),
    (OWN, "own", 4, None, False),
    (OWN, "renew", 4),
    (PEER, "renew", 3),
    (PEER, "lock", 5, None),
    (PEER, "own", 5, "server1/4/2|", False),
    (PEER, "own", 5, None, True),
    (OWN, "renew", 4),
    (OWN, "lock", 4, None),
    (PEER, "lock", 7, None),
    (PEER, "renew", 7),
    (PEER, "release", 7),
    (PEER, "renew", 7),
    (OWN, "lock", 8, None),
    (OWN, "lock", 6, None),
    (OWN, "own", 8, None, False),
    (OWN, "read"),
)


def test_a_redis_that_was_restarted_while_its_agent_is_dead_is_a_voter_all_the_same(clean: Server) -> None:
    """Nobody has loaded the scripts there, and the peer may not: it votes by a transaction, with the same outcome."""
    login = {"username": "peer", "password": "peer-word"}
    outcomes = []
    for loaded in (True, False):
        clean.own.flushall()
        clean.own.script_flush()
        for script in SCRIPTS if loaded else ():
            clean.own.script_load(script.text)
        both = {me: votes(clean, me=me, own_url="redis://127.0.0.1:1/0", login=login) for me in (OWN, PEER)}
        # to each of the two this Redis is the other one's: it asks as the user "peer"
        settings = settings_with(server1_address="127.0.0.1", server2_address="127.0.0.1:81", agent_port=clean.port)
        both[PEER]._settings = lambda settings=settings: settings
        happened = []
        for me, word, *rest in WORDS:
            answer = getattr(both[me], word)(str(PEER if me is OWN else OWN), *rest, 2.0)
            assert answer.ok is not None, (me, word, rest, answer.detail)
            happened.append((answer.ok, answer.epoch, answer.owner, answer.mark, clean.own.hgetall(NAMES.vote)))
        outcomes.append(happened)
        for one in both.values():
            one.close()
    assert outcomes[0] == outcomes[1]
    assert {ok for ok, *_ in outcomes[1]} == {True, False}, "both kinds of answer were met"


def test_votes_by_transactions_at_once_lose_no_count(clean: Server) -> None:
    login = {"username": "peer", "password": "peer-word"}
    for epoch in range(4, 24, 2):
        clean.own.flushall()
        four = [votes(clean, me=OWN, own_url="redis://127.0.0.1:1/0", login=login) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda one, e=epoch: one.renew(str(PEER), e, 5.0), four))
        assert [answer.ok for answer in answers] == [True] * 4
        assert clean.own.hget(NAMES.vote, "counter") == "4", "none has written over another one"
        for one in four:
            one.close()


def test_a_script_that_was_known_from_before_does_not_hide_that_the_others_are_missing(clean: Server) -> None:
    """As after an update of this product: Redis still knows what the former version ran, and not the rest."""
    login = {"username": "peer", "password": "peer-word"}
    own = votes(clean, me=PEER, own_url=clean.own_url, login=login)
    clean.own.script_load(SCRIPTS[0].text)
    assert own.read(str(PEER), 1.0).ok
    peer = votes(clean, me=OWN, own_url="redis://127.0.0.1:1/0", login=login)
    assert peer.lock(str(PEER), 4, None, 1.0).ok
    for one in (peer, own):
        one.close()


def test_the_witness_login_votes_and_brings_its_scripts(clean: Server) -> None:
    own = votes(clean, me=OWN, own_url="redis://127.0.0.1:1/0", login={})
    assert own.lock("witness", 4, None, 1.0).ok and own.own("witness", 4, None, True, 1.0).ok
    assert own.renew("witness", 4, 1.0).ok and own.release("witness", 4, 1.0).ok
    own.close()


def test_the_agent_channel_needs_nothing_more(clean: Server) -> None:
    settings = settings_with(server1_address="127.0.0.1", server2_address="127.0.0.1:81", agent_port=clean.port)
    channel = AgentChannel(
        own_url=clean.own_url,
        settings=lambda: settings,
        designation=lambda: OWN,
        keys=NAMES,
        secret_keys=KEYS,
        peer_login=lambda: {"username": "peer", "password": "peer-word"},
    )
    assert channel.demote(4, "nonce-1234", 2.0)
    channel.answer("nonce-1234", 4, True, 1.0)
    assert clean.own.llen(NAMES.queue("agent")) == 1 and clean.own.get(NAMES.word_prefix + "nonce-1234")
    channel.close()
