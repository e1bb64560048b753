"""What the peer's portal may read of this node, for a person who looks at its page: history and log (design 5).

Signed questions only; the body of an answer is signed over the question's nonce and repeats what was asked. A wrong
value is answered 400 with the field's name, the value and the way out, signed as well.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, request
from sqlalchemy.exc import SQLAlchemyError

from ftplugin import protocol
from ftplugin.extension import Portal, portal
from ftplugin.history.records import MOMENT_S_MAX
from ftplugin.history.source import around, own_document
from ftplugin.peer_client import ASKED
from ftplugin.logs.reader import CHUNK_BYTES_MAX, LINES_MAX, SEARCH_CHARS_MAX, ReportReader
from ftplugin.state import AGENT
from ftplugin.store.database import DatabaseUnreachable

from .monitor import answer_snapshot, read_ask, sign_state

GZIP_BYTES_MIN = 1_000
VALUE_CHARS_MAX = 300
WINDOW_S_MAX = 7_200.0
_NO_LOG = {
    "name": "",
    "lines": [],
    "earlier": False,
    "total": 0,
    "matching": 0,
    "sources": [],
    "size_bytes": 0,
    "days": [],
}

Read = Callable[[Portal, Mapping[str, str]], dict[str, Any]]


class Wrong(ValueError):
    """A value of the question cannot be used; the message names field, value and way out."""


class Absent(LookupError):
    """What was asked for is not on this server."""


def add_to(blueprint: Blueprint) -> None:
    """Put the questions into the blueprint ``ft_node``."""
    blueprint.add_url_rule("/history", "history", history, methods=["GET"])
    blueprint.add_url_rule("/log", "log", log, methods=["GET"])


def history() -> Response:
    """This node's part of the history: ``since`` and ``until`` (seconds since 1970), or ``id`` of a switch."""
    return _answered(_history)


def log() -> Response:
    """FT_REPORT. ``what``: days; page (day, search, source, before, count); window (since, until); raw (day, offset)."""
    return _answered(_log)


def _history(ft: Portal, asked: Mapping[str, str]) -> dict[str, Any]:
    if "id" in asked:
        span = around(ft, asked["id"])
        return {"about_s": None if span is None else (span[0] + span[1]) / 2}
    since_s, until_s = moment(asked, "since"), moment(asked, "until")
    return own_document(ft, since_s, until_s)


def _log(ft: Portal, asked: Mapping[str, str]) -> dict[str, Any]:
    reader, what = ReportReader(ft.report), asked.get("what", "days")
    if what == "days":
        return {"days": reader.days()}
    if what == "window":
        since_s, until_s = moment(asked, "since"), moment(asked, "until")
        if until_s - since_s > WINDOW_S_MAX:
            raise Wrong(f"until: at most {WINDOW_S_MAX:.0f} s after since (got {until_s - since_s:.0f})")
        lines, cut = reader.window(since_s, until_s)
        return {"lines": [[line.at_s, line.text] for line in lines], "cut": cut}
    if what == "raw":
        data, size = reader.chunk(asked.get("day", ""), number(asked, "offset", 0, 2**40), CHUNK_BYTES_MAX)
        return {"text": data.decode("utf-8", "surrogateescape"), "size_bytes": size, "bytes": len(data)}
    if what != "page":
        raise Wrong(f"what: must be days, page, window or raw (got {what[:50]!r})")
    days = reader.days()
    if not asked.get("day") and not days:
        return dict(_NO_LOG)
    page = reader.page(
        asked.get("day") or days[0],
        search=searched(asked),
        source=asked.get("source", ""),
        before=number(asked, "before", 1, 2**40) if asked.get("before") else None,
        lines_max=number(asked, "count", 1, LINES_MAX) if asked.get("count") else LINES_MAX,
    )
    document = {name: getattr(page, name) for name in ("name", "earlier", "total", "matching")}
    return document | {"lines": page.lines, "sources": page.sources, "size_bytes": page.bytes_, "days": days}


def moment(values: Mapping[str, str], name: str) -> float:
    """Seconds since 1970. Raises Wrong."""
    text = values.get(name, "")
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= MOMENT_S_MAX:
        raise Wrong(f"{name}: must be seconds since 1970, as 1767225600 (got {text[:50]!r})")
    return found


def number(values: Mapping[str, str], name: str, least: int, most: int) -> int:
    """A whole number in decimal digits. Raises Wrong."""
    text = values.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 15 and least <= int(text) <= most):
        raise Wrong(f"{name}: must be a whole number from {least} to {most} (got {text[:50]!r})")
    return int(text)


def searched(values: Mapping[str, str]) -> str:
    """The text to search for. Raises Wrong."""
    text = values.get("search", "")
    if len(text) > SEARCH_CHARS_MAX:
        raise Wrong(f"search: at most {SEARCH_CHARS_MAX} characters (got {len(text)}, {text[:30]!r}…); shorten it")
    return text


def _answered(read: Read) -> Response:
    from .node_api import _not_asked

    ft = portal()
    known = read_ask(ft, request.environ)
    if known is None:
        return _not_asked(ft)
    asked = request.args.to_dict()
    status = 200
    try:
        if any(len(value) > VALUE_CHARS_MAX for value in asked.values()) or len(asked) > 10:
            raise Wrong(f"at most 10 values of at most {VALUE_CHARS_MAX} characters each")
        body = read(ft, asked) | {ASKED: asked}
    except ValueError as error:  # Wrong, and the names that a reader refuses
        status, body = 400, {"error": str(error)}
    except FileNotFoundError as error:
        status, body = 404, {"error": str(error)}
    except OSError as error:
        status, body = 503, {"error": f"the log cannot be read: {error.strerror}"}
    except (DatabaseUnreachable, SQLAlchemyError):
        status, body = 503, {"error": f"the database of {known[0]} cannot be read now; try again in a minute"}
    designation, _, nonce = known
    text = json.dumps(body, separators=(",", ":"), default=str)
    data = text.encode()
    response = Response(status=status, content_type="application/json")
    if "gzip" in request.headers.get("Accept-Encoding", "") and len(data) >= GZIP_BYTES_MIN:
        data = gzip.compress(data, 5)
        response.headers["Content-Encoding"] = "gzip"
    response.data = data
    response.headers["Cache-Control"] = "no-store"
    response.headers[protocol.BODY_HEADER] = protocol.sign_body(ft.config.secret_keys, designation, nonce, text)
    sign_state(ft, response, designation, nonce, answer_snapshot(ft, (AGENT,)))
    return response
