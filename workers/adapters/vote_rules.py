"""The rules of a voter (spec 5.4) as pure functions: what a record becomes, and whether the word was granted.

The Lua scripts of ``redis_votes`` are the same rules where Redis itself runs them. These are used where it may not: at
the peer's Redis while no agent of its own has loaded the scripts there since it started. The simulator runs on them, and
``tests/sim/test_models_agree.py`` holds the two to the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FIELDS = ("owner", "epoch", "counter", "lock_owner", "lock_epoch", "lock_counter")
NUMBERS = ("epoch", "counter", "lock_epoch", "lock_counter")
# owner None: no lease was ever written (a record that a lock alone made)
FRESH_VOTE: dict[str, Any] = {
    "owner": None,
    "epoch": 0,
    "counter": 0,
    "lock_owner": "",
    "lock_epoch": 0,
    "lock_counter": 0,
}


def lease_part(vote: dict[str, Any] | None) -> str:
    """What of a mark tells of the lease."""
    return "missing" if vote is None or vote["owner"] is None else f"{vote['owner']}/{vote['epoch']}/{vote['counter']}"


def lock_part(vote: dict[str, Any] | None) -> str:
    """What of a mark tells of the lock."""
    return (
        ""
        if vote is None or not vote["lock_owner"]
        else f"{vote['lock_owner']}/{vote['lock_epoch']}/{vote['lock_counter']}"
    )


def mark_of(vote: dict[str, Any] | None) -> str:
    """The fingerprint ``lease|lock``, or "missing"."""
    lease, lock = lease_part(vote), lock_part(vote)
    return "missing" if lease == "missing" and not lock else f"{lease}|{lock}"


def part_of(mark: str | None, index: int) -> str | None:
    """Lease part (0) or lock part (1) of a mark; None when nothing was watched."""
    if not mark:
        return None
    return (mark + "|").split("|")[index]


def vote_lock(vote: dict[str, Any] | None, me: str, epoch: int, mark: str | None) -> tuple[dict[str, Any] | None, bool]:
    """The lock rule of 5.4 as a pure function: (record afterwards, granted)."""
    v = dict(FRESH_VOTE if vote is None else vote)
    if epoch <= v["epoch"]:
        return vote, False
    if v["lock_owner"] not in ("", me):
        if epoch <= v["lock_epoch"] or part_of(mark, 1) != lock_part(vote):
            return vote, False
    elif v["lock_owner"] == me and epoch < v["lock_epoch"]:
        return vote, False
    v.update(lock_owner=me, lock_epoch=epoch, lock_counter=v["lock_counter"] + 1)
    return v, True


def vote_own(
    vote: dict[str, Any] | None, me: str, epoch: int, mark: str | None, confirmed: bool
) -> tuple[dict[str, Any] | None, bool]:
    """The lease rule: own lock, and the other node's lease released, confirmed, or watched standing still; as vote_lock."""
    if vote is not None and vote["owner"] == me and vote["epoch"] == epoch and not vote["lock_owner"]:
        return vote, True  # asked twice
    if vote is None or vote["lock_owner"] != me or vote["lock_epoch"] != epoch or epoch <= vote["epoch"]:
        return vote, False
    if vote["owner"] not in ("", me) and not confirmed and part_of(mark, 0) != lease_part(vote):
        return vote, False
    return {
        **vote,
        "owner": me,
        "epoch": epoch,
        "counter": vote["counter"] + 1,
        "lock_owner": "",
        "lock_epoch": 0,
    }, True


def vote_renew(vote: dict[str, Any] | None, me: str, epoch: int) -> tuple[dict[str, Any] | None, bool]:
    """The own lease again, also into a voter that was wiped; as vote_lock."""
    v = dict(FRESH_VOTE if vote is None else vote)
    if v["owner"] is not None and (v["epoch"] > epoch or (v["epoch"] == epoch and v["owner"] != me)):
        return vote, False
    v.update(owner=me, epoch=epoch, counter=v["counter"] + 1)
    if v["lock_owner"] == me and v["lock_epoch"] <= epoch:
        v.update(lock_owner="", lock_epoch=0)
    return v, True


def vote_release(vote: dict[str, Any] | None, me: str, epoch: int) -> tuple[dict[str, Any] | None, bool]:
    """Lease and lock given back, the epoch stays; as vote_lock."""
    if vote is None:
        return vote, True
    v = dict(vote)
    if v["owner"] == me and v["epoch"] <= epoch:
        v.update(owner="", counter=v["counter"] + 1)
    if v["lock_owner"] == me and v["lock_epoch"] <= epoch:
        v.update(lock_owner="", lock_epoch=0)
    return v, True


def record_of(values: Sequence[Any]) -> dict[str, Any] | None:
    """The record from the answer to HMGET of FIELDS; None when there is none. Raises ValueError for what is no number."""
    found = {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}
    numbers = {name: int(found[name]) for name in NUMBERS if name in found}
    return {**FRESH_VOTE, **found, **numbers} if found else None


def changes(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    """The fields to write."""
    known = before or FRESH_VOTE
    return {name: value for name, value in (after or FRESH_VOTE).items() if value != known[name]}
