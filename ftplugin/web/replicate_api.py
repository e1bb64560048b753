"""Node API of the replication (spec 7): what the other server sends of settings and conflicts, and asks of content."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, request
from sqlalchemy.exc import SQLAlchemyError

from ftplugin import protocol
from ftplugin.extension import Portal, portal
from ftplugin.replicate.conflicts import ConflictStore, Lost
from ftplugin.replicate.serve import QUESTIONS, Wrong
from ftplugin.replicate.thing import ReplicationError
from ftplugin.replicate.wire import ONCE_HEADER, QUESTION_BYTES_MAX, read_once
from ftplugin.store.database import DatabaseUnreachable
from ftplugin.store.settings_store import read_document

from .monitor import read_ask

SOURCE = "replication"
LIST_MAX = 100


def add_to(blueprint: Blueprint) -> None:
    """Put the questions into the blueprint ``ft_node``."""
    blueprint.add_url_rule("/content/<what>", "content", content, methods=["POST"])


def content(what: str) -> Response:
    """One question for content (``ftplugin.replicate.serve``): signed over a challenge that is taken once, and over its body."""
    from .node_api import STATUS, _answer, _not_asked, _problem

    ft = portal()
    asked = read_ask(ft, request.environ)
    if asked is None:
        return _not_asked(ft)
    question = QUESTIONS.get(what)
    things = ft.replicator.things if ft.replicator is not None else {}
    try:
        raw = request.stream.read(QUESTION_BYTES_MAX + 1)
        if question is None or len(raw) > QUESTION_BYTES_MAX:
            raise protocol.ProtocolError(
                "unreadable", f"no question {what[:30]!r} of at most {QUESTION_BYTES_MAX} bytes"
            )
        challenge = read_once(ft.config.secret_keys, asked[0], request.headers.get(ONCE_HEADER, ""), what, raw)
        if not ft.runtime.use_challenge(challenge):
            raise protocol.ProtocolError("replayed", "the challenge is unknown, used or too old: ask for the state")
    except protocol.ProtocolError as error:
        ft.refuse(error.cause, f"{error} (from {request.remote_addr})")
        return _answer(ft, asked, _problem(error.cause, str(error)), STATUS[error.cause])
    try:
        body = json.loads(raw)
        found = question(things, ft.database, body if isinstance(body, dict) else {})
    except (Wrong, ValueError, RecursionError) as error:
        return _answer(ft, asked, _problem("unreadable", str(error)), STATUS["unreadable"])
    except (ReplicationError, DatabaseUnreachable, SQLAlchemyError, OSError) as error:
        return _answer(ft, asked, _problem("unavailable", str(error).splitlines()[0]), STATUS["unavailable"])
    if isinstance(found, (dict, str)):
        return _answer(ft, asked, found)
    head, blocks = found
    response = _answer(ft, asked, head)
    parts = [response.get_data() + b"\n", *blocks]
    response.response = parts
    response.content_length = sum(map(len, parts))
    response.content_type = "application/octet-stream"
    return response


def take_settings(ft: Portal, body: Mapping[str, Any]) -> dict[str, Any]:
    """Settings just saved on the other server. ``newer``: those here are, and it should ask for them."""
    try:
        revision, saved_s, _ = read_document(body)
    except ValueError as error:
        raise protocol.ProtocolError("unreadable", f"settings cannot be read: {str(error)[:300]}") from None
    if ft.settings.adopt(body):
        ft.report.line(
            "settings", f"revision {revision} of {body.get('actor') or 'nobody named'} taken from the other server"
        )
    own = ft.settings.document()
    kept = (own["revision"], own["saved_at"]) >= (revision, saved_s)
    newer = (own["revision"], own["saved_at"]) > (revision, saved_s)
    return {"taken": kept, "error": "" if kept else "the database did not take it", "newer": newer}


def take_conflicts(ft: Portal, body: Mapping[str, Any]) -> dict[str, Any]:
    """Conflicts and acknowledgements that the other server tells."""
    listed = body.get("list")
    if not isinstance(listed, list) or len(listed) > LIST_MAX:
        raise protocol.ProtocolError("unreadable", f"conflicts need a list of at most {LIST_MAX}")
    try:
        told = [Lost.from_json(value) for value in listed]
    except (KeyError, TypeError, ValueError) as error:
        raise protocol.ProtocolError("unreadable", f"conflicts: {error}") from None
    try:
        fresh = ConflictStore(ft.database).heard(told)
    except (DatabaseUnreachable, SQLAlchemyError):
        return {"taken": False, "error": "the database did not take it"}
    for lost in fresh[:5]:
        text = f"edited on both servers apart: {lost.subject} {lost.item[:100]}".rstrip()
        ft.report.line(SOURCE, f"{text}; what lost is kept on {lost.kept_on}, see the page Replication")
    if len(fresh) > 5:
        ft.report.line(SOURCE, f"and {len(fresh) - 5} more, see the page Replication")
    return {"taken": True, "error": ""}


COMMANDS: dict[str, Callable[[Portal, Mapping[str, Any]], dict[str, Any]]] = {
    "settings": take_settings,
    "conflicts": take_conflicts,
}
