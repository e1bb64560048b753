"""The history after a night in which the same was tried again and again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from ftplugin.history.records import ACTIVE_BEGUN, EVIDENCE
from ftplugin.history.source import DOCUMENT_CHARS_MAX, own_document
from ftplugin.store.tables import EVENT

from .conftest import Site
from .pair import journal

NIGHT_S = 1_700_000_000.0


def test_thousands_of_notes_leave_room_for_the_switches_they_are_about(site: Site) -> None:
    site.configure()
    facts = {
        "why": "no majority for the lock",
        "causes": {"connection error (connection refused)": 5},
        "more": "x" * 500,
    }
    rows: list[dict[str, Any]] = [{"at_wall_s": NIGHT_S, "name": ACTIVE_BEGUN, "facts": {"epoch": 4}}]
    rows += [{"at_wall_s": NIGHT_S + 10 * n, "name": EVIDENCE, "facts": {**facts, "n": n}} for n in range(2_400)]
    with site.portal.database.transaction() as connection:
        connection.execute(insert(EVENT), rows)
    for n in range(3):
        journal(site, NIGHT_S + 100 * n, switch_id=f"s{n}", epoch=6 + 2 * n)
    found = own_document(site.portal, NIGHT_S - 10, NIGHT_S + 100_000)
    assert [row["switch_id"] for row in found["switches"]] == ["s2", "s1", "s0"] and found["cut_s"] is None
    notes = [event["facts"]["n"] for event in found["events"] if event["name"] == EVIDENCE]
    assert notes[-1] == 2_399 and notes == list(range(notes[0], 2_400)), "the newest are kept"
    assert found["events"][0]["name"] == ACTIVE_BEGUN and len(str(found)) < DOCUMENT_CHARS_MAX
