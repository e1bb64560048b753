"""Answers to the other node's questions for content; run by whichever process of the portal is asked. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ftplugin.store.database import Database

from .files import FolderThing
from .ledger import BUCKETS, Ledger, root_of
from .rows import RowThing
from .wire import KEYS_MAX

ANSWER_CHARS_MAX = 2_000_000
AT_ONCE = 256  # buckets read at once
Things = Mapping[str, RowThing | FolderThing]


class Wrong(ValueError):
    """The question cannot be answered; the message names what is wrong."""


def tree(things: Things, database: Database, body: Mapping[str, Any]) -> dict[str, Any]:
    """For each thing its shape and, unless its root is the asker's, the digests of its buckets. body: {roots}."""
    roots = body.get("roots")
    roots = roots if isinstance(roots, dict) else {}
    found: dict[str, Any] = {}
    for name, thing in things.items():
        ledger = Ledger(database, name)
        facts: dict[str, Any] = {"kind": thing.kind, "shape": thing.shape(), "ready": ledger.known()}
        digests = ledger.digests()
        facts["root"] = root_of(digests)
        if roots.get(name) != facts["root"]:
            facts["digests"] = digests
        found[name] = facts
    return {"things": found}


def entries(things: Things, database: Database, body: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of some buckets; ``left``: buckets for the next question. body: {thing, buckets}."""
    thing = _thing(things, body)
    buckets = body.get("buckets")
    if not isinstance(buckets, list) or not all(isinstance(n, int) and 0 <= n < BUCKETS for n in buckets):
        raise Wrong(f"buckets: must be a list of numbers from 0 to {BUCKETS - 1}")
    found: dict[int, Any] = {}
    ledger, size, at = Ledger(database, thing.name), 0, 0
    while at < len(buckets) and size < ANSWER_CHARS_MAX:
        for bucket, held in ledger.load(buckets[at : at + AT_ONCE]).items():
            found[bucket] = held.entries
            size += 160 * len(held.entries)
        at += AT_ONCE
    return {"entries": found, "left": buckets[at:]}


def rows(things: Things, database: Database, body: Mapping[str, Any]) -> dict[str, Any]:
    """The text of rows that are here as the asker knows them, as many as fit. body: {thing, wanted: {key: digest}}."""
    thing = _thing(things, body)
    if not isinstance(thing, RowThing):
        raise Wrong(f"thing: {thing.name} has no rows")
    found: dict[str, str] = {}
    size = 0
    for key, row_text in thing.texts(_wanted(body)).items():
        if found and size + len(row_text) > ANSWER_CHARS_MAX:
            break
        found[key] = row_text
        size += len(row_text)
    return {"rows": found}


def files(things: Things, database: Database, body: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of files besides their content. body: {thing, wanted: {path: digest}}."""
    return {"files": _folder(things, body).described(Ledger(database, str(body["thing"])), _wanted(body))}


def blocks(things: Things, database: Database, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """(head, blocks): the blocks asked for, one behind the other. body: {thing, parts: [[path, digest, [n, …]], …]}."""
    folder, parts = _folder(things, body), body.get("parts")
    if not isinstance(parts, list) or not all(_is_part(part) for part in parts):
        raise Wrong("parts: must be a list of [path, digest, [number, …]]")
    lengths, found = folder.blocks(Ledger(database, folder.name), parts)
    return {"lengths": lengths}, found


def _is_part(part: Any) -> bool:
    if not isinstance(part, list) or len(part) != 3 or not isinstance(part[2], list):
        return False
    return isinstance(part[0], str) and isinstance(part[1], str) and all(type(n) is int and n >= 0 for n in part[2])


def _thing(things: Things, body: Mapping[str, Any]) -> RowThing | FolderThing:
    name = body.get("thing")
    if not isinstance(name, str) or name not in things:
        raise Wrong(f"thing: {name!r:.100} is not registered here")
    return things[name]


def _folder(things: Things, body: Mapping[str, Any]) -> FolderThing:
    thing = _thing(things, body)
    if not isinstance(thing, FolderThing):
        raise Wrong(f"thing: {thing.name} is no folder")
    return thing


def _wanted(body: Mapping[str, Any]) -> dict[str, str]:
    wanted = body.get("wanted")
    if not isinstance(wanted, dict) or len(wanted) > KEYS_MAX or not all(isinstance(v, str) for v in wanted.values()):
        raise Wrong(f"wanted: must be at most {KEYS_MAX} keys, each with its digest")
    return wanted


QUESTIONS: dict[str, Callable[[Things, Database, Mapping[str, Any]], Any]] = {
    "tree": tree,
    "entries": entries,
    "rows": rows,
    "files": files,
    "blocks": blocks,
}
