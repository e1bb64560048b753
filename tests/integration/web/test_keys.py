"""Key files, rotation without a gap, revocation; against a real peer over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from waitress import create_server

from ftplugin.config import ConfigError, NodeConfig
from ftplugin.pairing.command import tell
from ftplugin.pairing.exchange import PairingError, encode, new_private, public_of
from ftplugin.pairing.files import SecretFileError, only_one, write_secret
from ftplugin.pairing.keyring import REREAD_S, KeyRing, Watched, fingerprint, keys_in, new_key, read_keys, write_keys
from ftplugin.pairing.rotation import asked, rotate
from tests.parts import eventually

from .conftest import KEY, MakeSite, Site, free_port

OTHER = "another-key-of-32-characters-ok!!"
STEPS = ("key_new", "key_sign", "key_drop", "keys")


@dataclass
class Both:
    own: Site
    peer: Site

    def run(self, *words: str) -> Any:
        return self.own.app.test_cli_runner().invoke(args=["ft", "keys", *words])

    def files(self) -> tuple[pathlib.Path, pathlib.Path]:
        own, peer = (site.portal.config.secrets.keys_file for site in (self.own, self.peer))
        assert own and peer
        return own, peer

    def rings(self) -> tuple[list[str], list[str]]:
        own, peer = (list(map(fingerprint, read_keys(path))) for path in self.files())
        return own, peer


@pytest.fixture
def both(make_site: MakeSite, tmp_path: pathlib.Path) -> Iterator[Both]:
    port = free_port()
    own, peer = "127.0.0.11:1", f"127.0.0.1:{port}"
    sites = []
    for name, address in (("own", own), ("peer", peer)):
        write_keys(tmp_path / name / "secret.keys", [KEY])
        sites.append(make_site(FT_SECRET_KEYS=[], FT_OWN_ADDRESS=address, FT_INSTANCE_DIR=str(tmp_path / name)))
        sites[-1].configure(server1_address=own, server2_address=peer)
    server = create_server(sites[1].app, host="127.0.0.1", port=port, threads=4, ident=None)

    def serve() -> None:
        with contextlib.suppress(OSError):  # its socket is closed under it at the end
            server.run()

    threading.Thread(target=serve, daemon=True).start()
    yield Both(*sites)
    server.close()
    server.task_dispatcher.shutdown()


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_file_of_keys_that_others_may_read_is_refused_with_the_way_out(tmp_path: pathlib.Path, mode: int) -> None:
    path = tmp_path / "secret.keys"
    write_keys(path, [KEY])
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o} lets others read it; run: chmod 600 {path}"):
        NodeConfig.of({"FT_INSTANCE_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no key"),
        ("# only words\n", "holds no key"),
        ("short\n", "key 1 is shorter than 16"),
        ("k" * 20 + "\n" + "\u00fc" * 20, "ASCII"),
        ("\n".join(str(i) * 20 for i in range(5)), "holds 5 keys"),
        ("x" * 70_000, "larger than"),
    ],
)
def test_a_file_that_holds_no_keys_is_refused_and_its_text_never_shown(
    tmp_path: pathlib.Path, text: str, words: str
) -> None:
    path = tmp_path / "secret.keys"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as refused:
        NodeConfig.of({"FT_SECRET_KEYS_FILE": str(path)})
    assert words in str(refused.value) and "k" * 20 not in str(refused.value) and "short\n" not in str(refused.value)


def test_no_key_at_all_and_keys_in_two_places(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="run 'ft pair'"):
        NodeConfig.of({"FT_INSTANCE_DIR": str(tmp_path)})
    with pytest.raises(ConfigError, match="keep one of the two"):
        NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_SECRET_KEYS_FILE": str(tmp_path / "x")})
    path = tmp_path / "pw"
    write_secret(path, "word\n")
    config = NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_WITNESS_PASSWORD_FILE": str(path), "FT_WITNESS_USER": "voter"})
    assert config.witness_login() == {"username": "voter", "password": "word"}
    assert "word" not in repr(config) and KEY not in repr(config)
    with pytest.raises(ConfigError, match="FT_WITNESS_PASSWORD_FILE.*is not there"):
        NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_WITNESS_PASSWORD_FILE": str(tmp_path / "none")})


def test_a_process_keeps_its_keys_whatever_becomes_of_the_file(tmp_path: pathlib.Path, caplog: Any) -> None:
    path = tmp_path / "secret.keys"
    write_keys(path, [KEY])
    ring = KeyRing(path)
    path.chmod(0o644)
    wait(lambda: "chmod 600" in caplog.text and list(ring) == [KEY], ring)
    path.unlink()
    wait(lambda: "is not there any more" in caplog.text and list(ring) == [KEY], ring)
    write_keys(path, [OTHER])
    wait(lambda: list(ring) == [OTHER], ring)


def test_a_file_that_vanishes_while_it_is_read_takes_no_key_away(tmp_path: pathlib.Path, caplog: Any) -> None:
    """Somebody moves it away and back, all the time; each reading finds the keys, and none ends in an error."""
    path = tmp_path / "secret.keys"
    write_keys(path, [KEY])
    watched = Watched(path, lambda text: keys_in(text, path), ())
    move = "import os, sys\nwhile True: os.rename(sys.argv[1], sys.argv[2]); os.rename(sys.argv[2], sys.argv[1])"
    moving = subprocess.Popen([sys.executable, "-c", move, str(path), str(tmp_path / "away")])
    try:
        looks, end_s = 0, time.monotonic() + 30.0
        while looks < 10_000:  # once it was seen to be away
            watched._looked_s, watched._mark = 0.0, (0,)  # look now, and read
            assert watched.current() == (KEY,)
            looks += looks > 0 or "is not there any more" in caplog.text
            assert time.monotonic() < end_s
    finally:
        moving.kill()
        moving.wait(10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_that_root_replaces_stays_its_owners(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "secret.keys"  # in a folder of root, as /etc/ft is
    write_keys(path, [KEY])
    os.chown(path, 4711, 4712)
    write_keys(path, [OTHER])
    with only_one(path):
        lock = path.with_name(".secret.keys.lock").stat()
    facts = path.stat()
    assert (facts.st_uid, facts.st_gid, lock.st_uid) == (4711, 4712, 4711) and read_keys(path) == (OTHER,)


def test_an_emptied_password_file_leaves_a_running_process_its_password(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "peer-redis.password"
    write_secret(path, "word\n")
    config = NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_INSTANCE_DIR": str(tmp_path)})
    for text in ("", "two\nlines\n"):
        path.write_text(text)
        time.sleep(REREAD_S + 0.05)
        assert config.peer_login() == {"username": "peer", "password": "word"}
        with pytest.raises(ConfigError, match="must hold one password"):
            NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_INSTANCE_DIR": str(tmp_path)})


def wait(condition: Any, ring: KeyRing, limit_s: float = 10.0) -> None:
    eventually(lambda: len(ring) and condition(), limit_s)


def test_a_reader_never_sees_half_a_file(tmp_path: pathlib.Path) -> None:
    path, keys, ended = tmp_path / "secret.keys", [new_key() for _ in range(4)], threading.Event()
    write_keys(path, keys)

    def write() -> None:
        while not ended.is_set():
            write_keys(path, keys[: 1 + int(time.monotonic() * 1000) % 4])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(500):
            assert read_keys(path)[0] == keys[0]
    finally:
        ended.set()
        writer.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret.keys"], "nothing is left beside it"


def test_support_files_and_messages_hold_no_key(both: Both, tmp_path: pathlib.Path) -> None:
    assert both.run("rotate").exit_code == 0
    keys = [KEY, *read_keys(both.files()[0])]
    file = tmp_path / "logs.zip"
    zipped = both.own.app.test_cli_runner().invoke(args=["ft", "zip-logs", str(file)])
    assert zipped.exit_code == 0, zipped.output
    import zipfile

    with zipfile.ZipFile(file) as opened:
        everything = b"".join(opened.read(name) for name in opened.namelist())
    shown = both.run("show").output + both.own.log() + both.peer.log()
    for key in keys:
        assert key.encode() not in everything and key not in shown
    with both.own.portal.database.engine.connect() as connection:
        dump = "\n".join(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    assert not [key for key in keys if key in dump]


# --- rotation ------------------------------------------------------------------------------------------------------


def test_a_rotation_leaves_no_moment_without_a_common_key(both: Both) -> None:
    """Both ask each other all the time, by whatever key signs at that moment: not one answer is refused."""
    problems: list[str] = []
    answers, ended = [0], threading.Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                tell(both.own.portal, "keys", {}, 10.0)
                answers[0] += 1
            except PairingError as error:
                problems.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        rotated = both.run("rotate", "--json")
        time.sleep(REREAD_S + 0.1)  # whoever reads a file of keys has looked again
        before = answers[0]
        eventually(lambda: answers[0] > before + 2, 20, "the pair goes on talking under the new key")
    finally:
        ended.set()
        asking.join()
    assert rotated.exit_code == 0, rotated.output
    name = json.loads(rotated.stdout)["key"]
    assert problems == [] and before > 5, "and it talked all the while"
    assert both.rings() == ([name], [name]) and name != fingerprint(KEY)
    assert "the keys were rotated" in both.own.log() and "accepts a new key" in both.peer.log()


def test_the_former_key_is_worth_nothing_afterwards(both: Both, make_site: MakeSite, tmp_path: pathlib.Path) -> None:
    assert both.run("rotate").exit_code == 0
    former = make_site(FT_OWN_ADDRESS="127.0.0.11:1", FT_INSTANCE_DIR=str(tmp_path / "former"))
    former.configure(server1_address="127.0.0.11:1", server2_address=both.peer.portal.config.own_address)
    time.sleep(REREAD_S + 0.1)
    with pytest.raises(PairingError):
        tell(former.portal, "keys", {})


def test_every_process_has_the_time_to_read_its_file_between_the_steps(both: Both) -> None:
    happened: list[str] = []

    def told(name: str, body: Any) -> dict[str, Any]:
        happened.append(name)
        return tell(both.own.portal, name, body)

    def pause(seconds: float) -> None:
        happened.append("pause" if seconds > REREAD_S else f"only {seconds} s")
        time.sleep(seconds)

    rotate(both.files()[0], told, lambda text: None, pause)
    assert happened == ["key_new", "pause", "key_sign", "pause", "key_drop", "keys"]


def test_two_rotations_at_once_from_both_sides_leave_both_able_to_talk(both: Both) -> None:
    """The other server begins one between two steps of ours, and both break off there."""
    own, peer = both.files()

    def cut(name: str, body: Any) -> dict[str, Any]:
        if name == "key_sign":
            theirs = asked(own, "key_new", {"public": public, "with": fingerprint(KEY)}, lambda text: None)
            assert theirs["sealed"], "the other one's first step, here"
            tell(both.own.portal, name, body)
            raise PairingError("the line is cut")
        return tell(both.own.portal, name, body)

    public = encode(public_of(new_private()))
    with pytest.raises(PairingError, match="the line is cut"):
        rotate(own, cut, lambda text: None)
    rings = both.rings()
    assert rings[0][0] in rings[1] and rings[1][0] in rings[0], "each accepts what the other signs with"
    time.sleep(REREAD_S + 0.1)
    assert both.run("rotate").exit_code == 0
    rings = both.rings()
    assert rings[0] == rings[1] and len(rings[0]) == 1


@pytest.mark.parametrize(
    "broken_at", [pytest.param(name, marks=[] if name == "key_sign" else pytest.mark.full) for name in STEPS]
)
def test_a_rotation_that_breaks_off_anywhere_is_ended_by_the_next(both: Both, broken_at: str) -> None:
    def cut(name: str, body: Any) -> dict[str, Any]:
        answer = tell(both.own.portal, name, body)
        if name == broken_at:
            raise PairingError("the line is cut")
        return answer

    with pytest.raises(PairingError, match="the line is cut"):
        rotate(both.files()[0], cut, lambda text: None)
    time.sleep(REREAD_S + 0.1)
    own, peer = both.rings()
    assert set(own) & set(peer), "there is a common key"
    assert own[0] in peer and peer[0] in own, "each accepts what the other signs with"
    assert tell(both.own.portal, "keys", {})["keys"] == peer
    assert both.run("rotate").exit_code == 0
    own, peer = both.rings()
    assert own == peer and len(own) == 1


def test_a_rotation_without_the_peer_changes_nothing(both: Both) -> None:
    both.own.configure(server1_address="127.0.0.11:1", server2_address=f"127.0.0.1:{free_port()}")
    refused = both.run("rotate")
    assert refused.exit_code == 1 and "connection refused" in refused.output
    assert both.rings() == ([fingerprint(KEY)], [fingerprint(KEY)])


def test_revoke_and_show(both: Both) -> None:
    for path in both.files():
        write_keys(path, [KEY, OTHER])
    time.sleep(REREAD_S + 0.1)
    shown = both.run("show")
    assert shown.exit_code == 0 and shown.output.count(f"{fingerprint(KEY)}, {fingerprint(OTHER)}") == 2
    assert both.run("revoke", fingerprint(KEY)).exit_code == 0
    assert both.rings() == ([fingerprint(OTHER)], [fingerprint(OTHER)])
    only = both.run("revoke", fingerprint(OTHER))
    assert only.exit_code == 1 and "is the only one" in only.output
    assert "is not known" in both.run("revoke", "00000000").output


def test_revoke_alone_does_not_ask_the_other_server(both: Both) -> None:
    write_keys(both.files()[0], [OTHER, KEY])
    both.own.configure(server1_address="127.0.0.11:1", server2_address=f"127.0.0.1:{free_port()}")
    assert both.run("revoke", fingerprint(KEY)).exit_code == 1
    assert both.run("revoke", fingerprint(KEY), "--alone").exit_code == 0
    assert both.rings() == ([fingerprint(OTHER)], [fingerprint(KEY)])


def test_keys_of_the_configuration_go_into_a_file(make_site: MakeSite, caplog: Any) -> None:
    site = make_site()
    runner = site.app.test_cli_runner()
    refused = runner.invoke(args=["ft", "keys", "rotate"])
    assert refused.exit_code == 1 and "ft keys to-file" in refused.output
    assert runner.invoke(args=["ft", "keys", "to-file"]).exit_code == 0
    assert read_keys(site.portal.config.instance_dir / "secret.keys") == (KEY,)
    NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_INSTANCE_DIR": str(site.portal.config.instance_dir)})
    assert "is not used by this process" in caplog.text and KEY not in caplog.text


def test_a_forged_or_stale_key_command_changes_nothing(both: Both) -> None:
    _, path = both.files()
    for name, body in (
        ("key_new", {"public": "x", "with": fingerprint(KEY)}),
        ("key_new", {"public": "", "with": "00000000"}),
        ("key_sign", {"key": "00000000"}),
        ("key_drop", {"keep": "00000000"}),
        ("key_revoke", {"key": fingerprint(KEY)}),
        ("key_revoke", {}),
    ):
        with pytest.raises(PairingError, match="refused"):
            tell(both.own.portal, name, body)
    assert read_keys(path) == (KEY,)


def test_a_ring_cannot_be_emptied(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SecretFileError):
        write_keys(tmp_path / "secret.keys", [])
    assert not (tmp_path / "secret.keys").exists()
