"""Answers to the other node's questions for content; run by whichever process of the portal is asked. Reads only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ftplugin.store.database import Database

from .files import FolderThing
from .ledger import BUCKETS, Ledger, root_of
from .rows import RowThing
from .wire import KEYS_MAX

ANSWER_CHARS_MAX = 2_000_000
AT_ONCE = 256  # buckets read at once
BLOCKS_MAX = 1 << 31  # of one file: where its last one begins is still a number for the operating system
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


def entries(things: Things, database: Database, body: Mapping[str, Any]) -> str:
    """The entries of some buckets, as JSON; ``left``: buckets for the next question. body: {thing, buckets}."""
    thing = _thing(things, body)
    buckets = body.get("buckets")
    if not isinstance(buckets, list) or not all(type(n) is int and 0 <= n < BUCKETS for n in buckets):
        raise Wrong(f"buckets: must be a list of numbers from 0 to {BUCKETS - 1}")
    found: dict[int, str] = {}
    ledger, size, at = Ledger(database, thing.name), 0, 0
    while at < len(buckets) and size < ANSWER_CHARS_MAX:
        some = ledger.entries_json(buckets[at : at + AT_ONCE])
        found |= some
        size += sum(map(len, some.values()))
        at += AT_ONCE
    listed = ",".join(f'"{bucket}":{text}' for bucket, text in found.items())
    return f'{{"entries":{{{listed}}},"left":{json.dumps(buckets[at:])}}}'


def rows(things: Things, database: Database, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """(head, lines): a line for each key asked for, in that order: its row, or nothing when it is not here as the asker knows it,
    or does not fit any more. body: {thing, wanted: {key: digest}}.
    """
    thing = _thing(things, body)
    if not isinstance(thing, RowThing):
        raise Wrong(f"thing: {thing.name} has no rows")
    wanted = _wanted(body)
    found = thing.texts(wanted, ANSWER_CHARS_MAX)
    lines = _fitting([found.get(key, "") for key in wanted])
    return {"lines": len(lines)}, ["\n".join(lines).encode()]


def _fitting(lines: list[str]) -> list[str]:
    """Those from the beginning that fit into one answer, at least one that is not empty."""
    size = 0
    if sum(map(len, lines)) > ANSWER_CHARS_MAX:
        for n, line in enumerate(lines):
            if size and size + len(line) > ANSWER_CHARS_MAX:
                return lines[:n]
            size += len(line)
    return lines


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
    numbers = all(type(n) is int and 0 <= n < BLOCKS_MAX for n in part[2])
    return isinstance(part[0], str) and isinstance(part[1], str) and numbers


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
