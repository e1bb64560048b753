"""What the agent learns of the other server's settings reaches the database, without a tick waiting for it."""

from __future__ import annotations

import pathlib
import sqlite3
import time

import pytest

from ftplugin.store.database import Database
from ftplugin.store.settings_history import revision_of
from ftplugin.store.settings_store import SettingsStore
from tests.parts import eventually
from workers.settings_feed import SettingsFeed

PAIR = {"server1_address": "10.0.0.1", "server2_address": "10.0.0.2"}
LIMIT_S = 5.0


@pytest.fixture
def database(tmp_path: pathlib.Path):
    found = Database(f"sqlite:///{tmp_path}/ft.sqlite3")
    yield found
    found.close()


def both_have(database: Database, revision: int) -> tuple[float | None, str]:
    """(since when, which other server), as soon as it is known."""
    what = f"revision {revision} is acknowledged"
    found = eventually(lambda: (row := revision_of(database, revision)) and row.acknowledged and row, LIMIT_S, what)
    return found.both_since_wall_s, found.both_server


def test_the_first_revision_is_acknowledged_by_the_thread_with_time_and_server(database: Database) -> None:
    store = SettingsStore(database, "10.0.0.1")
    store.save(PAIR, "ann")
    feed = SettingsFeed(store, reread_s=0.02)
    feed.start()
    began_s = time.time()
    feed.acknowledged(1)
    since_s, server = both_have(database, 1)
    assert server == "server2" and since_s is not None and began_s - 1 <= since_s <= time.time() + 1
    feed.stop()


def test_a_later_revision_is_acknowledged_once_and_keeps_its_time(database: Database) -> None:
    times = [100.0]
    store = SettingsStore(database, "10.0.0.2", wall_s=lambda: times[0])
    store.save(PAIR, "ann")
    store.acknowledged(1)
    store.save({"threshold": 6}, "bob")
    feed = SettingsFeed(store, reread_s=30)
    times[0] = 200.0
    feed.acknowledged(2)
    times[0] = 300.0
    feed.acknowledged(2)
    store.acknowledged(2)
    assert both_have(database, 1) == (100.0, "server1") and both_have(database, 2) == (200.0, "server1")


def test_a_revision_that_lost_against_another_of_its_number_is_not_called_acknowledged(database: Database) -> None:
    store = SettingsStore(database, "10.0.0.1")
    store.save(PAIR, "ann")
    store.acknowledged(1)
    assert store.adopt(store.document() | {"saved_at": time.time() + 5, "values": {**PAIR, "threshold": 7}})
    found = revision_of(database, 1)
    assert found is not None and not found.acknowledged and found.both_since_wall_s is None
    feed = SettingsFeed(store, reread_s=30)
    feed.acknowledged(1)
    feed.read()
    assert both_have(database, 1)[1] == "server2"


def test_a_database_of_an_older_version_gets_the_new_table(tmp_path: pathlib.Path, database: Database) -> None:
    SettingsStore(database).save(PAIR, "ann")
    database.close()
    with sqlite3.connect(tmp_path / "ft.sqlite3") as link:
        link.execute("drop table ft_settings_both")
        link.execute("drop table ft_alembic_version")  # an older version had none
    newer = SettingsStore(Database(str(database.url)), "10.0.0.1")
    assert newer.current()[0] == 1
    newer.acknowledged(1)
    assert both_have(newer.database, 1)[1] == "server2"
    newer.database.close()


@pytest.mark.parametrize(("before_s", "after_s"), [(0.5, 1.0), (1.0, 0.5)])
def test_heartbeats_keep_the_pace_of_the_shorter_lease_until_both_servers_have_the_change(
    database: Database, before_s: float, after_s: float
) -> None:
    """The active server renews by the shorter lease till then; heartbeats at the longer interval would let it run out."""
    store = SettingsStore(database, "10.0.0.1")
    times = {"timeout_s": 0.5, "threshold": 3, "portal_restart_s": 0.4, "service_stop_s": 0.1, "rtt_ms": 50}
    store.save(PAIR | times | {"interval_s": before_s}, "ann", override_reason="small times")
    store.acknowledged(1)
    store.save({"interval_s": after_s}, "bob", override_reason="small times")
    feed = SettingsFeed(store, reread_s=30)
    assert feed.settings().interval_s == after_s and feed.to_keep_up().interval_s == 0.5
    feed.acknowledged(2)
    assert feed.to_keep_up() == feed.settings()
