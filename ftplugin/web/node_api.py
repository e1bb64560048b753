"""The signed node API: state, commands and settings for the peer (spec 3, 5.5; design 5). No login, no CSRF token.

A question carries ``X-FT-Ask``; the answer's ``X-FT-State`` is signed over its nonce. A command is signed over a
challenge of this node that is good for one command. Whatever is wrong is refused with its cause, counted and logged;
then nothing switches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, current_app, request

from ftplugin import protocol
from ftplugin.core.lease import epoch_owner
from ftplugin.core.terms import Designation
from ftplugin.extension import SOURCE, Portal, portal
from ftplugin.standing import PAUSE, OrderError
from ftplugin.state import AGENT
from ftplugin.switching.telling import PAUSE_TOPIC, is_newer
from ftplugin.status.short import short_status

from . import node_pair, node_read, replicate_api
from .monitor import answer_snapshot, read_ask, sign_state

STATUS = {"unreadable": 400, "unsigned": 403, "replayed": 403, "stale": 409, "unconfigured": 503, "unavailable": 503}
TEXT_CHARS_MAX = 500
NOTICES = {
    "invite": "the peer has stopped and invites this server to take over",
    "release_hold": "the hold of automatic switches was released on the peer",
    "pause": "automatic switching is paused from the peer",
    "resume": "automatic switching is resumed from the peer",
    "acknowledge_freeze": "the freeze was acknowledged on the peer",
}


def make_blueprint() -> Blueprint:
    """The blueprint ``ft_node``, below ``<prefix>/node``."""
    blueprint = Blueprint("ft_node", __name__, url_prefix="/node")
    blueprint.add_url_rule("/state", "state", state, methods=["GET"])
    blueprint.add_url_rule("/settings", "settings", settings, methods=["GET"])
    blueprint.add_url_rule("/status", "status", status, methods=["GET"])
    blueprint.add_url_rule("/command", "command", command, methods=["POST"])
    node_read.add_to(blueprint)
    node_pair.add_to(blueprint)
    replicate_api.add_to(blueprint)
    # Runs before any before_request function, also that of a CSRFProtect that was set up after this extension.
    blueprint.url_value_preprocessor(lambda endpoint, values: _exempt_from_csrf(blueprint))
    return blueprint


def _exempt_from_csrf(blueprint: Blueprint) -> None:
    protect = current_app.extensions.get("csrf")
    if protect is not None:
        protect.exempt(blueprint)


def state() -> Response:
    """The signed node state."""
    ft = portal()
    asked = read_ask(ft, request.environ)
    return _not_asked(ft) if asked is None else _answer(ft, asked, {})


def settings() -> Response:
    """Revision and values of the settings; the body is signed in ``X-FT-Body-Sig``."""
    ft = portal()
    asked = read_ask(ft, request.environ)
    return _not_asked(ft) if asked is None else _answer(ft, asked, ft.settings.document())


def status() -> Response:
    """What this server tells the other one's page about itself, below 4 kB; the body is signed like the settings."""
    ft = portal()
    asked = read_ask(ft, request.environ)
    return _not_asked(ft) if asked is None else _answer(ft, asked, short_status(ft))


def command() -> Response:
    """One command: ``demote`` {epoch}; ``switch`` {target, expected_active, actor, reason, switch_id}; ``invite`` {epoch};
    ``release_hold``, ``acknowledge_freeze``, ``resume`` {actor}; ``pause`` {actor, reason, minutes};
    pause and resume also have a ``revision``; ``settings`` {a settings document}; ``conflicts`` {list};
    ``keys`` and those of a rotation (``ftplugin.pairing.rotation``)."""
    ft = portal()
    designation = ft.designation()
    if designation is None:
        return _refusal("unconfigured", "the addresses of the two servers are not set here")
    asked = read_ask(ft, request.environ) if protocol.ASK_HEADER in request.headers else None
    try:
        raw = request.stream.read(protocol.COMMAND_CHARS_MAX + 1)
        challenge, name, body = protocol.read_command(ft.config.secret_keys, designation, raw)
        if not ft.runtime.use_challenge(challenge):
            if ft.runtime.read_role() is None:
                return _answer(ft, None, _taken("the node's Redis did not answer"), STATUS["unavailable"])
            raise protocol.ProtocolError("replayed", "the challenge is unknown, used or too old: ask for the state")
        if name == "demote":
            answer = _demote(ft, designation, body)
        elif name == "switch":
            answer = _switch(ft, body)
        elif name in NOTICES:
            answer = _notice(ft, name, body)
        elif name in replicate_api.COMMANDS:
            answer = replicate_api.COMMANDS[name](ft, body)
        elif name in node_pair.KEY_COMMANDS:
            answer = node_pair.key_command(ft, name, body)
        else:
            raise protocol.ProtocolError("unreadable", f"unknown command {name[:50]!r}")
    except protocol.ProtocolError as error:
        ft.refuse(error.cause, f"{error} (from {request.remote_addr})")
        return _answer(ft, asked, _problem(error.cause, str(error)), STATUS[error.cause])
    return _answer(ft, asked, answer, 200 if answer["taken"] else STATUS["unavailable"])


def _demote(ft: Portal, designation: Designation, body: Mapping[str, Any]) -> dict[str, Any]:
    epoch = body.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 2 <= epoch < 2**53:
        raise protocol.ProtocolError("unreadable", f"demote needs an epoch, not {epoch!r:.50}")
    if epoch_owner(epoch) is designation:
        raise protocol.ProtocolError("unreadable", f"epoch {epoch} is of this server, not of the peer")
    record = ft.runtime.read_role()
    if record is not None and record.epoch > epoch:
        raise protocol.ProtocolError("stale", f"demote under {epoch}, this server is at {record.epoch}")
    if record is None or not ft.runtime.see_epoch(epoch):
        return _taken("the node's Redis did not answer")
    order = {
        "kind": "demote",
        "rule": "fence",
        "epoch": epoch,
        "switch_id": f"fence-{epoch}",
        "actor": "",
        "reason": f"fenced by {designation.other} under epoch {epoch}",
    }
    ft.report.line(SOURCE, f"{designation.other} asks this server to demote under epoch {epoch}")
    return _taken(ft.producer.switch(order))


def _switch(ft: Portal, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        target = Designation(str(body.get("target")))
        expected = body.get("expected_active") or None
        order = {
            "kind": "manual",
            "rule": "M1",
            "target": str(target),
            "expected_active": None if expected is None else str(Designation(expected)),
            **{key: _text(body, key) for key in ("actor", "reason", "switch_id")},
        }
    except ValueError as error:
        raise protocol.ProtocolError("unreadable", f"switch order: {error}") from None
    if not order["switch_id"]:
        raise protocol.ProtocolError("unreadable", "switch order: switch_id is missing")
    ft.report.line(SOURCE, f"the peer hands on a switchover to {target} asked by {order['actor'] or 'nobody named'}")
    return _taken(ft.producer.switch(order))


def _notice(ft: Portal, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What the peer tells: that it has stopped and this server may promote (I1, P1), or what its administrator did."""
    stamp = {"at_s": ft.clock.now_s(), "boot_id": ft.clock.boot_id}
    try:
        actor, reason = _text(body, "actor"), _text(body, "reason")
    except ValueError as error:
        raise protocol.ProtocolError("unreadable", f"{name}: {error}") from None
    if name == "release_hold":
        kept = ft.journal.set_manual_hold(False)
    elif name in ("pause", "resume"):
        return _pause_or_resume(ft, name, actor, reason, body)
    elif name == "acknowledge_freeze":
        kept = ft.runtime.publish("ack_freeze", {"actor": actor, **stamp})
    else:
        kept = ft.runtime.publish("invite", {"epoch": body.get("epoch"), **stamp})
    ft.report.line(SOURCE, f"{NOTICES[name]}{f' (by {actor})' if actor else ''}")
    return _taken("" if kept else "it could not be stored")


def _pause_or_resume(ft: Portal, name: str, actor: str, reason: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Taken unless a later one counts here (``ftplugin.switching.telling``); then the answer names its revision."""
    revision, minutes = body.get("revision", 0), body.get("minutes")
    if isinstance(revision, bool) or not isinstance(revision, int) or not 0 <= revision < 2**53:
        raise protocol.ProtocolError("unreadable", f"{name}: revision must be a whole number, not {revision!r:.50}")
    known = ft.journal.notices()
    if known is None:
        return _taken("the database cannot be read")
    here = known.get(PAUSE_TOPIC) or {}
    if revision and not is_newer(here, name, revision):
        return {**_taken(""), "revision": here["revision"]}
    try:
        kept = (
            ft.end(PAUSE)
            if name == "resume"
            else ft.pause(actor, reason, minutes if isinstance(minutes, int) else None)
        )
    except OrderError as error:
        raise protocol.ProtocolError("unreadable", f"{name}: {error}") from None
    heard = {"command": name, "actor": actor, "revision": revision, "told": True}
    if kept and revision:
        kept = ft.journal.set_notice(PAUSE_TOPIC, heard)
    ft.report.line(SOURCE, f"{NOTICES[name]}{f' (by {actor})' if actor else ''}")
    return _taken("" if kept else "it could not be stored")


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX:
        raise ValueError(f"{key} must be text of at most {TEXT_CHARS_MAX} characters")
    return value


def _taken(problem: str) -> dict[str, Any]:
    return {"taken": not problem, "error": problem}


def _problem(cause: str, message: str) -> dict[str, Any]:
    return {"taken": False, "cause": cause, "error": message}


def _not_asked(ft: Portal) -> Response:
    if ft.designation() is None:
        return _refusal("unconfigured", "the addresses of the two servers are not set here")
    if protocol.ASK_HEADER not in request.headers:
        ft.refuse("unsigned", f"{request.path} without {protocol.ASK_HEADER} (from {request.remote_addr})")
    return _refusal("unsigned", f"{protocol.ASK_HEADER} is missing or not signed with a key of this pair")


def _refusal(cause: str, message: str) -> Response:
    return _json(json.dumps(_problem(cause, message)), STATUS[cause])


def _json(text: str, status: int) -> Response:
    return Response(text, status=status, content_type="application/json")


def _answer(
    ft: Portal, asked: tuple[Designation, Designation, str] | None, body: Mapping[str, Any] | str, status: int = 200
) -> Response:
    """body: an object, or one that is JSON already."""
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"), default=str)
    response = _json(text, status)
    if asked is not None:
        designation, _, nonce = asked
        response.headers[protocol.BODY_HEADER] = protocol.sign_body(ft.config.secret_keys, designation, nonce, text)
        sign_state(ft, response, designation, nonce, answer_snapshot(ft, (AGENT,)))
    return response
