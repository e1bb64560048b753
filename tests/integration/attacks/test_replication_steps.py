"""A crash at each write of a round (in the short run at every third), and an edit between any two of its steps, in order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ftplugin.replicate.files_take import FileTaker
from ftplugin.replicate.rows import RowThing

from .twins import Crash, Fuse, Twin, fuse_in_place, home, twins

KEYS = (1, "a")


@pytest.fixture(scope="module")
def burning() -> Iterator[tuple[Twin, Twin, Fuse]]:
    with home() as folder, fuse_in_place() as fuse:
        pair = twins(folder)
        yield *pair, fuse
        for node in pair:
            node.close()


def begin(one: Twin, two: Twin, fuse: Fuse) -> None:
    """Together, with one row and one file."""
    fuse.left = None
    for node in (one, two):
        node.empty()
    for key in KEYS:
        write(one, key, "before")
    settle(one, two)


def write(node: Twin, key: int | str, text: str) -> None:
    if isinstance(key, int):
        node.write_row(key, text)
    else:
        node.write_file(key, text)


def settle(one: Twin, two: Twin) -> None:
    for turn in range(6):
        for node in (one, two):
            node.look()
            node.pull()
        if turn and one.roots() == two.roots():
            break
    assert (one.rows(), one.files(), one.roots()) == (two.rows(), two.files(), two.roots())


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.full)])
def test_a_crash_at_a_write_of_a_round_loses_nothing_and_makes_no_conflict_of_its_own(
    burning: tuple[Twin, Twin, Fuse], stride: int
) -> None:
    one, two, fuse = burning
    for apart in (False, True):
        crashes = 0
        while True:
            begin(one, two, fuse)
            for key in KEYS:
                write(one, key, "newer, of server1")
                if apart:
                    write(two, key, "of server2, by far the later one")
                    two.write_row(9, "and more edits")
            for node in (one, two):
                node.look()
            fuse.left = crashes
            if not ended(two):
                break
            crashes += stride
            two.start()
            settle(one, two)
            found = one.traces() | two.traces()
            assert "newer, of server1" in found, crashes
            assert not apart or "of server2, by far the later one" in found, crashes
            kept = one.conflicts.listed() + two.conflicts.listed()
            assert len(kept) == (len(KEYS) if apart else 0), (crashes, [lost.item for lost in kept])
        assert crashes >= (8 if apart else 12), "the round was ended at each of its writes"


def ended(node: Twin) -> bool:
    try:
        node.pull()
    except Crash:
        return True
    return False


def test_what_is_typed_between_any_two_questions_of_a_round_is_never_overwritten(
    burning: tuple[Twin, Twin, Fuse],
) -> None:
    one, two, fuse = burning
    for key in KEYS:
        for where in (one, two):
            for question in range(5):
                begin(one, two, fuse)
                write(one, key, "newer, of server1")
                one.look()
                two.look()
                two.meanwhile = (question, lambda where=where, key=key: write(where, key, "typed this instant"))
                two.pull()
                typed, two.meanwhile = two.meanwhile is None, None
                settle(one, two)
                found = one.traces() | two.traces()
                assert "typed this instant" in found or not typed, (key, where.name, question)
                assert typed or question >= 3, "a round has at least so many"
                assert where is one or "newer, of server1" in found, (key, where.name, question)


def test_what_is_typed_in_the_last_instant_before_it_is_written_is_never_overwritten(
    burning: tuple[Twin, Twin, Fuse], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, fuse = burning
    for key, owner, name in ((1, RowThing, "_take_all"), ("a", FileTaker, "_put")):
        begin(one, two, fuse)
        write(one, key, "newer, of server1")
        one.look()
        two.look()
        real = getattr(owner, name)

        def late(*given: object, real=real, key=key, **named: object) -> object:
            if two.traces().isdisjoint({"typed this instant"}):
                write(two, key, "typed this instant")
            return real(*given, **named)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, late)
            two.pull()
        settle(one, two)
        assert {"newer, of server1", "typed this instant"} <= one.traces() | two.traces(), key
