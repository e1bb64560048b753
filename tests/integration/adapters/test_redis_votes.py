"""The vote table on real Redis processes (spec 5.4)."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Callable

import pytest

from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation
from ftplugin.store.keys import Keys
from workers.adapters.redis_votes import RedisVotes

from .conftest import OWN, PEER, RedisProcess, black_hole, settings_with

LIMIT_S = 0.5
VOTER = "witness"


class HandClock:
    """A clock that is moved by hand."""

    boot_id = "boot"

    def __init__(self) -> None:
        self.s = 100.0

    def now_s(self) -> float:
        return self.s

    wall_s = monotonic_s = now_s

    def sleep(self, seconds: float) -> None:
        self.s += seconds


@dataclass
class Pair:
    one: RedisVotes
    two: RedisVotes
    clock: HandClock
    redis: RedisProcess
    settings: list[Settings]

    def mark(self) -> str | None:
        return self.one.reading(VOTER, LIMIT_S).mark


@pytest.fixture
def pair(redis_process: RedisProcess) -> Pair:
    clock = HandClock()
    settings = [settings_with(witness=f"127.0.0.1:{redis_process.port}")]

    def make(designation: Designation) -> RedisVotes:
        return RedisVotes(
            own_url="redis://127.0.0.1:1/0",
            settings=lambda: settings[0],
            designation=lambda: designation,
            keys=Keys(),
            clock=clock,
        )

    return Pair(make(OWN), make(PEER), clock, redis_process, settings)


def owned_by_two(pair: Pair, epoch: int = 3) -> None:
    assert pair.two.lock(VOTER, epoch, None, LIMIT_S).ok
    assert pair.two.own(VOTER, epoch, "missing", False, LIMIT_S).ok


def test_first_promotion_takes_an_empty_voter_that_was_watched(pair: Pair) -> None:
    reading = pair.one.reading(VOTER, LIMIT_S)
    assert reading.mark == "missing" and reading.owner == ""
    assert pair.one.lock(VOTER, 2, None, LIMIT_S).ok
    assert pair.one.own(VOTER, 2, None, False, LIMIT_S).ok is False, "nobody watched it"
    vote = pair.one.own(VOTER, 2, "missing", False, LIMIT_S)
    assert vote.ok and vote.owner == OWN and vote.epoch == 2
    assert pair.one.own(VOTER, 2, "missing", False, LIMIT_S).ok, "the same request once more is no contradiction"


def test_wiped_voter_is_not_taken_by_a_candidate_that_did_not_watch_it_missing(pair: Pair) -> None:
    owned_by_two(pair)
    watched = pair.mark()
    pair.redis.client().flushall()
    assert pair.one.lock(VOTER, 4, watched, LIMIT_S).ok
    vote = pair.one.own(VOTER, 4, watched, False, LIMIT_S)
    assert vote.ok is False and "missing" in str(vote.mark)


def test_voter_wiped_after_the_lock_is_refused(pair: Pair) -> None:
    assert pair.one.lock(VOTER, 2, None, LIMIT_S).ok
    pair.redis.client().flushall()
    vote = pair.one.own(VOTER, 2, "missing", True, LIMIT_S)
    assert vote.ok is False and "lock is gone" in vote.detail


def test_moving_counter_is_never_taken(pair: Pair) -> None:
    owned_by_two(pair)
    watched = pair.mark()
    assert pair.two.renew(VOTER, 3, LIMIT_S).ok
    assert pair.one.lock(VOTER, 4, watched, LIMIT_S).ok, "a lock does not ask for the lease"
    vote = pair.one.own(VOTER, 4, watched, False, LIMIT_S)
    assert vote.ok is False and "moved" in vote.detail and vote.owner == PEER
    assert pair.two.renew(VOTER, 3, LIMIT_S).ok, "a mere lock of a higher epoch does not end a lease"


def test_lease_that_stood_still_is_taken_and_its_owner_then_refused(pair: Pair) -> None:
    owned_by_two(pair)
    watched = pair.mark()
    assert pair.one.lock(VOTER, 4, watched, LIMIT_S).ok
    assert pair.one.own(VOTER, 4, watched, False, LIMIT_S).ok
    vote = pair.two.renew(VOTER, 3, LIMIT_S)
    assert vote.ok is False and vote.owner == OWN and vote.epoch == 4


def test_confirmed_demotion_passes_a_lease_that_was_not_watched(pair: Pair) -> None:
    owned_by_two(pair)
    assert pair.one.lock(VOTER, 4, None, LIMIT_S).ok
    assert pair.one.own(VOTER, 4, None, False, LIMIT_S).ok is False
    assert pair.one.own(VOTER, 4, None, True, LIMIT_S).ok


def test_released_lease_is_free_and_is_not_renewed(pair: Pair) -> None:
    owned_by_two(pair)
    vote = pair.two.release(VOTER, 3, LIMIT_S)
    assert vote.ok and vote.owner == "" and vote.epoch == 3
    assert pair.two.renew(VOTER, 3, LIMIT_S).ok is False
    assert pair.one.lock(VOTER, 2, None, LIMIT_S).ok is False, "the epoch stays"
    assert pair.one.lock(VOTER, 4, None, LIMIT_S).ok
    assert pair.one.own(VOTER, 4, None, False, LIMIT_S).ok


def test_release_leaves_a_newer_lease_and_the_lock_of_the_other(pair: Pair) -> None:
    owned_by_two(pair, epoch=5)
    assert pair.one.lock(VOTER, 6, None, LIMIT_S).ok
    vote = pair.two.release(VOTER, 3, LIMIT_S)
    assert vote.owner == PEER and "server1/6" in str(vote.mark)
    vote = pair.two.release(VOTER, 5, LIMIT_S)
    assert vote.owner == "" and "server1/6" in str(vote.mark)


def test_lock_of_the_other_is_respected_until_it_was_watched(pair: Pair) -> None:
    assert pair.two.lock(VOTER, 3, None, LIMIT_S).ok
    assert pair.one.lock(VOTER, 4, None, LIMIT_S).ok is False
    assert pair.one.lock(VOTER, 2, pair.mark(), LIMIT_S).ok is False, "a lower epoch, even so"
    assert pair.one.lock(VOTER, 4, pair.mark(), LIMIT_S).ok
    assert pair.two.own(VOTER, 3, "missing", True, LIMIT_S).ok is False, "its lock is gone"


def test_renewal_writes_a_missing_record_again_and_takes_over_a_lower_epoch(pair: Pair) -> None:
    vote = pair.two.renew(VOTER, 3, LIMIT_S)
    assert vote.ok and vote.owner == PEER
    assert pair.one.renew(VOTER, 4, LIMIT_S).ok
    assert pair.two.renew(VOTER, 3, LIMIT_S).ok is False


def test_stillness_is_counted_from_this_process_s_first_sight(pair: Pair) -> None:
    owned_by_two(pair)
    assert pair.one.reading(VOTER, LIMIT_S).still_since_s == 100.0
    pair.clock.s = 105.0
    assert pair.one.reading(VOTER, LIMIT_S).still_since_s == 100.0
    pair.two.renew(VOTER, 3, LIMIT_S)
    pair.clock.s = 106.0
    assert pair.one.reading(VOTER, LIMIT_S).still_since_s == 106.0
    assert pair.one.lock(VOTER, 4, None, LIMIT_S).ok
    pair.clock.s = 107.0
    assert pair.one.reading(VOTER, LIMIT_S).still_since_s == 106.0, "the own lock is no movement"
    assert pair.two.reading(VOTER, LIMIT_S).still_since_s == 107.0
    pair.redis.client().flushall()
    pair.clock.s = 108.0
    assert pair.one.reading(VOTER, LIMIT_S).still_since_s == 108.0


def test_two_candidates_racing_never_both_own(pair: Pair) -> None:
    for turn in range(30):
        pair.redis.client().flushall()
        start, owners = threading.Barrier(2), []

        def race(votes: RedisVotes, epoch: int) -> None:
            start.wait()
            locked = votes.lock(VOTER, epoch, "missing", LIMIT_S).ok
            if locked and votes.own(VOTER, epoch, "missing", False, LIMIT_S).ok:
                owners.append(epoch)

        threads = [threading.Thread(target=race, args=a) for a in ((pair.one, 2 + 2 * (turn % 2)), (pair.two, 3))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert len(owners) <= 1, owners


def test_each_call_keeps_its_limit_against_a_frozen_redis_and_goes_on_after(pair: Pair) -> None:
    owned_by_two(pair)
    pair.redis.freeze()
    calls: list[Callable[[], object]] = [
        lambda: pair.two.renew(VOTER, 3, 0.2).ok,
        lambda: pair.two.reading(VOTER, 0.2).mark,
        lambda: pair.one.lock(VOTER, 4, None, 0.2).ok,
    ]
    for call in calls:
        started_s = time.monotonic()
        assert call() is None
        assert time.monotonic() - started_s < 0.3
    pair.redis.thaw()
    assert pair.two.renew(VOTER, 3, LIMIT_S).ok


def test_restarted_voter_costs_no_call(pair: Pair) -> None:
    owned_by_two(pair)
    pair.redis.kill()
    assert pair.two.renew(VOTER, 3, LIMIT_S).ok is None
    pair.redis.start()
    assert pair.two.renew(VOTER, 3, LIMIT_S).ok


def test_black_holed_voter_keeps_the_limit_and_settings_go_live(pair: Pair) -> None:
    owned_by_two(pair)
    former = pair.settings[0]
    with black_hole() as (host, port):
        pair.settings[0] = settings_with(witness=f"{host}:{port}")
        started_s = time.monotonic()
        assert pair.two.renew(VOTER, 3, 0.3).ok is None
        assert time.monotonic() - started_s < 0.4
    pair.settings[0] = former
    assert pair.two.renew(VOTER, 3, LIMIT_S).ok
    pair.settings[0] = settings_with()
    assert list(pair.two.names()) == ["server1", "server2"]


def test_unset_address_could_not_tell(pair: Pair) -> None:
    pair.settings[0] = settings_with(server1_address="")
    vote = pair.two.read("server1", LIMIT_S)
    assert vote.ok is None and "server1_address" in vote.detail
