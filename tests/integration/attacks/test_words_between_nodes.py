"""Forged, replayed, cross-node, downgraded, truncated and oversized words: each kind of word, at real portals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ftplugin import protocol
from ftplugin.core.terms import Designation, Role
from ftplugin.http_client import HttpClient
from ftplugin.peer_client import PeerClient
from ftplugin.replicate.wire import ONCE_HEADER, QUESTION_BYTES_MAX, make_once

from ..web.conftest import KEY, OWN, MakeSite, Site
from ..web.pair import Pair, two_portals
from ..web.pairing_site import listening

SERVER1, SERVER2 = Designation.SERVER1, Designation.SERVER2
STRANGE = "another-key-of-32-characters-ok!!"
COMMANDS: dict[str, dict[str, Any]] = {
    "demote": {"epoch": 9},
    "switch": {"target": "server1", "expected_active": None, "actor": "ann", "reason": "r", "switch_id": "1"},
    "invite": {"epoch": 9},
    "release_hold": {"actor": "ann"},
    "acknowledge_freeze": {"actor": "ann"},
    "pause": {"actor": "ann", "reason": "r", "minutes": 5},
    "resume": {"actor": "ann"},
    "settings": {
        "revision": 9,
        "saved_at": 1e9,
        "values": {"server1_address": OWN, "server2_address": "127.0.0.1", "threshold": 9},
    },
    "conflicts": {"list": []},
    "keys": {},
    "key_new": {"public": "x", "with": "x"},
    "key_sign": {"key": "x"},
    "key_drop": {"keep": "x"},
    "key_revoke": {"key": "x"},
}


@dataclass
class Line:
    """What somebody on the line between the servers can do: listen, and send what he likes to either of them."""

    pair: Pair

    def post(self, to: Site, raw: bytes, path: str = "/ft/node/command", **headers: str) -> Any:
        return to.client.post(path, data=raw, headers=headers)

    def challenge(self, of: Site) -> str:
        given = of.portal.runtime.snapshot(challenge=True).challenge
        assert given
        return given

    def recorded(self, name: str, to: Site, *, keys: tuple[str, ...] = (KEY,)) -> bytes:
        """A command that its sender has just signed for ``to``, caught before it arrived."""
        sender = SERVER2 if to is self.pair.own else SERVER1
        return protocol.make_command(keys, sender, self.challenge(to), name, COMMANDS[name])

    def untouched(self) -> list[Any]:
        """What an attack must not change, of both servers."""
        found = []
        for one in (self.pair.own, self.pair.peer):
            record = one.portal.runtime.read_role()
            found += [one.orders(), one.portal.settings.current()[0], one.portal.journal.standing()]
            found += [record and (record.role, record.epoch, record.seen_epoch), one.portal.journal.manual_hold()]
            found += [one.portal.runtime.fetch(name) for name in ("invite", "ack_freeze")]
        return found


@pytest.fixture
def line(make_site: MakeSite, tmp_path: Any) -> Iterator[Line]:
    with two_portals(make_site, tmp_path) as pair:
        for one in (pair.own, pair.peer):
            one.role(Role.STANDBY, epoch=4)
        yield Line(pair)


def refused(answer: Any, *causes: str) -> bool:
    assert answer.status_code in (400, 403), answer.text
    assert answer.json["cause"] in causes, answer.text
    assert answer.json["taken"] is False
    return True


def changed(raw: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(raw), **fields}).encode()


def test_every_command_that_is_forged_is_refused(line: Line) -> None:
    before = line.untouched()
    for name in COMMANDS:
        good = line.recorded(name, line.pair.own)
        assert refused(line.post(line.pair.own, line.recorded(name, line.pair.own, keys=(STRANGE,))), "unsigned"), name
        for field, value in (("body", '{"epoch":99}'), ("name", "resume" if name != "resume" else "pause")):
            assert refused(line.post(line.pair.own, changed(good, **{field: value})), "unsigned"), (name, field)
        signature = json.loads(good)["signature"]
        for short in ("", signature[:1], signature[:-1], signature + "A", signature + "=="):
            assert refused(line.post(line.pair.own, changed(good, signature=short)), "unsigned"), (name, short)
    assert line.untouched() == before


def test_every_command_is_taken_once_and_never_again(line: Line) -> None:
    for name in COMMANDS:
        raw = line.recorded(name, line.pair.own)
        assert line.post(line.pair.own, raw).status_code in (200, 409), name
        before = line.untouched()
        for _ in range(2):
            assert refused(line.post(line.pair.own, raw), "replayed"), name
        assert line.untouched() == before, name


def test_a_command_for_one_server_is_void_at_the_other_and_at_the_one_who_sent_it(line: Line) -> None:
    before = line.untouched()
    for name in COMMANDS:
        for to, other in ((line.pair.own, line.pair.peer), (line.pair.peer, line.pair.own)):
            raw = line.recorded(name, to)
            assert refused(line.post(other, raw), "unsigned"), name
            fresh = changed(raw, challenge=line.challenge(other))
            assert refused(line.post(other, fresh), "unsigned"), f"{name} over a challenge of the other server"
            renamed = changed(fresh, **{"from": str(SERVER2 if other is line.pair.own else SERVER1)})
            assert refused(line.post(other, renamed), "unsigned"), f"{name} under the name of the other server"
    assert line.untouched() == before


def test_a_command_for_one_instance_is_void_at_another_one_even_with_copied_keys(
    line: Line, make_site: MakeSite, tmp_path: Any
) -> None:
    second = make_site(FT_PREFIX="shop", FT_INSTANCE_DIR=str(tmp_path / "shop"))
    second.configure()
    second.role(Role.STANDBY, epoch=4)
    for name in COMMANDS:
        assert refused(line.post(second, line.recorded(name, line.pair.own)), "replayed"), name
    body = b'{"roots": {}}'
    once = make_once([KEY], SERVER2, line.challenge(line.pair.own), "tree", body)
    asked = {protocol.ASK_HEADER: protocol.make_ask([KEY], SERVER2, "n" * 12), ONCE_HEADER: once}
    assert refused(line.post(second, body, "/ft/node/content/tree", **asked), "replayed")
    assert second.orders() == 0 and second.portal.settings.current()[0] == 1


def test_no_word_without_a_signature_is_taken_once_there_are_keys(line: Line) -> None:
    before = line.untouched()
    for name in COMMANDS:
        message = json.loads(line.recorded(name, line.pair.own))
        bare = {key: value for key, value in message.items() if key != "signature"}
        assert refused(line.post(line.pair.own, json.dumps(bare).encode()), "unreadable"), name
        for nothing in (None, 0, False, [], {}, ["x"]):
            assert refused(
                line.post(line.pair.own, changed(json.dumps(message).encode(), signature=nothing)), "unreadable"
            )
        older = {"command": name, **COMMANDS[name]}  # as a plain API would take it
        assert refused(line.post(line.pair.own, json.dumps(older).encode()), "unreadable"), name
    assert line.untouched() == before


HEADERS = (
    "",
    "2",
    "2.",
    "2..",
    "2.nnnnnnnnnnnn",
    "2.nnnnnnnnnnnn.",
    "2.nnnnnnnnnnnn.none",
    "2.n.x",
    "none",
    "0.nnnnnnnnnnnn.x",
)


def test_no_question_without_a_good_signature_is_answered(site: Site) -> None:
    signed = protocol.make_ask([KEY], SERVER2, "n" * 12)
    forms = [*HEADERS, protocol.make_ask([STRANGE], SERVER2, "n" * 12), signed[:-1], signed.replace("2.", "1.", 1)]
    forms += [signed + "x" * 600, signed + "\u00e9", signed.upper(), " " + signed]
    for path in ("state", "settings", "status", "history?since=1&until=2", "log", "content/tree"):
        for header in forms:
            method = "POST" if path.startswith("content") else "GET"
            answer = site.client.open(f"/ft/node/{path}", method=method, headers={protocol.ASK_HEADER: header})
            assert answer.status_code == 403, (path, header[:60])
            assert set(answer.json) == {"taken", "cause", "error"}, "nothing of this server is told"
            assert protocol.STATE_HEADER not in answer.headers and protocol.BODY_HEADER not in answer.headers


def test_a_command_cut_anywhere_is_refused_and_the_whole_one_still_good(line: Line) -> None:
    raw = line.recorded("pause", line.pair.own)
    before = line.untouched()
    for end in range(len(raw)):
        assert refused(line.post(line.pair.own, raw[:end]), "unreadable"), end
    assert line.untouched() == before
    assert line.post(line.pair.own, raw).status_code == 200


def test_oversized_words_are_refused_before_they_are_understood(line: Line) -> None:
    own, before = line.pair.own, line.untouched()
    signed = line.recorded("pause", own)
    for raw in (signed + b" " * protocol.COMMAND_CHARS_MAX, b" " * 5_000_000, b"[" * 5_000_000, b"9" * 5_000_000):
        assert refused(line.post(own, raw), "unreadable")
    body = b'{"roots": {}}' + b" " * QUESTION_BYTES_MAX
    once = make_once([KEY], SERVER2, line.challenge(own), "tree", body)
    asked = {protocol.ASK_HEADER: protocol.make_ask([KEY], SERVER2, "n" * 12)}
    answer = line.post(own, body, "/ft/node/content/tree", **asked, **{ONCE_HEADER: once})
    assert refused(answer, "unreadable") and len(answer.data) < 500
    assert line.post(own, b"{}", "/ft/node/content/tree", **asked, **{ONCE_HEADER: "x" * 60_000}).status_code == 403
    for values in ({"search": "x" * 60_000}, {str(n): "x" for n in range(50)}, {"what": "raw", "day": "x" * 9_000}):
        found = own.client.get("/ft/node/log", query_string=values, headers=asked)
        assert found.status_code == 400 and len(found.data) < 1_500
    assert line.untouched() == before
    assert line.post(own, signed).status_code == 200, "nothing of that has used up the challenge"


def test_who_only_reflects_a_servers_own_words_is_not_taken_for_the_other_one(line: Line, served: str) -> None:
    """server1 asks at an address where somebody hands its question to server1 itself."""
    line.pair.address(served)
    answer = PeerClient(line.pair.own.portal).get("history", since="1", until="2")
    assert not answer.document and answer.state is None and "not signed by server2" in answer.problem


@pytest.fixture
def served(line: Line) -> Iterator[str]:
    """server1 itself, over HTTP."""
    with listening(line.pair.own.app) as address:
        yield f"http://{address}"


def falsified(header: str, value: str, body: str, change: str) -> str | None:
    """The header as somebody on the line may change it; None: taken away."""
    if change == "gone":
        return None
    if change == "cut":
        return value[:-1]
    key, nonce = (STRANGE, "n" * 12) if change == "of another key" else (KEY, "m" * 12)
    if header == protocol.BODY_HEADER:
        return protocol.sign_body([key], SERVER2, nonce, body)
    state = value.rpartition("~")[0]
    return f"{state}~{protocol.sign([key], 'state', SERVER2, nonce, state)}"


def test_a_page_believes_no_answer_whose_signature_was_taken_away_or_changed(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, wanted = HttpClient.ask, [protocol.BODY_HEADER, ""]

    def between(*given: Any, **named: Any) -> Any:
        answer = real(*given, **named)
        kept = dict(answer.headers)
        if wanted[1]:
            found = falsified(wanted[0], kept.pop(wanted[0].lower()), answer.body.decode(), wanted[1])
            kept |= {} if found is None else {wanted[0].lower(): found}
        return replace(answer, headers=kept)

    monkeypatch.setattr(HttpClient, "ask", between)
    honest = PeerClient(line.pair.own.portal).get("history", since="1", until="2")
    assert honest.document and honest.state is not None
    for header in (protocol.STATE_HEADER, protocol.BODY_HEADER):
        for change in ("gone", "cut", "of another question", "of another key"):
            wanted[:] = [header, change]
            answer = PeerClient(line.pair.own.portal).get("history", since="1", until="2")
            assert answer.state is None, (header, change)
            if header == protocol.BODY_HEADER:
                assert not answer.document and "not signed by server2" in answer.problem, change
