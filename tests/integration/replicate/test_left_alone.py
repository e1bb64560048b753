"""What stands where a file was and is none: named and left alone. And whose a file is."""

from __future__ import annotations

import os

from .conftest import Couple

NOBODY = 65534


def test_a_file_and_a_folder_replaced_by_links_delete_nothing_on_the_other_server(couple: Couple) -> None:
    one, two = couple.one.folder, couple.two.folder
    (one / "prompts").mkdir()
    for path in (one / "menu.xml", one / "prompts" / "de.wav", one / "other.txt"):
        path.write_bytes(b"content")
    couple.settle(active=True)
    for name in ("menu.xml", "prompts"):  # moved to a larger disk
        os.rename(one / name, one.parent / name)
        (one / name).symlink_to(one.parent / name)
    scanned = couple.one.scan()["files"]
    assert [text.partition(" is ")[0] for text in scanned.problems] == ["menu.xml", "prompts"]
    couple.settle()
    assert two.joinpath("menu.xml").read_bytes() == b"content" and (two / "prompts" / "de.wav").exists()
    (two / "prompts" / "de.wav").write_bytes(b"edited there")
    couple.two.scan()
    assert "symbolic link" in " ".join(couple.one.pull()["files"].problems)
    assert (one.parent / "prompts" / "de.wav").read_bytes() == b"content", "no link is followed"
    (one / "menu.xml").unlink()
    couple.one.scan()
    couple.two.pull()
    assert not (two / "menu.xml").exists(), "gone is gone"
    if os.geteuid() == 0:  # who alone may give files away
        path = one / "other.txt"
        os.chown(path, NOBODY, 0)
        path.chmod(0o4750)
        couple.one.scan()
        couple.two.pull()
        found = (two / "other.txt").stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (NOBODY, 0, 0o750), "its owner, and no setuid"


def test_a_folder_of_a_few_files_that_is_not_mounted_deletes_none_of_them_on_the_other_server(couple: Couple) -> None:
    for name in ("welcome.wav", "closed.wav", "music.wav"):
        (couple.one.folder / name).write_bytes(b"sound")
    couple.settle(active=True)
    for path in couple.two.folder.glob("*.wav"):
        path.unlink()
    assert couple.two.scan()["files"].gone == 3
    couple.one.pull()
    assert len(couple.one.tree()) == 3
    couple.two.scan(gone="restore")
    couple.two.pull()
    assert couple.two.tree() == couple.one.tree()
    (couple.one.folder / "music.wav").unlink()
    assert couple.one.scan()["files"].gone == 0, "one of three is an edit"
