"""'ft backup', 'ft restore' and 'ft uninstall': what comes back, with which epoch, and what is refused."""

from __future__ import annotations

import fcntl
import gzip
import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import redis
from sqlalchemy import select

from ftplugin.core.lease import epoch_owner
from ftplugin.core.terms import Role
from ftplugin.licence.keep import FILE as LICENCE_FILE
from ftplugin.pairing.keyring import write_keys
from ftplugin.store.backup import EPOCH_GAP
from ftplugin.store.tables import EVENT, SETTINGS, SWITCH

from .conftest import KEY, MakeSite, Site
from .pair import journal, keep


def run(site: Site, *words: str) -> Any:
    return site.app.test_cli_runner().invoke(args=["ft", *words])


@pytest.fixture
def full(site: Site) -> Site:
    """A server with two revisions, two switches (one never ended), an event, a pause and a hold."""
    site.configure(threshold=7)
    journal(site, 1_700_000_000.0, switch_id="one", epoch=6)
    assert site.portal.journal.begin(
        switch_id="two", kind="promote", rule="F1", reason="\u00fcber \U0001f6a8", epoch=9, actor="ann"
    )
    assert site.portal.journal.save_lease(8, site.portal.clock.now_s() + 1000, site.portal.clock.boot_id)
    keep(site, "lease_lost", 1_700_000_100.0, epoch=6)
    assert site.portal.journal.set_manual_hold(True) and site.portal.pause("ann", "work", None)
    return site


@pytest.fixture
def file(full: Site, tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "node.backup"
    made = run(full, "backup", str(path))
    assert made.exit_code == 0, made.output
    return path


def rows(site: Site, table: Any) -> list[dict[str, Any]]:
    with site.portal.database.transaction() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


@pytest.fixture
def empty(make_site: MakeSite, tmp_path: pathlib.Path) -> Site:
    return make_site(FT_INSTANCE_DIR=str(tmp_path / "new machine"))


def test_a_backup_brings_back_settings_history_journal_and_orders(full: Site, file: pathlib.Path, empty: Site) -> None:
    restored = run(empty, "restore", str(file))
    assert restored.exit_code == 0, restored.output
    assert rows(empty, SETTINGS) == rows(full, SETTINGS) and len(rows(full, SETTINGS)) == 2
    assert rows(empty, EVENT) == rows(full, EVENT)
    assert empty.portal.settings.current() == full.portal.settings.current()
    assert empty.portal.journal.manual_hold() is True
    assert empty.portal.journal.standing() == full.portal.journal.standing()
    found = empty.portal.journal.find("one")
    assert found is not None and found["steps"] == full.portal.journal.find("one")["steps"]
    assert "restored from a backup" in empty.log()


def test_a_restored_server_is_standby_with_an_epoch_above_any_it_had(
    full: Site, file: pathlib.Path, empty: Site
) -> None:
    full.portal.journal.begin(
        switch_id="later", kind="promote", rule="F1", reason="after the backup", epoch=4001, actor=""
    )
    assert run(empty, "restore", str(file)).exit_code == 0
    last = empty.portal.journal.last_role()
    assert last is not None and (last.role, last.deadline_s, last.boot_id) == (Role.STANDBY, 0.0, "")
    assert empty.portal.journal.epoch() == 9 + EPOCH_GAP > full.portal.journal.epoch()
    assert epoch_owner(9 + EPOCH_GAP) is epoch_owner(9), "whose it is does not change"
    assert empty.portal.journal.unfinished() == [], "nothing is resumed"
    two = empty.portal.journal.find("two")
    assert two is not None and two["outcome"] == "failed" and two["reason"] == "\u00fcber \U0001f6a8"


def test_restored_over_a_newer_database_the_epoch_does_not_fall(full: Site, file: pathlib.Path) -> None:
    full.portal.journal.begin(switch_id="later", kind="promote", rule="F1", reason="r", epoch=10**7, actor="")
    assert run(full, "restore", str(file)).exit_code == 1, "it has settings of its own"
    assert run(full, "restore", str(file), "--replace").exit_code == 0
    assert full.portal.journal.epoch() == 10**7 + EPOCH_GAP
    assert full.portal.journal.find("later") is None


def test_a_backup_holds_no_secret_and_only_the_owner_may_read_it(
    full: Site, make_site: MakeSite, file: pathlib.Path
) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    text = gzip.decompress(file.read_bytes())
    assert KEY.encode() not in text and b"secret" not in text.lower()
    again = run(full, "backup", str(file))
    assert again.exit_code == 1 and "is there already" in again.output


def damaged(path: pathlib.Path, change: Callable[[bytes], bytes]) -> pathlib.Path:
    other = path.with_suffix(".damaged")
    other.write_bytes(change(path.read_bytes()))
    return other


def relined(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda data: gzip.compress(b"".join(change(gzip.decompress(data).splitlines(keepends=True))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[: len(data) // 2], "damaged or cut off"),
        (lambda data: b"no gzip at all", "damaged or cut off"),
        (lambda data: b"", "damaged or cut off"),
        (relined(lambda lines: lines[:-1]), "damaged or cut off"),
        (relined(lambda lines: lines[:2] + lines[3:]), "damaged or cut off"),
        (relined(lambda lines: [line.replace(b"ann", b"bob") for line in lines]), "damaged or cut off"),
        (relined(lambda lines: [*lines, b"{}\n"]), "damaged or cut off"),
        (relined(lambda lines: [b'{"format": 99}\n', *lines[1:]]), "newer version"),
    ],
)
def test_a_damaged_backup_changes_nothing(empty: Site, file: pathlib.Path, change: Any, words: str) -> None:
    empty.configure(threshold=9)
    refused = run(empty, "restore", str(damaged(file, change)), "--replace")
    assert refused.exit_code == 1 and words in refused.output
    assert empty.portal.settings.current()[1].threshold == 9


def test_a_backup_of_another_instance_is_refused(
    file: pathlib.Path, make_site: MakeSite, tmp_path: pathlib.Path
) -> None:
    other = make_site(FT_PREFIX="shop", FT_INSTANCE_DIR=str(tmp_path / "shop"))
    refused = run(other, "restore", str(file))
    assert refused.exit_code == 1 and "FT_PREFIX" in refused.output
    assert rows(other, SETTINGS) == []


@pytest.mark.parametrize("command", [("restore", "x"), ("uninstall", "--yes")])
def test_an_active_server_and_running_workers_are_left_alone(site: Site, command: tuple[str, ...]) -> None:
    site.role(Role.ACTIVE)
    refused = run(site, *command)
    assert refused.exit_code == 1 and "is active: switch over first" in refused.output
    site.role(Role.STANDBY, epoch=3)
    with open(site.portal.config.instance_dir / "switch.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = run(site, *command)
    assert refused.exit_code == 1 and "switch worker" in refused.output
    assert rows(site, SETTINGS)


def test_a_licence_with_letters_outside_ascii_comes_back(site: Site, empty: Site, tmp_path: pathlib.Path) -> None:
    site.portal.config.instance_dir.mkdir(parents=True, exist_ok=True)
    text = "<?xml version='1.0' encoding='UTF-8'?><licence customer='M\u00fcller'/>".encode()
    (site.portal.config.instance_dir / LICENCE_FILE).write_bytes(text)
    path = str(tmp_path / "node.backup")
    assert run(site, "backup", path).exit_code == 0
    restored = run(empty, "restore", path)
    assert restored.exit_code == 0, restored.output
    kept = empty.portal.config.instance_dir / LICENCE_FILE
    assert kept.read_bytes() == text and kept.stat().st_mode & 0o777 == 0o600


# --- uninstall -----------------------------------------------------------------------------------------------------


def test_uninstall_shows_first_and_removes_what_is_its_own(full: Site) -> None:
    client, folder = redis.Redis(port=full.redis.port), full.portal.config.instance_dir
    full.role(Role.STANDBY, epoch=12)
    full.portal.report.line("test", "a line that stays")
    full.agent()
    full.portal.producer.switch({"kind": "manual"})
    strangers = ("portal-session", "ft-shop:role", "ft-shop-tick", "_kombu.binding.ft-shop-tick", "left", "celery")
    for name in strangers:
        client.set(name, "1")
    write_keys(folder / "secret.keys", [KEY])
    for name in ("guard.lease", "command-x.start", "redis-users.conf", ".secret.keys.0a1b2c3d", "mine.txt"):
        (folder / name).write_text("x")
    shown = run(full, "uninstall")
    assert shown.exit_code == 1 and "Nothing was changed" in shown.output and "secret.keys" in shown.output
    assert "take out its line 'include" in shown.output, "or Redis does not start without that file"
    assert client.exists("ft:role") and (folder / "secret.keys").exists() and rows(full, SWITCH)
    done = run(full, "uninstall", "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert {name.decode() for name in client.keys("*")} == set(strangers)
    assert sorted(path.name for path in folder.iterdir()) == ["logs", "mine.txt"]
    assert len(json.loads(done.stdout)["tables"]) >= 8


def test_uninstall_leaves_no_table_and_no_folder_and_can_be_run_again(site: Site) -> None:
    for name in ("replicate.lock", "licence_alarm"):
        (site.portal.config.instance_dir / name).write_text("")
    assert run(site, "uninstall", "--yes", "--with-logs").exit_code == 0
    assert not site.portal.config.instance_dir.exists()
    assert run(site, "uninstall", "--yes").exit_code == 0
