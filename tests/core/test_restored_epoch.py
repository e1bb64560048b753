"""A server restored from a backup reports an epoch far above the pair's: it takes no role from anybody by that."""

from __future__ import annotations

from ftplugin.core.lease import next_epoch
from ftplugin.core.terms import Designation
from ftplugin.store.backup import EPOCH_GAP

from .ticks import BOTH, A, S, Ticks, U, acted

FAR = 7 + EPOCH_GAP


@BOTH
def test_the_active_server_keeps_its_role_beside_it(me: Designation) -> None:
    for role in (S, U):
        t = Ticks(me, A)
        heard = {"epoch": FAR, "seen_epoch": FAR}
        assert acted(t.ticks(9, peer=lambda: t.good(role, **heard))) == ""


@BOTH
def test_restored_it_becomes_standby_beside_an_active_server_of_a_lower_epoch(me: Designation) -> None:
    t = Ticks(me, U)
    assert acted(t.ticks(9, peer=lambda: t.good(A, epoch=6), epoch=FAR)) == "C1"


def test_the_next_promotion_on_either_side_is_above_it_and_equal_on_none() -> None:
    after = {designation: next_epoch(FAR, designation) for designation in Designation}
    assert min(after.values()) > FAR and len(set(after.values())) == 2
    assert max(after.values()) < 2**53, "still exact where Lua counts"
