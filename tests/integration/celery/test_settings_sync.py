"""Settings saved on one server reach the other at once; what was edited apart is kept and told, and nothing is lost silently."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ftplugin.clock import SystemClock
from ftplugin.replicate.conflicts import ConflictStore
from ftplugin.store.database import Database
from ftplugin.store.events import EventStore
from ftplugin.store.settings_history import conflicts, history, lost_settings
from ftplugin.store.settings_store import SettingsStore
from workers.ports import Reply
from workers.settings_sync import SettingsSync

PAIR = {"server1_address": "10.0.0.1", "server2_address": "10.0.0.2"}


@dataclass
class Portal:
    """What ``replicate_api`` needs of one."""

    database: Database
    settings: SettingsStore
    report: Any


class Side:
    """One server: its store, its thread, and what is written for its administrator."""

    def __init__(self, folder: pathlib.Path, number: int) -> None:
        self.clock_s = [1000.0]
        self.database = Database(f"sqlite:///{folder}/{number}.sqlite3")
        self.store = SettingsStore(self.database, f"10.0.0.{number}", wall_s=lambda: self.clock_s[0])
        self.conflicts = ConflictStore(self.database)
        self.lines: list[str] = []
        self.documents: dict[str, dict[str, Any]] = {}
        self.other: Side | None = None
        self.cut = False
        self.sync = SettingsSync(
            store=self.store,
            conflicts=self.conflicts,
            peer=self,  # type: ignore[arg-type]
            runtime=self,  # type: ignore[arg-type]
            log=self,  # type: ignore[arg-type]
            clock=SystemClock(),
            monotonic_s=lambda: self.clock_s[0],
        )

    def report(self, source: str, text: str) -> None:
        self.lines.append(f"{source}: {text}")

    line = report

    def fetch(self, name: str) -> dict[str, Any] | None:
        return self.documents.get(name)

    def publish(self, name: str, value: Mapping[str, Any]) -> bool:
        self.documents[name] = dict(value)
        return True

    def command(self, name: str, body: Mapping[str, Any], limit_s: float) -> Reply:
        """What the node API of the other server answers, by its real functions."""
        from ftplugin.web.replicate_api import COMMANDS

        there = self.other
        if self.cut or there is None:
            return Reply(answered=False, detail="connection refused")
        portal: Any = Portal(there.database, there.store, there)
        return Reply(answered=True, body=COMMANDS[name](portal, body))

    def settings(self, limit_s: float) -> Reply:
        assert self.other is not None
        return Reply(answered=not self.cut, body={} if self.cut else self.other.store.document())

    def save(self, **values: Any) -> int:
        return self.store.save(values, f"admin of {self.store.own_address}")

    def turn(self, after_s: float = 60.0) -> None:
        self.clock_s[0] += after_s
        self.sync.turn()

    def value(self, name: str) -> Any:
        self.store._read_s = None
        return getattr(self.store.current()[1], name)


@pytest.fixture
def new_sides(tmp_path: pathlib.Path) -> Iterator[tuple[Side, Side]]:
    """Nothing was ever saved on them."""
    one, two = Side(tmp_path, 1), Side(tmp_path, 2)
    one.other, two.other = two, one
    yield one, two
    one.database.close()
    two.database.close()


@pytest.fixture
def sides(new_sides: tuple[Side, Side]) -> tuple[Side, Side]:
    one, two = new_sides
    one.save(**PAIR)
    one.turn()
    for side in new_sides:
        side.store.acknowledged(1)
    return new_sides


def cut(sides: tuple[Side, Side], cut: bool) -> None:
    for side in sides:
        side.cut = cut


def heal(sides: tuple[Side, Side], order: Callable[[tuple[Side, Side]], Any]) -> None:
    cut(sides, False)
    for _ in range(3):
        for side in order(sides):
            side.turn()


def test_a_saved_setting_is_on_the_other_server_after_one_turn_with_revision_time_and_origin(
    sides: tuple[Side, Side],
) -> None:
    one, two = sides
    one.save(threshold=7)
    one.turn(0.5)
    there, here = history(two.database)[0], history(one.database)[0]
    assert (there.revision, there.settings.threshold) == (2, 7)
    assert (there.saved_wall_s, there.origin, there.actor) == (here.saved_wall_s, "server1", "admin of 10.0.0.1")
    assert any("revision 2 of admin of 10.0.0.1 taken" in line for line in two.lines)
    assert two.store.own_address == "10.0.0.2" and "own_address" not in two.store.document()["values"]


@pytest.mark.parametrize("more", ({}, {"threshold": 7}))
def test_the_addresses_entered_on_both_servers_are_no_conflict(new_sides: tuple[Side, Side], more: Any) -> None:
    """Whatever else was entered on the first one before."""
    one, two = new_sides
    cut(new_sides, True)
    one.save(**PAIR)
    if more:
        one.save(**more)
    two.clock_s[0] += 5.0
    two.save(**PAIR)
    heal(new_sides, tuple)
    for side in new_sides:
        assert side.store.document()["values"] == one.store.document()["values"]
        assert side.value("threshold") == more.get("threshold", 5)
        assert side.conflicts.listed() == [] and side.documents["conflicts"] == {"open": 0}


def test_of_edits_made_apart_one_that_set_the_same_value_is_no_conflict_and_another_value_is(
    sides: tuple[Side, Side],
) -> None:
    one, two = sides
    cut(sides, True)
    one.save(threshold=7)
    one.save(interval_s=20)
    two.save(threshold=7)
    heal(sides, tuple)
    assert (two.value("threshold"), two.value("interval_s")) == (7, 20)
    assert [side.conflicts.open_count() for side in sides] == [0, 0]
    cut(sides, True)
    one.save(threshold=8)
    one.save(interval_s=15)
    two.save(threshold=6)
    heal(sides, tuple)
    assert [side.value("threshold") for side in sides] == [8, 8]
    assert [side.conflicts.open_count() for side in sides] == [1, 1]


def test_what_was_saved_during_an_outage_arrives_by_itself_once(sides: tuple[Side, Side]) -> None:
    one, two = sides
    cut(sides, True)
    one.save(threshold=7)
    one.turn()
    assert two.value("threshold") == 5
    cut(sides, False)
    one.turn()
    assert two.value("threshold") == 7 and conflicts(two.database) == []


@pytest.mark.parametrize("order", [lambda sides: sides, lambda sides: sides[::-1]], ids=["one first", "two first"])
def test_edits_on_both_sides_of_a_split_with_different_numbers_the_newer_wins_and_both_keep_the_other(
    sides: tuple[Side, Side], order: Callable[[tuple[Side, Side]], Any]
) -> None:
    one, two = sides
    cut(sides, True)
    one.save(threshold=7)
    one.save(interval_s=40)
    two.save(threshold=9)  # revision 2 there, 3 here
    heal(sides, order)
    assert [side.value("threshold") for side in sides] == [7, 7] and two.value("interval_s") == 40
    for side in sides:
        lost = conflicts(side.database)
        assert [(c["replaced"]["revision"], c["replaced"]["values"]["threshold"]) for c in lost] == [(2, 9)]
        assert side.documents["conflicts"] == {"open": 1}
        kept = lost_settings(side.database, lost[0]["conflict_id"])
        assert kept is not None and kept[1].threshold == 9, "it can be loaded into the form on both"
        told = "settings revision 2 as edited on server2" if side is two else "edited on both servers apart: settings"
        assert any(told in line for line in side.lines), side.lines
        names = ("settings_conflict", "conflict_heard")
        assert len(EventStore(side.database, 30).between(0, time.time() + 10**6, names)) == 1


def test_a_chain_of_edits_that_each_saw_the_one_before_is_no_conflict(sides: tuple[Side, Side]) -> None:
    one, two = sides
    for value, side in ((6, one), (7, two), (8, two), (9, one), (10, two)):
        side.save(threshold=value)
        side.turn()
    assert [side.value("threshold") for side in sides] == [10, 10]
    assert conflicts(one.database) == conflicts(two.database) == []


def test_an_acknowledgement_on_one_server_ends_the_alert_on_both(sides: tuple[Side, Side]) -> None:
    one, two = sides
    cut(sides, True)
    one.save(threshold=7)
    two.save(threshold=9)
    heal(sides, lambda both: both)
    assert [side.documents["conflicts"]["open"] for side in sides] == [1, 1]
    assert one.conflicts.acknowledge("", "ann") == 1
    heal(sides, lambda both: both)
    assert [side.documents["conflicts"]["open"] for side in sides] == [0, 0]
    assert two.conflicts.listed()[0].acknowledged_by == "ann"


def test_synchronise_now_sends_and_fetches_even_what_counts_as_known(sides: tuple[Side, Side]) -> None:
    one, two = sides
    two.save(threshold=9)
    one.turn()
    assert one.value("threshold") == 5, "its own thread has not turned"
    one.documents["sync"] = {"at_s": 5.0, "boot_id": SystemClock().boot_id}
    one.turn()
    assert one.value("threshold") == 9
    assert any("synchronised by hand" in line for line in one.lines)
