"""Commands and questions of the peer, real, forged, replayed and garbled (design 5)."""

from __future__ import annotations

import json
import time

import pytest
from flask_wtf import CSRFProtect

from ftplugin import protocol
from ftplugin.core.terms import Designation, Role

from .conftest import KEY, MakeSite, Site

PEER = Designation.SERVER2
OTHER_KEY = "another-key-of-32-characters-ok!!"


def ask_header(nonce: str, key: str = KEY) -> dict[str, str]:
    return {protocol.ASK_HEADER: protocol.make_ask([key], PEER, nonce)}


def challenge(site: Site) -> str:
    nonce = protocol.new_nonce()
    answer = site.client.get("/ft/node/state", headers=ask_header(nonce))
    assert answer.status_code == 200
    return protocol.read_state([KEY], answer.headers[protocol.STATE_HEADER], nonce, Designation.SERVER1)[1]


def post(site: Site, raw: bytes):
    nonce = protocol.new_nonce()
    answer = site.client.post("/ft/node/command", data=raw, headers=ask_header(nonce))
    header = answer.headers.get(protocol.STATE_HEADER)
    state = protocol.read_state([KEY], header, nonce, Designation.SERVER1)[0] if header else None
    return answer, state


def command(site: Site, name: str, body: dict, *, key: str = KEY, over: str | None = None):
    return post(site, protocol.make_command([key], PEER, over or challenge(site), name, body))


def test_demote_is_remembered_ordered_and_answered_with_the_state(site: Site) -> None:
    site.role(Role.ACTIVE, epoch=6)
    answer, state = command(site, "demote", {"epoch": 9})
    assert answer.status_code == 200 and answer.json["taken"]
    assert state is not None and (state.epoch, state.seen_epoch, state.clear) == (6, 9, False)
    assert site.orders() == 1
    assert site.portal.runtime.read_role().seen_epoch == 9


def test_demote_under_a_lower_epoch_is_stale(site: Site) -> None:
    site.role(Role.ACTIVE, epoch=10)
    answer, state = command(site, "demote", {"epoch": 9})
    assert (answer.status_code, answer.json["cause"]) == (409, "stale")
    assert state is not None and state.role is Role.ACTIVE
    assert site.orders() == 0
    assert site.portal.runtime.refused() == {"stale": 1}


@pytest.mark.parametrize("epoch", [None, "9", 9.5, True, -1, 1, 8, 10**40])
def test_demote_with_an_epoch_the_peer_cannot_have(site: Site, epoch: object) -> None:
    site.role(Role.ACTIVE, epoch=6)
    answer, _ = command(site, "demote", {"epoch": epoch})
    assert (answer.status_code, answer.json["cause"]) == (400, "unreadable")
    assert site.orders() == 0 and site.portal.runtime.read_role().seen_epoch <= 6


def test_replayed_command_is_refused(site: Site) -> None:
    raw = protocol.make_command([KEY], PEER, challenge(site), "demote", {"epoch": 9})
    assert post(site, raw)[0].status_code == 200
    answer, _ = post(site, raw)
    assert (answer.status_code, answer.json["cause"]) == (403, "replayed")
    assert site.orders() == 1


def test_forged_command_does_not_use_up_the_challenge(site: Site) -> None:
    given = challenge(site)
    answer, _ = command(site, "demote", {"epoch": 9}, key=OTHER_KEY, over=given)
    assert (answer.status_code, answer.json["cause"]) == (403, "unsigned")
    assert site.orders() == 0
    assert command(site, "demote", {"epoch": 9}, over=given)[0].status_code == 200


def test_changed_body_is_refused(site: Site) -> None:
    message = json.loads(protocol.make_command([KEY], PEER, challenge(site), "demote", {"epoch": 9}))
    message["body"] = message["body"].replace("9", "99")
    answer, _ = post(site, json.dumps(message).encode())
    assert (answer.status_code, answer.json["cause"]) == (403, "unsigned")


@pytest.mark.parametrize(
    "raw", [b"", b"\x00\xff", b"[]", b"{}", b"[" * 5000, b"x" * 20_001, b'{"from": "server9"}', b"a" * 2_000_000]
)
def test_garbled_command_is_400_with_its_cause(site: Site, raw: bytes) -> None:
    answer, _ = post(site, raw)
    assert (answer.status_code, answer.json["cause"]) == (400, "unreadable")
    assert site.orders() == 0


def test_unknown_command_is_refused(site: Site) -> None:
    assert command(site, "promote", {"epoch": 9})[0].status_code == 400


def test_switch_is_handed_to_the_switch_worker(site: Site) -> None:
    body = {"target": "server1", "expected_active": "server2", "actor": "ann", "reason": "test", "switch_id": "1"}
    assert command(site, "switch", body)[0].status_code == 200
    assert site.orders() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"target": "server3"},
        {"target": None},
        {"expected_active": "x"},
        {"reason": "x" * 501},
        {"actor": 3},
        {"switch_id": ""},
    ],
)
def test_switch_order_in_a_wrong_form_is_refused(site: Site, change: dict) -> None:
    body = {"target": "server1", "expected_active": None, "actor": "ann", "reason": "r", "switch_id": "1"}
    assert command(site, "switch", body | change)[0].status_code == 400
    assert site.orders() == 0


@pytest.mark.parametrize("path", ["state", "settings"])
@pytest.mark.parametrize("headers", [{}, {protocol.ASK_HEADER: "junk"}, ask_header("n" * 12, OTHER_KEY)])
def test_question_without_a_good_signature_is_403(site: Site, path: str, headers: dict) -> None:
    answer = site.client.get(f"/ft/node/{path}", headers=headers)
    assert answer.status_code == 403
    assert protocol.STATE_HEADER not in answer.headers and b"server1_address" not in answer.data
    assert sum(site.portal.runtime.refused().values()) == 1


def test_settings_are_signed_over_the_question(site: Site) -> None:
    nonce = protocol.new_nonce()
    answer = site.client.get("/ft/node/settings", headers=ask_header(nonce))
    signature = answer.headers[protocol.BODY_HEADER]
    assert protocol.verify([KEY], signature, "settings", Designation.SERVER1, nonce, answer.text)
    assert not protocol.verify([KEY], signature, "settings", Designation.SERVER1, "another", answer.text)
    assert answer.json["revision"] == 1 and answer.json["values"]["server2_address"] == "127.0.0.12"
    assert KEY not in answer.text


def test_frozen_redis_gives_503_and_no_order(site: Site) -> None:
    raw = protocol.make_command([KEY], PEER, challenge(site), "demote", {"epoch": 9})
    site.redis.freeze()
    began_s = time.monotonic()
    answer, state = post(site, raw)
    assert time.monotonic() - began_s < 1
    assert answer.status_code == 503 and state is None
    site.redis.thaw()


def test_without_addresses_nothing_is_taken(make_site: MakeSite) -> None:
    site = make_site()
    assert post(site, b"{}")[0].status_code == 503
    assert site.client.get("/ft/node/state", headers=ask_header("n" * 12)).status_code == 503


def test_csrf_protection_of_the_portal_does_not_stop_the_peer(site: Site) -> None:
    CSRFProtect(site.app)  # set up after the plugin
    assert command(site, "demote", {"epoch": 9})[0].status_code == 200
