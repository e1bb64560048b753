"""Who asks the monitor: put together from several processes, without cost for an answer, and compared with the settings."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ftplugin.balancer import probers
from ftplugin.balancer.probers import MOMENTS, PROBERS_MAX, Prober, Probers, drifted, seen
from ftplugin.core.settings import Settings

LIMIT_S = 10.0
PAIR = Settings(interval_s=30.0, timeout_s=10.0, threshold=5)


class Shelf:
    """Documents as Redis keeps them."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}

    def process(self, number: int, rows: Sequence[tuple[str, str, Sequence[float], str]], boot_id: str = "b") -> None:
        """What a process of the portal has written."""
        self.documents[f"probers-{number}"] = {"boot_id": boot_id, "rows": [list(row) for row in rows]}

    def fetch_many(self, names: Sequence[str]) -> Mapping[str, dict[str, Any] | None]:
        return {name: self.documents.get(name) for name in names}


def test_questions_that_went_to_several_processes_in_turn_count_as_of_one_prober() -> None:
    shelf, moments = Shelf(), [100.0 + 5 * number for number in range(60)]
    for process in range(3):
        shelf.process(process, [("10.0.0.9", "active", moments[process::3][-MOMENTS:], "UP")])
    [found] = seen(shelf.fetch_many, "b", moments[-1] + 2)
    assert found == Prober(address="10.0.0.9", question="active", interval_s=5.0, age_s=2.0, seen_as="UP")


def test_process_that_got_few_questions_long_ago_does_not_stretch_the_interval() -> None:
    shelf = Shelf()
    shelf.process(1, [("10.0.0.9", "active", [1000.0 + number for number in range(MOMENTS)], "")])
    shelf.process(2, [("10.0.0.9", "active", [60.0 * number for number in range(7)], "")])
    [found] = seen(shelf.fetch_many, "b", 1010.0)
    assert found.interval_s == 1.0


def test_other_boot_and_long_silence_are_not_shown_and_a_stopped_prober_is_marked() -> None:
    shelf = Shelf()
    shelf.process(1, [("10.0.0.7", "active", [10.0, 11.0], "")], boot_id="before")
    shelf.process(2, [("10.0.0.8", "active", [10.0, 11.0], "")])
    assert [(p.address, p.quiet) for p in seen(shelf.fetch_many, "b", 15.0)] == [("10.0.0.8", False)]
    assert [(p.address, p.quiet) for p in seen(shelf.fetch_many, "b", 30.0)] == [("10.0.0.8", True)]
    assert seen(shelf.fetch_many, "b", 9000.0) == []


@pytest.mark.parametrize(
    ("question", "interval_s", "earlier_s"),
    [
        ("monitor?mod=NONE", 30.5, "fits"),
        ("monitor?mod=NONE", 4.98, 100.0),  # (5-1)*30 + 10 against (3-1)*10 + 10: limits of 10 s, one after another
        ("monitor?mod=IPSWS", 90.0, -60.0),
        ("active", 7.5, "fits"),
        ("active", 1.0, "fits"),  # who follows the role may ask as often as it likes
        ("active", 20.0, None),
    ],
)
def test_interval_that_does_not_fit_the_settings_is_told_with_its_effect(
    question: str, interval_s: float, earlier_s: float | str | None
) -> None:
    prober = Prober(address="10.0.0.9", question=question, interval_s=interval_s, age_s=1.0)
    assert [item.earlier_s for item in drifted([prober], PAIR)] == ([] if earlier_s == "fits" else [earlier_s])


def prober_of(moments: Sequence[float], question: str) -> Prober:
    shelf = Shelf()
    shelf.process(1, [("10.0.0.9", question, moments, "")])
    [found] = seen(shelf.fetch_many, "b", moments[-1] + 1)
    return found


@pytest.mark.parametrize(
    ("moments", "question", "drifts"),
    [
        ([60.0 * n for n in range(8)], "monitor?mod=NONE", True),
        ([60.0 * n + 0.2 * (n % 3) for n in range(8)], "active", True),
        ([0.0, 60.0, 120.0, 180.0, 420.0, 480.0, 540.0, 600.0], "active", True),  # four were lost in a cut
        ([0.0, 25.0], "active", False),  # somebody has looked twice
        ([0.0, 25.0, 51.0, 75.0], "monitor?mod=IPSWS", False),
        (
            [0.0, 90.0, 97.0, 250.0, 257.0, 264.0, 600.0, 690.0],
            "active",
            False,
        ),  # NGINX at night: when a user wants a page
    ],
)
def test_only_who_asks_by_a_clock_of_its_own_can_drift(moments: list[float], question: str, drifts: bool) -> None:
    assert bool(drifted([prober_of(moments, question)], PAIR)) is drifts


def test_rows_that_another_version_has_written_are_left_out() -> None:
    shelf = Shelf()
    shelf.process(1, [("10.0.0.9", "active", [1.0, 2.0], "")])
    good = shelf.documents["probers-1"]["rows"][0]
    odd: list[Any] = [None, 5, {"a": 1}, [], [1, 2, 3, 4], ["x", "active", [], ""], ["x", "active", ["soon"], ""]]
    shelf.documents["probers-1"]["rows"] = [*odd, good]
    shelf.documents |= {"probers-2": {"boot_id": "b"}, "probers-3": {"boot_id": "b", "rows": 7}}
    assert [p.address for p in seen(shelf.fetch_many, "b", 3.0)] == ["10.0.0.9"]


def test_redis_that_hangs_costs_no_question_anything_and_one_writer_waits_for_it() -> None:
    begun, go_on = threading.Event(), threading.Event()
    written: list[Mapping[str, Any]] = []

    def publish(_name: str, document: Mapping[str, Any]) -> bool:
        written.append(document)
        begun.set()
        return go_on.wait(LIMIT_S)

    made = Probers(publish, "b")
    made.note("10.0.0.9", "active", 100.0)
    assert begun.wait(LIMIT_S)
    began_s = time.monotonic()
    for number in range(1000):
        made.note("10.0.0.9", "active", 101.0 + number)
    assert time.monotonic() - began_s < 1.0 and len(written) == 1
    go_on.set()
    end_s = time.monotonic() + LIMIT_S
    while len(written) < 2 and time.monotonic() < end_s:
        made.note("10.0.0.9", "active", 5000.0)
    assert len(written) == 2, "the next one is written again"


def test_one_write_a_second_and_none_at_all_for_a_question_that_touches_no_redis() -> None:
    written: list[float] = []
    done = threading.Event()
    made = Probers(lambda _name, _document: bool(written.append(1.0)) or not done.set(), "b")
    made.note("10.0.0.9", "monitor?mod=NONE", 100.0, flush=False)
    assert not done.wait(0.2)
    made.note("10.0.0.8", "active", 100.1)
    assert done.wait(LIMIT_S)
    made.note("10.0.0.8", "active", 100.9)
    time.sleep(0.1)
    assert len(written) == 1


def test_many_addresses_fill_no_memory_and_the_longest_silent_makes_room() -> None:
    made = Probers(lambda _name, _document: True, "b")
    for number in range(10 * PROBERS_MAX):
        made.note(f"10.0.{number // 250}.{number % 250}", "active", 100.0, flush=False)
    assert len(made._seen) == PROBERS_MAX
    made.note("10.9.9.9", "active", 100.0 + probers.SILENT_S + 1, flush=False)
    assert len(made._seen) == PROBERS_MAX and ("10.9.9.9", "active") in made._seen
