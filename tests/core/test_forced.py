"""M2, the forced takeover, as pure judgement: what it passes, what it never passes, and how long it waits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ftplugin.core.forced import ENDLESS, KEPT, Forced, force, passes
from ftplugin.core.hysteresis import Memory
from ftplugin.core.vetoes import VETOES
from ftplugin.core.terms import Designation, ProbeCause, Tri
from ftplugin.core.view import LanReading, Probe, VoteReading

from .cases import ripe
from .ticks import A, LAN_DOWN, LAN_UNKNOWN, PAUSE, S, S2, Ticks, settings


def judged(t: Ticks, *, checked: bool = False, memory: Memory | None = None, **changes: Any) -> Forced:
    view = t.view(**{"peer": t.silent(), **changes})
    return force(view, t.settings, memory or ripe(t), t.timing, checked=checked)


def standby(**changes: Any) -> Ticks:
    return Ticks(S2, S, settings(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"pause": PAUSE},
        {"lan": LAN_UNKNOWN},
        {"manual_hold": True},
        {"retry_after_s": 2000.0},
        {"switches": 99},
        {"own": None},
    ],
    ids=str,
)
def test_what_holds_automatic_rules_back_is_passed(changes: dict[str, Any]) -> None:
    assert judged(standby(), **changes).refused == ()


def test_streaks_and_a_freeze_are_passed() -> None:
    assert judged(standby(), memory=Memory(last_tick_s=999.0, frozen=True)).refused == ()


@pytest.mark.parametrize(
    ("changes", "veto"),
    [
        ({"drained": True}, "drained"),
        ({"lan": LAN_DOWN}, "lan"),
        ({"own": Probe(started_s=999.0, ended_s=999.5, cause=ProbeCause.TIMEOUT)}, "own portal dead"),
    ],
)
def test_what_would_only_end_in_a_demotion_is_not_passed(changes: dict[str, Any], veto: str) -> None:
    t = standby()
    found = judged(t, checked=True, peer=t.good(A), **changes)
    assert [r.veto for r in found.refused] == [veto] and "M2 held back" in found.sentence


def test_a_server_that_has_just_gone_silent_is_waited_for_a_whole_hold_after_this_probe() -> None:
    t = standby()
    found = judged(t, memory=Memory(last_tick_s=t.now_s - 1, owner_word_s=t.now_s - 1))
    assert found.silent and not found.waived
    assert found.certain_s >= t.view(peer=t.silent()).peer.ended_s + t.timing.hold_s  # type: ignore[union-attr]


def test_one_that_has_been_silent_for_long_is_not_waited_for() -> None:
    t = standby()
    assert judged(t).certain_s <= t.now_s


def test_a_vote_that_moved_lately_delays_it() -> None:
    t = standby()
    vote = VoteReading(voter="server2", mark="x|", owner="server1", epoch=3, still_since_s=t.now_s - 1)
    assert judged(t, votes=(vote,)).certain_s == pytest.approx(t.now_s - 1 + t.timing.watch_s)


def test_a_server_that_is_heard_has_no_silence_to_count_from() -> None:
    t = standby()
    found = judged(t, peer=t.good(A))
    assert not found.silent and found.certain_s > t.now_s


def test_the_word_that_the_other_one_is_off_waives_the_wait_only_without_a_witness() -> None:
    assert judged(standby(), checked=True).waived
    assert not judged(standby(), checked=False).waived
    assert not judged(standby(witness="10.0.0.9:6379"), checked=True).waived


def test_the_word_is_not_believed_while_the_other_one_answers_or_renews_its_vote_here() -> None:
    t = standby()
    assert not judged(t, checked=True, peer=t.good(A)).waived
    moving = VoteReading(voter=str(S2), mark="x|", owner=str(S2.other), epoch=3, still_since_s=t.now_s)
    assert not judged(t, checked=True, votes=(moving,)).waived
    still = replace(moving, still_since_s=t.now_s - 100)
    assert judged(t, checked=True, votes=(still,)).waived


@pytest.mark.parametrize("ours", [True, False])
def test_with_mode_off_on_either_side_a_silent_server_never_certainly_stops(ours: bool) -> None:
    t = standby(enabled=ours)
    memory = replace(ripe(t), peer_enabled=not ours)
    found = judged(t, memory=memory)
    assert found.endless and [r.sentence for r in found.refused] == [ENDLESS]
    assert judged(t, memory=memory, checked=True).refused == ()
    heard = judged(t, memory=memory, peer=t.good(A, enabled=not ours))
    assert heard.refused == () and heard.endless, "its confirmation is asked for, and nothing else will do"


def test_with_a_witness_the_votes_end_an_absent_lease_also_with_mode_off() -> None:
    assert not judged(standby(enabled=False, witness="10.0.0.9:6379")).endless


def test_the_page_knows_which_vetoes_are_passed() -> None:
    up, down = {"carrier": Tri.YES, "reference": Tri.UNKNOWN}, {"carrier": Tri.YES, "reference": Tri.NO}
    assert passes("lan", up) and not passes("lan", down)
    assert {veto for veto in VETOES if not passes(veto, up)} == set(KEPT) - {"lan"}


def test_a_lan_without_references_is_unknown_and_passed() -> None:
    assert judged(standby(), lan=LanReading()).refused == ()


def test_designations_do_not_matter() -> None:
    for me in Designation:
        assert judged(Ticks(me, S, settings())).refused == ()
