"""The node API is what ``openapi.yaml`` says, whatever it is asked: tour of every answer, and fuzzing by schemathesis."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.core import NOT_SET

from ftplugin import protocol
from ftplugin.pairing import exchange
from ftplugin.pairing.session import FILE as PAIRING_FILE
from ftplugin.pairing.session import Sessions
from ftplugin.replicate.serve import QUESTIONS
from ftplugin.replicate.wire import ONCE_HEADER, make_once
from ftplugin.web.node_api import STATUS

from .conftest import KEY, MakeSite, Site
from .openapi_scene import (
    DESCRIPTION,
    FEW,
    JUNK,
    MANY,
    NAMES,
    PEER,
    VALUES,
    Scene,
    a_scene,
    cases,
    few,
    named,
    operations,
)
from .pairing_site import Two, two_servers

__all__ = ["a_scene", "two_servers"]  # fixtures

# --- the description and the code ----------------------------------------------------------------------------------


def test_every_address_and_method_is_described_and_none_that_is_not_there(scene: Scene) -> None:
    rules = [rule for rule in scene.site.app.url_map.iter_rules() if rule.endpoint.startswith("ft_node.")]
    there = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule.removeprefix("/ft/node")), method.lower())
        for rule in rules
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert set(operations()) == there
    assert {rule.endpoint.partition(".")[2] for rule in rules} == {
        DESCRIPTION["paths"][path][method]["operationId"] for path, method in operations()
    }


def test_names_of_commands_questions_headers_and_limits_are_those_of_the_code() -> None:
    schemas, schemes = (DESCRIPTION["components"][name] for name in ("schemas", "securitySchemes"))
    assert set(schemas["Command"]["properties"]["name"]["enum"]) == NAMES
    asked = DESCRIPTION["paths"]["/content/{what}"]["post"]["parameters"][0]["schema"]["enum"]
    assert set(asked) == set(QUESTIONS)
    assert (schemes["ask"]["name"], schemes["once"]["name"]) == (protocol.ASK_HEADER, ONCE_HEADER)
    headers = DESCRIPTION["paths"]["/settings"]["get"]["responses"]["200"]["headers"]
    assert set(headers) == {protocol.STATE_HEADER, protocol.BODY_HEADER}
    assert str(protocol.COMMAND_CHARS_MAX) in DESCRIPTION["paths"]["/command"]["post"]["description"]
    assert set(schemas["Problem"]["properties"]["cause"]["enum"]) == set(STATUS)


class Tour:
    """Answers of several portals, each judged by the description; ``seen``: (path, method, status)."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.seen: set[tuple[str, str, str]] = set()

    def open(self, site: Site, path: str, method: str = "get", **given: Any) -> Any:
        where = re.sub("^/content/.*", "/content/{what}", path.partition("?")[0])
        answer = site.client.open(f"/ft/node{path}", method=method.upper(), **given)
        self.api[where][method.upper()].validate_response(answer)
        self.seen.add((where, method, str(answer.status_code)))
        return answer


def content(scene: Scene, what: str, **body: Any) -> dict[str, Any]:
    raw = json.dumps(body).encode()
    return {
        "data": raw,
        "headers": {**scene.ask(), ONCE_HEADER: make_once([KEY], PEER, scene.challenge(), what, raw)},
    }


def test_every_status_that_is_described_is_met_and_no_other(scene: Scene, two: Two, make_site: MakeSite) -> None:
    tour, asked = Tour(scene.api), {"headers": scene.ask()}
    scene.reset()
    nobody = make_site(FT_INSTANCE_DIR=str(scene.site.portal.config.instance_dir / "nobody"))
    day = scene.site.portal.report.days()[0]
    for path, method in operations():
        if path != "/pair":
            where = path.format(what="tree")
            for site, headers in ((scene.site, {}), (nobody, asked)):
                answer = tour.open(site, where, method, **headers)
                assert answer.status_code == (503 if site is nobody else 400 if path == "/command" else 403)
        if method == "get":
            tour.open(scene.site, path, **asked)
    for query in ("history?since=1&until=2", "history?id=x", f"log?what=raw&offset=0&day={day}", "log?what=page"):
        assert tour.open(scene.site, f"/{query}", **asked).status_code == 200
    for query, status in (
        ("history?since=x", 400),
        ("log?what=x", 400),
        ("log?what=page&day=FT_REPORT_000101.txt", 404),
    ):
        assert tour.open(scene.site, f"/{query}", **asked).status_code == status
    forged = protocol.make_command(["another-key-of-32-characters-ok!!"], PEER, scene.challenge(), "keys", {})
    for raw, status in ((scene.signed("demote", '{"epoch":9}'), 200), (scene.signed("demote", '{"epoch":3}'), 409)):
        assert tour.open(scene.site, "/command", "post", data=raw, **asked).status_code == status
    assert tour.open(scene.site, "/command", "post", data=forged).status_code == 403
    for what, status in (("tree", 200), ("entries", 400)):
        assert tour.open(scene.site, f"/content/{what}", "post", **content(scene, what)).status_code == status
    walk_pairing(tour, two, make_site)
    assert tour.seen == {
        (path, method, status)
        for path, method in operations()
        for status in DESCRIPTION["paths"][path][method]["responses"]
    }


def walk_pairing(tour: Tour, two: Two, make_site: MakeSite) -> None:
    def say(**message: Any) -> int:
        return int(tour.open(two.first, "/pair", "post", json={"v": 1, **message}).status_code)

    assert say(step="hello") == 404
    code = two.code()
    assert say(step="hello") == 200 and say(v=9) == 400
    session = two.say("hello")[1]["session"]
    wrong = {"session": session, "public": exchange.encode(exchange.public_of(exchange.new_private()))}
    assert say(step="join", **wrong, sealed="x", proof="x") == 403
    before = len(two.recorded)
    folder = str(two.first.portal.config.instance_dir / "misfit")
    assert two.join(code, make_site(FT_SECRET_KEYS=[], FT_OWN_ADDRESS="127.0.0.77:1", FT_INSTANCE_DIR=folder)).exit_code
    join = next(raw for raw in two.recorded[before:] if b'"join"' in raw)
    assert say(**json.loads(join)) == 409
    (two.first.portal.config.instance_dir / PAIRING_FILE).chmod(0o644)
    assert say(step="hello") == 503


# --- fuzzing -------------------------------------------------------------------------------------------------------


def send_signed(scene: Scene, case: Any) -> Any:
    """What schemathesis has thought out, as if the peer had."""
    scene.reset()
    headers, raw = scene.ask(), b""
    if case.method == "POST" and case.body is not NOT_SET:
        raw = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
    if case.path == "/command" and isinstance(case.body, dict):
        raw = scene.signed(case.body.get("name"), json.dumps(case.body.get("body")))
    if case.path.startswith("/content"):
        what = str(case.path_parameters.get("what", ""))
        headers[ONCE_HEADER] = make_once([KEY], PEER, scene.challenge(), what, raw)
    return scene.call(case, headers, **({"data": raw} if case.method == "POST" else {}))


def fuzz(scene: Scene, path: str, method: str, examples: int, send: Any) -> None:
    @few(examples)
    @given(case=cases(scene, path, method))
    def one(case: Any) -> None:
        send(scene, case)

    one()


def unsigned(scene: Scene, case: Any) -> None:
    assert scene.call(case, {}).status_code in (400, 403, 404), "nothing is answered to a stranger"


def test_what_a_stranger_may_send_is_refused_as_described(scene: Scene) -> None:
    before = scene.site.orders()
    for path, method in operations():
        fuzz(scene, path, method, FEW, unsigned)
    assert scene.site.orders() == before and scene.site.portal.settings.current()[0] == 1


def test_what_the_peer_may_send_is_answered_as_described(scene: Scene) -> None:
    for path, method in operations():
        fuzz(scene, path, method, 2 * FEW, send_signed)


@few(40)
@given(asked=named("command"))
def test_commands_with_any_value_in_any_field_are_no_error_of_the_server(scene: Scene, asked: tuple[str, Any]) -> None:
    hostile_command(scene, *asked)


def hostile_command(scene: Scene, name: str, body: Any) -> None:
    scene.reset()
    answer = scene.site.client.post("/ft/node/command", data=scene.signed(name, json.dumps(body)), headers=scene.ask())
    scene.judge("/command", answer, (name, body))


@few(40)
@given(asked=named("content"))
def test_questions_with_any_value_in_any_field_are_no_error_of_the_server(scene: Scene, asked: tuple[str, Any]) -> None:
    hostile_question(scene, *asked)


def hostile_question(scene: Scene, what: str, body: Any) -> None:
    scene.reset()
    raw = json.dumps(body).encode()
    headers = {**scene.ask(), ONCE_HEADER: make_once([KEY], PEER, scene.challenge(), what, raw)}
    answer = scene.site.client.post(f"/ft/node/content/{what}", data=raw, headers=headers)
    scene.judge("/content/{what}", answer, (what, body))


LOST = {
    "conflict_id": "c",
    "subject": "x",
    "item": "",
    "found_wall_s": 1.0,
    "kept_on": "server1",
    "lost": {},
    "won": {},
}
FOUND_ONCE: tuple[tuple[str, dict[str, Any], int], ...] = (  # by the fuzzers; each was an error of the server, or worse
    ("conflicts", {"list": [{**LOST, "found_wall_s": 10**400}]}, 400),
    ("conflicts", {"list": [{**LOST, "found_wall_s": float("inf")}]}, 400),
    ("conflicts", {"list": [{**LOST, "acknowledged_wall_s": 10**400}]}, 400),
    ("conflicts", {"list": [{**LOST, "conflict_id": "\0"}]}, 400),
    ("conflicts", {"list": [LOST, LOST]}, 200),
    ("settings", {"revision": 10**400, "saved_at": 1.0, "values": {}}, 400),
    ("settings", {"revision": 9, "saved_at": float("nan"), "values": {}}, 400),
    ("settings", {"revision": 9, "saved_at": 1.0, "values": {"threshold": 7}}, 400),  # without addresses no way back
    ("rows", {"thing": "users", "wanted": {f"[{10**20}]": "x"}}, 400),
    ("rows", {"thing": "users", "wanted": {"[[1]]": "x"}}, 400),
    ("entries", {"thing": "users", "buckets": [True, 2]}, 400),
    ("blocks", {"thing": "files", "parts": [["a", "x", [2**70]]]}, 400),
)


def test_what_the_fuzzers_have_found_stays_mended(scene: Scene) -> None:
    for name, body, status in FOUND_ONCE:
        scene.reset()
        if name in NAMES:
            given = {"data": scene.signed(name, json.dumps(body)), "headers": scene.ask()}
            answer = scene.site.client.post("/ft/node/command", **given)
        else:
            answer = scene.site.client.post(f"/ft/node/content/{name}", **content(scene, name, **body))
        assert answer.status_code == status, (name, body, answer.text)


def test_pairing_messages_of_any_kind_while_a_code_is_open_give_nothing_away(scene: Scene) -> None:
    fuzz_pairing(scene, 30)


def fuzz_pairing(scene: Scene, examples: int) -> None:
    folder = scene.site.portal.config.instance_dir
    Sessions(folder, scene.site.portal.clock).open()
    kept = (folder / PAIRING_FILE).read_bytes()
    session = json.loads(kept)["session"]
    public = exchange.encode(exchange.public_of(exchange.new_private()))
    odd = {name: st.just(public) | VALUES for name in ("public", "sealed", "proof")}

    @few(examples)
    @given(step=st.sampled_from(["hello", "join", "confirm"]) | JUNK, body=st.fixed_dictionaries({}, optional=odd))
    def one(step: Any, body: Any) -> None:
        (folder / PAIRING_FILE).write_bytes(kept)
        message = {"v": 1, "session": session, "step": step, **body}
        answer = scene.site.client.post("/ft/node/pair", data=json.dumps(message))
        scene.judge("/pair", answer, message)
        assert answer.status_code != 200 or step == "hello"

    try:
        one()
    finally:
        (folder / PAIRING_FILE).unlink()


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_same_for_as_long_as_an_attacker_has(scene: Scene) -> None:
    for path, method in operations():
        fuzz(scene, path, method, MANY, unsigned)
        fuzz(scene, path, method, MANY, send_signed)
    fuzz_pairing(scene, 5 * MANY)
    for hostile, kind in ((hostile_command, "command"), (hostile_question, "content")):
        fuzz_values(scene, hostile, kind)


def fuzz_values(scene: Scene, hostile: Any, kind: str) -> None:
    @few(10 * MANY)
    @given(asked=named(kind))
    def one(asked: tuple[str, Any]) -> None:
        hostile(scene, *asked)

    one()
