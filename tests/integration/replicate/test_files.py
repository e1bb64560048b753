"""Files of a folder: both ways, parts only, cuts, names, modes, and edits that were made apart."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

import pytest

from ftplugin.replicate import files, files_take
from ftplugin.replicate.conflicts import ConflictStore
from ftplugin.replicate.files import BLOCK_BYTES, FolderThing
from ftplugin.replicate.files_kept import restore, tidy
from ftplugin.replicate.thing import ReplicationError

from .conftest import Couple

BIG = 5 * BLOCK_BYTES + 123


def test_files_and_empty_folders_go_both_ways_with_mode_and_time(couple: Couple) -> None:
    one, two = couple.one.folder, couple.two.folder
    (one / "sub" / "deep").mkdir(parents=True)
    (one / "empty").mkdir(mode=0o750)
    (one / "sub" / "deep" / "script.sh").write_bytes(b"#!/bin/sh\n")
    (one / "sub" / "deep" / "script.sh").chmod(0o755)
    os.utime(one / "sub" / "deep" / "script.sh", (1_000_000, 1_000_000))
    (one / "nothing").write_bytes(b"")
    (two / "from two.txt").write_bytes(b"two")
    couple.settle(active=True)
    assert couple.one.tree() == couple.two.tree() and len(couple.one.tree()) == 6
    found = (two / "sub" / "deep" / "script.sh").stat()
    assert (found.st_mode & 0o777, found.st_mtime) == (0o755, 1_000_000)
    assert (two / "empty").stat().st_mode & 0o777 == 0o750
    (two / "sub" / "deep" / "script.sh").write_bytes(b"changed on the standby")
    (one / "from two.txt").unlink()
    shutil.rmtree(one / "empty")
    couple.settle()
    assert couple.one.tree() == couple.two.tree()
    assert sorted(couple.one.tree()) == ["nothing", "sub", "sub/deep", "sub/deep/script.sh"]
    assert ConflictStore(couple.two.ft.database).listed() == []


def test_names_that_are_no_utf8_and_odd_ones_arrive_as_they_are(couple: Couple) -> None:
    names = [b"\xff\xfe name", "ü 🎉".encode(), b"new\nline", b" blank ", b"-rf", b"a" * 255, b"%s{}$(x)'\"\\"]
    for name in names:
        with open(os.path.join(os.fsencode(couple.one.folder), name), "wb") as file:
            file.write(name)
    couple.settle(active=True)
    assert sorted(os.listdir(os.fsencode(couple.two.folder))) == sorted([*names, b".ft-replica"])


def test_only_changed_blocks_travel(couple: Couple) -> None:
    data = bytearray(os.urandom(BIG))
    (couple.one.folder / "big").write_bytes(data)
    couple.settle(active=True)
    data[3 * BLOCK_BYTES + 5] ^= 1
    data += b"more"
    (couple.one.folder / "big").write_bytes(data)
    couple.one.scan()
    progress = couple.two.pull()["files"]
    assert progress.bytes == BLOCK_BYTES + 127, "one changed block and the last one"
    assert (couple.two.folder / "big").read_bytes() == data


def test_a_cut_link_leaves_the_old_file_whole_and_goes_on_where_it_was(
    couple: Couple, monkeypatch: pytest.MonkeyPatch
) -> None:
    (couple.one.folder / "big").write_bytes(b"old")
    couple.settle(active=True)
    data = os.urandom(BIG)
    (couple.one.folder / "big").write_bytes(data)
    couple.one.scan()
    real, calls = files_take.FileTaker._fill, []

    def once(taker: files_take.FileTaker, parts: Any) -> Any:
        fetch = taker._fetch

        def cut(asked: list[list[Any]]) -> Any:
            calls.append(asked)
            if len(calls) > 1:
                raise ReplicationError("connection closed in the middle of an answer")
            return fetch(asked)

        taker._fetch = cut
        return real(taker, parts)

    with monkeypatch.context() as patch:
        patch.setattr(files_take.FileTaker, "_fill", once)
        assert "closed in the middle" in couple.two.pull()["files"].error
    assert (couple.two.folder / "big").read_bytes() == b"old", "never half a file"
    assert couple.two.scan()["files"].edited == 0
    progress = couple.two.pull()["files"]
    assert (couple.two.folder / "big").read_bytes() == data
    assert 0 < progress.bytes < BIG, "what had come was not asked for again"
    assert os.listdir(couple.two.folder / ".ft-replica" / "staging") == []


def test_a_file_that_changes_while_it_is_read_or_sent_comes_whole_or_not_at_all(couple: Couple) -> None:
    (couple.one.folder / "log").write_bytes(b"a" * BIG)
    couple.one.scan(active=True)
    couple.two.scan()
    (couple.one.folder / "log").write_bytes(b"b" * BIG)  # after the look
    progress = couple.two.pull()["files"]
    assert progress.behind == 1 and not (couple.two.folder / "log").exists()
    couple.settle()
    assert (couple.two.folder / "log").read_bytes() == b"b" * BIG


def test_edited_on_both_sides_the_later_wins_and_the_other_lies_beside_and_can_come_back(couple: Couple) -> None:
    (couple.one.folder / "greeting").write_bytes(b"hello")
    couple.settle(active=True)
    (couple.one.folder / "greeting").write_bytes(b"by ann")
    couple.one.scan()
    (couple.two.folder / "greeting").write_bytes(b"by bob, later")
    couple.settle()
    assert [(node.folder / "greeting").read_bytes() for node in couple] == [b"by bob, later"] * 2
    lost = ConflictStore(couple.one.ft.database).listed()
    assert [(c.subject, c.item, c.kept_on, c.lost["size"]) for c in lost] == [("files", "greeting", "server1", 6)]
    kept = couple.one.folder / ".ft-replica" / "conflicts"
    assert (kept / lost[0].lost["file"]).read_bytes() == b"by ann" and kept.stat().st_mode & 0o077 == 0
    restore(couple.one.replicator.things["files"], "greeting", lost[0].lost["file"])  # type: ignore[arg-type]
    couple.settle()
    assert (couple.two.folder / "greeting").read_bytes() == b"by ann"


def test_a_file_edited_between_the_look_and_the_writing_is_not_overwritten(couple: Couple) -> None:
    (couple.one.folder / "x").write_bytes(b"first")
    couple.settle(active=True)
    (couple.one.folder / "x").write_bytes(b"newer there")
    couple.one.scan()
    (couple.two.folder / "x").write_bytes(b"typed this instant")
    (couple.two.folder / "y").write_bytes(b"")
    couple.two.pull()
    assert (couple.two.folder / "x").read_bytes() == b"typed this instant"
    couple.settle()
    kept = [c for node in couple for c in ConflictStore(node.ft.database).listed()]
    assert len(kept) == 1


def test_a_file_edited_while_the_new_one_is_still_coming_is_not_overwritten(
    couple: Couple, monkeypatch: pytest.MonkeyPatch
) -> None:
    (couple.one.folder / "x").write_bytes(b"first")
    couple.settle(active=True)
    (couple.one.folder / "x").write_bytes(b"newer there")
    couple.one.scan()
    real = files_take.FileTaker._fill

    def meanwhile(taker: files_take.FileTaker, parts: Any) -> Any:
        (couple.two.folder / "x").write_bytes(b"typed meanwhile")
        return real(taker, parts)

    with monkeypatch.context() as patch:
        patch.setattr(files_take.FileTaker, "_fill", meanwhile)
        assert couple.two.pull()["files"].behind == 1
    assert (couple.two.folder / "x").read_bytes() == b"typed meanwhile"


def test_an_edit_in_the_very_instant_of_the_rename_is_kept(couple: Couple, monkeypatch: pytest.MonkeyPatch) -> None:
    target = couple.two.folder / "x"
    (couple.one.folder / "x").write_bytes(b"first")
    couple.settle(active=True)
    (couple.one.folder / "x").write_bytes(b"newer there")
    couple.one.scan()
    real = files_take.exchange

    def late(*names: Any) -> bool:
        replacement = couple.two.folder.parent / "editor"
        replacement.write_bytes(b"saved by an editor")
        os.rename(replacement, target)
        return real(*names)

    with monkeypatch.context() as patch:
        patch.setattr(files_take, "exchange", late)
        couple.two.pull()
    assert target.read_bytes() == b"newer there"
    (lost,) = ConflictStore(couple.two.ft.database).listed()
    kept = couple.two.folder / ".ft-replica" / "conflicts" / lost.lost["file"]
    assert kept.read_bytes() == b"saved by an editor"


def test_a_folder_that_is_not_mounted_deletes_nothing_on_the_other_server(couple: Couple) -> None:
    for n in range(40):
        (couple.one.folder / f"{n}").write_bytes(b"x")
    couple.settle(active=True)
    away = couple.two.folder.with_name("away")
    os.rename(couple.two.folder, away)
    with pytest.raises(ReplicationError, match="cannot be opened"):
        couple.two.scan()
    couple.two.folder.mkdir()
    assert couple.two.scan()["files"].gone == 40
    couple.one.pull()
    assert len(couple.one.tree()) == 40
    couple.two.scan(gone="restore")
    couple.settle()
    assert len(couple.two.tree()) == 40


def test_what_is_excluded_stays_local_and_is_no_deletion(couple: Couple) -> None:
    for node in couple:
        (node.folder / "cache").mkdir()
        (node.folder / "cache" / node.designation).write_bytes(b"local")
        (node.folder / f"{node.designation}.tmp").write_bytes(b"local")
    (couple.one.folder / "shared").write_bytes(b"x")
    couple.settle(active=True)
    assert sorted(couple.two.tree()) == ["cache", "cache/server2", "server2.tmp", "shared"]


def test_an_unchanged_file_is_not_read_again(couple: Couple, monkeypatch: pytest.MonkeyPatch) -> None:
    path = couple.one.folder / "old"
    path.write_bytes(b"x" * 100)
    couple.settle(active=True)
    read: list[int] = []
    real = files.read_digests
    monkeypatch.setattr(files, "read_digests", lambda fd: read.append(fd) or real(fd))
    assert couple.two.scan()["files"].edited == 0 and read == [], "known since it was taken"
    (couple.two.folder / "old").chmod(0o600)
    (couple.two.folder / "old").chmod(0o644)
    assert couple.two.scan()["files"].edited == 0 and len(read) == 1, "touched: read, and no edit"


def test_a_full_disk_is_said_and_nothing_is_half(couple: Couple, monkeypatch: pytest.MonkeyPatch) -> None:
    (couple.one.folder / "x").write_bytes(b"x" * 1000)
    couple.one.scan(active=True)
    couple.two.scan()
    with monkeypatch.context() as patch:
        patch.setattr(files_take, "SPARE_BYTES", 1 << 60)
        assert "the disk is full" in couple.two.pull()["files"].error
    assert couple.two.tree() == {}
    couple.settle()
    assert couple.two.tree() == couple.one.tree()


def test_parts_that_nobody_continues_are_removed_after_a_week(tmp_path: pathlib.Path) -> None:
    thing = FolderThing(tmp_path, name="files")
    assert tidy(thing) == 0
    part = tmp_path / ".ft-replica" / "staging" / "part"
    part.write_bytes(b"x")
    assert tidy(thing, part.stat().st_mtime + 6 * 86_400) == 0 and part.exists()
    assert tidy(thing, part.stat().st_mtime + 8 * 86_400) == 1 and not part.exists()


def test_two_thousand_files_in_one_round(couple: Couple) -> None:
    for n in range(2_000):
        path = couple.one.folder / f"{n % 40}"
        path.mkdir(exist_ok=True)
        (path / f"{n}.dat").write_bytes(b"%d" % n * 50)
    couple.one.scan(active=True)
    couple.two.scan()
    progress = couple.two.pull()["files"]
    assert (progress.taken, progress.behind, progress.problems) == (2_040, 0, [])
    assert couple.one.tree() == couple.two.tree()
