"""What a taken-over server, a stranger on the network or a swapped link may try: nothing outside is read or written."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from typing import Any

import pytest

from ftplugin import protocol
from ftplugin.core.terms import Designation
from ftplugin.replicate.files import BLOCK_BYTES, file_digest, folder_digest
from ftplugin.replicate.ledger import BUCKETS, bucket_of
from ftplugin.replicate.pull import Progress, Puller
from ftplugin.replicate.rows import digest_of
from ftplugin.replicate.safe_folder import Refused, SafeFolder, parts_of
from ftplugin.replicate.thing import ReplicationError
from ftplugin.replicate.wire import ONCE_HEADER, ContentPeer, make_once

from .conftest import KEY, Couple
from .test_rows import some, users

SERVER1, SERVER2 = Designation.SERVER1, Designation.SERVER2


class Hostile:
    """In place of the other server's portal: has its key, and says what it likes."""

    def __init__(self, couple: Couple, thing: str, entries: dict[str, list[Any]]) -> None:
        self.shape = couple.two.replicator.things[thing].shape()
        self.kind = couple.two.replicator.things[thing].kind
        self.thing, self.entries = thing, entries
        self.rows: dict[str, str] = {}
        self.unasked: tuple[str, ...] = ()
        self.files: dict[str, Any] = {}
        self.head: dict[str, Any] = {}
        self.data = b""

    def ask(self, what: str, **body: Any) -> dict[str, Any]:
        if what == "tree":
            facts = {"kind": self.kind, "shape": self.shape, "ready": True, "root": "x", "digests": ["x"] * BUCKETS}
            return {"things": {self.thing: facts}}
        if what == "entries":
            found: dict[str, dict[str, Any]] = {}
            for key, value in self.entries.items():
                if bucket_of(key) in body["buckets"]:
                    text = "{} {} {} {:.3f} {}".format(*value) if isinstance(value, list) else value
                    found.setdefault(str(bucket_of(key)), {})[key] = text
            return {"entries": found, "left": []}
        return {"files": self.files}

    def ask_bytes(self, what: str, **body: Any) -> tuple[dict[str, Any], memoryview]:
        if what == "rows":
            lines = [self.rows.get(key, "") for key in body["wanted"]] + list(self.unasked)
            return self.head or {"lines": len(lines)}, memoryview("\n".join(lines).encode())
        lengths = [[len(self.data)] * len(part[2]) for part in body["parts"]]
        return self.head or {"lengths": lengths}, memoryview(self.data * sum(len(part[2]) for part in body["parts"]))

    def to(self, couple: Couple) -> Progress:
        couple.two.scan()
        peer: Any = self
        return Puller(couple.two.replicator.things, couple.two.ft.database, peer, "server2").round()[self.thing]


def a_file(data: bytes, **changes: Any) -> tuple[str, dict[str, Any]]:
    """(digest, description) of an honest file."""
    blocks = [hashlib.sha256(data[at : at + BLOCK_BYTES]).digest() for at in range(0, len(data), BLOCK_BYTES)]
    told = {"size": len(data), "mode": 0o644, "mtime_ns": 1, "owner": "root", "group": "root"}
    return file_digest(0o644, len(data), blocks), {**told, "blocks": [b.hex() for b in blocks], **changes}


def everything(folder: pathlib.Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if ".ft-replica" not in str(path)}


LEAVING = (
    "../evil",
    "/etc/evil",
    "a/../../evil",
    "..",
    ".",
    "a//b",
    "",
    "a/./b",
    "../",
    "x\0y",
    ".ft-replica/staging/x",
)


@pytest.mark.parametrize("deleted", [False, True])
def test_a_name_that_leaves_the_folder_is_refused(couple: Couple, deleted: bool) -> None:
    digest, told = a_file(b"evil")
    (couple.two.folder.parent / "evil").write_bytes(b"precious")
    before = everything(couple.two.folder.parent.parent)
    for key in (*LEAVING, "a/" * 70, "n" * 300, "\ud800half"):
        try:
            hostile = Hostile(couple, "files", {key: ["" if deleted else digest, 5, 0, 1.0, "server1"]})
            hostile.files, hostile.data = {key: told}, b"evil"
            progress = hostile.to(couple)
        except UnicodeEncodeError:
            assert key == "\ud800half", "no such key can be sent"
            continue
        assert deleted or progress.error or progress.problems, key
        after = everything(couple.two.folder.parent.parent)
        assert {path for path in after - before if "instance" not in path} == set(), key
        assert (couple.two.folder.parent / "evil").read_bytes() == b"precious"


@pytest.mark.parametrize("where", ["a", "a/b"])
def test_a_symbolic_link_on_the_way_is_not_followed_and_is_said(couple: Couple, where: str) -> None:
    outside = couple.two.folder.parent / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"precious")
    link = couple.two.folder / where
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    digest, told = a_file(b"evil")
    hostile = Hostile(
        couple, "files", {f"{where}/x": [digest, 5, 0, 1.0, "server1"], where: [digest, 5, 0, 1.0, "server1"]}
    )
    hostile.files, hostile.data = {f"{where}/x": told, where: told}, b"evil"
    progress = hostile.to(couple)
    assert (outside / "x").read_bytes() == b"precious" and link.is_symlink()
    assert "symbolic link" in " ".join(progress.problems)
    assert "is a symbolic link and is not replicated" in couple.two.scan()["files"].problems[0]


def test_a_folder_swapped_for_a_link_between_look_and_reading_gives_nothing_away(couple: Couple) -> None:
    secret = couple.one.folder.parent / "secret"
    secret.mkdir()
    (secret / "x").write_bytes(b"secret")
    (couple.one.folder / "a").mkdir()
    (couple.one.folder / "a" / "x").write_bytes(b"public")
    couple.one.scan(active=True)
    couple.two.scan()
    os.rename(couple.one.folder / "a", couple.one.folder.parent / "gone")
    (couple.one.folder / "a").symlink_to(secret)
    couple.two.pull()
    assert all(data != b"secret" for data in couple.two.tree().values())
    peer = ContentPeer(couple.two.ft)
    parts = [["a/x", "", [0]], ["../secret/x", "", [0]], ["/etc/passwd", "", [0]]]
    head, data = peer.ask_bytes("blocks", thing="files", parts=parts)
    peer.close()
    assert head["lengths"] == [[-1], [-1], [-1]] and bytes(data) == b""


WRONG_FACTS: list[dict[str, Any]] = [
    {"size": 1 << 50},
    {"size": -1},
    {"mode": 0o4755},
    {"blocks": []},
    {"blocks": ["00"]},
]
WRONG_FACTS += [{"blocks": None}, {"mtime_ns": 2**80}, {"mtime_ns": -1}, {"owner": None, "size": 5}]


def test_a_description_that_does_not_fit_its_digest_is_refused(couple: Couple) -> None:
    for change in WRONG_FACTS:
        digest, told = a_file(b"evil", **change)
        hostile = Hostile(couple, "files", {"x": [digest, 5, 0, 1.0, "server1"]})
        hostile.files, hostile.data = {"x": told}, b"evil"
        progress = hostile.to(couple)
        assert progress.problems and progress.behind == 1 and couple.two.tree() == {}, change


def test_blocks_with_another_digest_never_become_a_file(couple: Couple) -> None:
    digest, told = a_file(b"evil")
    for data in (b"other", b"", b"evil" * (3 << 20)):
        hostile = Hostile(couple, "files", {"x": [digest, 5, 0, 1.0, "server1"]})
        hostile.files, hostile.data = {"x": told}, data
        assert hostile.to(couple).behind == 1 and couple.two.tree() == {}


def test_a_folder_cannot_stand_where_a_file_is_and_a_pipe_makes_nobody_wait(couple: Couple) -> None:
    (couple.two.folder / "x").write_bytes(b"mine")
    os.mkfifo(couple.two.folder / "pipe")
    digest, told = a_file(b"evil")
    entries = {"x/": [folder_digest(0o755), 5, 0, 1.0, "server1"], "pipe": [digest, 5, 0, 1.0, "server1"]}
    hostile = Hostile(couple, "files", entries)
    hostile.files = {"x/": {**told, "mode": 0o755, "size": 0, "blocks": []}, "pipe": told}
    hostile.data = b"evil"
    progress = hostile.to(couple)
    assert len(progress.problems) == 2 and (couple.two.folder / "x").read_bytes() == b"mine"


WRONG_ENTRIES: list[Any] = [
    "d",
    "d -1 0 0.000 server1",
    "d 1 0 x server1",
    "d 1 0 0.000 server3",
    "dd" * 33 + " 1 0 0.000 server1",
]
WRONG_ENTRIES += [
    "x 1 0 0.000 server1",
    "d 1 0 0.000 server1\n",
    "d  1 0 0.000 server1",
    "d 1e9 0 0.000 server1",
    "",
    5,
    None,
    {},
]


def test_entries_that_no_honest_server_sends_are_refused_and_said(couple: Couple) -> None:
    couple.two.edit(some)
    for entry in WRONG_ENTRIES:
        hostile = Hostile(couple, "users", {"[1]": entry})
        said = hostile.to(couple).error
        assert "is no entry" in said, entry
        assert len(users(couple.two)) == 3
    real, hostile.ask = hostile.ask, lambda what, **body: (  # type: ignore[method-assign]
        {"entries": {"3": {"[1]": "d 1 0 0.000 server1"}}, "left": []} if what == "entries" else real(what, **body)
    )
    assert bucket_of("[1]") != 3 and "not of what was asked" in hostile.to(couple).error
    hostile.ask = lambda what, **body: {**real(what, **body), "left": 5}  # type: ignore[method-assign]
    assert "is no entry" in hostile.to(couple).error, "a wrong list of what is left is none"


def test_rows_in_a_wrong_form_or_with_another_digest_write_nothing(couple: Couple) -> None:
    honest = '[1,"staff"]'
    cases: list[tuple[str, str, dict[str, Any]]] = [
        (row, digest_of(row), {})
        for row in ("[]", "[1]", "{}", "x", "[" * 3000, '["a","b","c","d","e","f","g","h","i"]', '[2,"of another key"]')
    ]
    cases += [(honest, "d" * 24, {}), (honest, digest_of(honest), {"lines": 2}), (honest, digest_of(honest), {"x": 1})]
    for row, digest, head in cases:
        hostile = Hostile(couple, "groups", {"[1]": [digest, 5, 0, 1.0, "server1"]})
        hostile.rows, hostile.head = {"[1]": row}, head
        assert hostile.to(couple).error, row
        with couple.two.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM groups").scalar() == 0, row
    hostile = Hostile(couple, "groups", {"[1]": [digest_of(honest), 5, 0, 1.0, "server1"]})
    hostile.rows, hostile.unasked = {"[1]": honest}, ('[2,"not asked for"]',)
    assert "cannot be read" in hostile.to(couple).error


def test_keys_in_a_wrong_form_are_said_and_touch_nothing(couple: Couple) -> None:
    couple.two.edit(some)
    for key in ("[1,2]", "x", "{}", '["1; DROP TABLE users"]', "[[1]]", '[{"b":"!"}]'):
        entries = {key: ["", 5, 0, 1.0, "server1"], "[1]": ["", 0, 0, 0.0, "server1"]}
        Hostile(couple, "users", entries).to(couple)
        assert len(users(couple.two)) == 3, key


def question(couple: Couple, what: str, body: bytes, *, key: str = KEY, once: str | None = None) -> tuple[int, Any]:
    """server2 asks server1."""
    client, nonce = couple.one.site.client, protocol.new_nonce()
    ask = {protocol.ASK_HEADER: protocol.make_ask([KEY], SERVER2, nonce)}
    if once is None:
        answer = client.get("/ft/node/state", headers=ask)
        _, challenge = protocol.read_state([KEY], answer.headers[protocol.STATE_HEADER], nonce, SERVER1)
        once = make_once([key], SERVER2, challenge, what, body)
    answer = client.post(f"/ft/node/content/{what}", data=body, headers={**ask, ONCE_HEADER: once})
    return answer.status_code, answer.json if answer.is_json else answer.data


def test_a_question_is_answered_once_and_only_as_it_was_signed(couple: Couple) -> None:
    couple.one.edit(some)
    couple.one.scan()
    body = json.dumps({"thing": "users", "wanted": {"[1]": "x"}}).encode()
    nonce = protocol.new_nonce()
    ask = {protocol.ASK_HEADER: protocol.make_ask([KEY], SERVER2, nonce)}
    answer = couple.one.site.client.get("/ft/node/state", headers=ask)
    challenge = protocol.read_state([KEY], answer.headers[protocol.STATE_HEADER], nonce, SERVER1)[1]
    once = make_once([KEY], SERVER2, challenge, "rows", body)
    assert question(couple, "entries", body, once=once)[0] == 403, "another path"
    assert question(couple, "rows", body + b" ", once=once)[0] == 403, "another body"
    assert question(couple, "rows", body, once=once)[0] == 200
    assert question(couple, "rows", body, once=once)[0] == 403, "replayed"
    assert question(couple, "rows", body, key="another-key-of-32-characters-ok!!")[0] == 403
    assert question(couple, "rows", body, once="")[0] == 403
    assert couple.one.site.client.post("/ft/node/content/rows", data=body).status_code == 403
    own = make_once([KEY], SERVER1, challenge, "rows", body)
    assert question(couple, "rows", body, once=own)[0] == 403, "sent back to the one who asked"


WRONG_QUESTIONS = (
    ("nothing", b"{}"),
    ("rows", b"["),
    ("rows", b"{}"),
    ("rows", b'{"thing": "other", "wanted": {}}'),
    ("rows", b'{"thing": "files", "wanted": {}}'),
    ("rows", b'{"thing": "users", "wanted": {"x": "d"}}'),
    ("rows", json.dumps({"thing": "users", "wanted": {str(n): "d" for n in range(10_001)}}).encode()),
    ("files", b'{"thing": "users", "wanted": {}}'),
    ("entries", b'{"thing": "users", "buckets": [256]}'),
    ("entries", b'{"thing": "users", "buckets": "all"}'),
    ("blocks", b'{"thing": "files", "parts": [["x", "d", [-1]]]}'),
    ("blocks", b'{"thing": "files", "parts": [["x", "d", [1e9]]]}'),
    ("tree", b"x" * 2_000_001),
)


def test_a_question_in_a_wrong_form_is_400_with_its_reason(couple: Couple) -> None:
    for what, body in WRONG_QUESTIONS:
        status, answer = question(couple, what, body)
        assert status == 400 and answer["error"], (what, body[:80], answer)


def test_an_answer_that_was_changed_on_the_way_is_refused(couple: Couple, monkeypatch: pytest.MonkeyPatch) -> None:
    couple.one.edit(some)
    couple.one.scan(active=True)
    couple.two.scan()
    from dataclasses import replace

    real = ContentPeer._send

    def changed(*given: Any) -> Any:
        answer, nonce = real(*given)
        return replace(answer, body=answer.body.replace(b"user 1", b"user X")), nonce

    monkeypatch.setattr(ContentPeer, "_send", changed)
    assert "is not the row that was asked for" in couple.two.pull()["users"].error
    assert users(couple.two) == []


def test_excluded_and_foreign_columns_are_never_sent(couple: Couple) -> None:
    couple.one.edit(some)
    couple.one.scan()
    status, answer = question(couple, "entries", b'{"thing": "users", "buckets": [%d]}' % bucket_of("[1]"))
    digest = answer["entries"][str(bucket_of("[1]"))]["[1]"].partition(" ")[0]
    status, answer = question(couple, "rows", json.dumps({"thing": "users", "wanted": {"[1]": digest}}).encode())
    assert status == 200 and answer.startswith(b'{"lines":1}\n') and b"user 1" in answer and b"never" not in answer


def test_paths_are_walked_by_name(tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    folder = SafeFolder(str(tmp_path / "in"))
    os.symlink(tmp_path, tmp_path / "in" / "up")
    with pytest.raises(Refused, match="symbolic link"):
        folder.open_file("up/in/x")
    with pytest.raises(Refused, match="symbolic link"), folder.parent("up/x", create=True):
        raise AssertionError("went through the link")
    assert parts_of("a/b/") == [b"a", b"b"]
    folder.close()


def test_another_kind_of_table_there_is_said_and_nothing_is_taken(couple: Couple) -> None:
    couple.one.edit(some)
    couple.one.scan(active=True)
    couple.two.scan()
    couple.one.replicator._registry._specs.pop("lines")
    thing: Any = couple.one.replicator.things["users"]
    thing.names = [*thing.names, "added_by_a_newer_version"]
    progress = couple.two.pull()
    assert "not registered on the other server" in progress["lines"].error
    assert "not the same on both servers" in progress["users"].error and "added_by" in progress["users"].error
    assert progress["groups"].taken == 1


def test_without_an_answer_the_reason_is_told(couple: Couple) -> None:
    couple.one.site.redis.freeze()
    couple.two.scan()
    with pytest.raises(ReplicationError, match="gave no challenge"):
        couple.two.pull()
    couple.one.site.redis.thaw()
