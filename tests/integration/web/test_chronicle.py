"""What the agent keeps for the history reaches the database, each event of it, and never delays or fails the agent."""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Any

import pytest

from ftplugin.history.records import HISTORY_EVENTS
from ftplugin.store.events import EventStore
from tests.parts import eventually
from workers.node_log import NodeLog

from .conftest import Site


@pytest.fixture
def log(site: Site) -> NodeLog:
    return NodeLog(site.portal.report, site.portal.runtime.count_refused, EventStore(site.portal.database, 30).record)


def kept(site: Site, *names: str) -> list[dict[str, Any]]:
    return EventStore(site.portal.database, 30).between(0, time.time() + 9, names or HISTORY_EVENTS)


def test_two_changes_of_role_within_a_second_are_both_kept_with_their_figures(site: Site, log: NodeLog) -> None:
    log.event("active_begun", epoch=4, since_wall_s=7.5, wall_s=8.0)
    log.event("active_ended", epoch=4, earliest_wall_s=7.75, latest_wall_s=7.75, wall_s=8.0)
    log.event("active_begun", epoch=6, since_wall_s=7.875, wall_s=8.0)
    eventually(lambda: len(kept(site)) == 3)
    assert [(row["name"], row["facts"]["epoch"]) for row in kept(site)] == [
        ("active_begun", 4),
        ("active_ended", 4),
        ("active_begun", 6),
    ]
    assert kept(site)[0]["facts"]["since_wall_s"] == 7.5


def test_alarms_are_still_kept_once_in_ten_seconds(site: Site, log: NodeLog) -> None:
    for _ in range(5):
        log.event("alarm", text="LAN unknown")
    log.event("freeze", switches=3)
    eventually(lambda: len(kept(site)) == 1)
    assert len(kept(site, "alarm")) == 1


def test_a_locked_database_costs_the_event_and_a_log_line_but_no_time(site: Site, log: NodeLog, caplog: Any) -> None:
    lock = sqlite3.connect(site.portal.database.url.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        with caplog.at_level(logging.WARNING):
            began_s = time.monotonic()
            log.event("freeze", switches=3)
            assert time.monotonic() - began_s < 0.2
            eventually(lambda: "event freeze is not kept: the database could not be written" in caplog.text)
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    assert kept(site) == []
