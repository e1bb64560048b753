"""What somebody does with the peer's stolen login at a real Redis: he hinders, and what he leaves behind rules nobody.

That he can do nothing else is in ``tests/integration/adapters/test_peer_user.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ftplugin.core.lease import EPOCH_LEAP
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Designation, Role
from workers.adapters.redis_votes import RedisVotes
from workers.node_role import NodeRole

from ..adapters.test_peer_user import NAMES, Server, votes

OWN, PEER = Designation.SERVER1, Designation.SERVER2
GARBAGE: tuple[dict[str, Any], ...] = (
    {"epoch": "x"},
    {"epoch": ""},
    {"epoch": "-5"},
    {"epoch": "1e400"},
    {"epoch": "nan"},
    {"epoch": "9" * 400},
    {"epoch": "0x10"},
    {"epoch": "4.5"},
    {"counter": "9223372036854775807"},
    {"counter": "x"},
    {"lock_epoch": "9223372036854775808"},
    {"owner": "x" * 1_000_000},
    {"owner": "server1\0"},
    {"owner": b"\xff\xfe"},
    {"owner": "server1", "lock_owner": "server1", "lock_epoch": "x"},
    {"owner": "{{7*7}}", "lock_owner": "<script>"},
    {"more": "x"},
)


@pytest.fixture
def own(clean: Server) -> Iterator[RedisVotes]:
    """The voter of the server whose Redis it is."""
    made = votes(clean, me=PEER, own_url=clean.own_url, login={})
    yield made
    made.close()


def facts_of(own: RedisVotes, *, epoch: int) -> dict[str, Any]:
    """What the agent hands to a promotion after it has read that voter."""
    record = RoleRecord(role=Role.STANDBY, epoch=epoch, boot_id="b", deadline_s=0.0, clear=True)
    agent: Any = SimpleNamespace(record=record, ports=SimpleNamespace(clock=SimpleNamespace(boot_id="b")))
    votes = [own.reading(str(PEER), 1.0)]
    view: Any = SimpleNamespace(peer_state=None, invited_epoch=None, votes=votes, now_s=1.0)
    return NodeRole.vote_facts(agent, view)


def test_a_vote_that_was_made_garbage_is_read_as_such_and_no_call_breaks(clean: Server, own: RedisVotes) -> None:
    stolen = clean.as_user("peer")
    for garbage in GARBAGE:
        clean.own.delete(NAMES.vote)
        stolen.execute_command("HSET", NAMES.vote, *[part for item in garbage.items() for part in item])
        for vote in (
            own.read(str(PEER), 1.0),
            own.lock(str(PEER), 8, None, 1.0),
            own.own(str(PEER), 8, None, False, 1.0),
            own.renew(str(PEER), 8, 1.0),
            own.release(str(PEER), 8, 1.0),
        ):
            assert vote.ok in (True, False, None)
        own.reading(str(PEER), 1.0)
    clean.own.delete(NAMES.vote)
    assert own.lock(str(PEER), 10, None, 1.0).ok, "without the record all is as before"


@pytest.mark.parametrize("field", ["epoch", "lock_epoch"])
def test_an_epoch_that_was_written_into_a_vote_is_not_taken_over(clean: Server, own: RedisVotes, field: str) -> None:
    stolen = clean.as_user("peer")
    for poison in (2**53 - 1, 2**62, 4 + EPOCH_LEAP + 1):
        stolen.execute_command("HSET", NAMES.vote, "owner", "server1", "lock_owner", "server1", field, str(poison))
        facts = facts_of(own, epoch=4)
        assert facts["seen_epoch"] == 0, "the next promotion counts on from what was signed"
    stolen.execute_command("HSET", NAMES.vote, field, str(4 + EPOCH_LEAP))
    assert facts_of(own, epoch=4)["seen_epoch"] == 4 + EPOCH_LEAP, "what an honest server may have is taken"


def test_a_vote_that_was_made_to_look_released_or_ours_gives_no_role(clean: Server, own: RedisVotes) -> None:
    """A promotion still needs its lock under a higher epoch; nobody becomes active by a record alone."""
    assert own.lock(str(PEER), 9, None, 1.0).ok and own.own(str(PEER), 9, None, True, 1.0).ok
    clean.own.hset(NAMES.role, mapping={"role": "active", "epoch": "9"})
    stolen = clean.as_user("peer")
    for record in ({"owner": ""}, {"owner": "server1", "epoch": "10"}, {"owner": "server2", "counter": "5"}):
        stolen.execute_command("HSET", NAMES.vote, *[part for item in record.items() for part in item])
        assert clean.own.hgetall(NAMES.role) == {"role": "active", "epoch": "9"}
    assert own.renew(str(PEER), 9, 1.0).ok is False, "the owner finds out at its next renewal"
    assert own.lock(str(PEER), 11, None, 1.0).ok, "and a higher epoch goes past it"


def test_orders_and_words_that_were_pushed_are_void(clean: Server) -> None:
    from ftplugin import protocol
    from workers.adapters.agent_message import cleaned, message

    stolen, key = clean.as_user("peer"), "test-key-of-32-characters-long-ok"
    forged = protocol.make_demote(["another-key-of-32-characters-ok!!"], OWN, 99, "nonce-nonce")
    stolen.lpush(NAMES.queue("agent"), json.dumps(message(forged, NAMES.queue("agent"))))
    stolen.set(
        NAMES.word_prefix + "nonce-nonce", protocol.make_word(["another-key-of-32-characters-ok!!"], OWN, "n", 99, True)
    )
    found = cleaned(json.loads(str(clean.own.rpop(NAMES.queue("agent")))), NAMES.queue("agent"))
    assert found, "its form is right"
    with pytest.raises(protocol.ProtocolError, match="not signed by the peer"):
        protocol.check_demote([key], PEER, **forged)
    with pytest.raises(protocol.ProtocolError, match="not signed by the peer"):
        protocol.read_word([key], OWN, "nonce-nonce", str(clean.own.get(NAMES.word_prefix + "nonce-nonce")))
