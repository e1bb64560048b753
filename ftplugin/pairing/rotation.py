"""A new key without a gap: both accept it before one signs with it; the old one goes when both sign with the new.

The other server makes the new key and hands it over sealed: under a value that two X25519 keys of this one question
share, and a key of the pair. So who has recorded the line and later gets the old key does not learn the new one. Each
step may be done twice; what broke off is ended by the next rotation. Between the steps every process has the time to
read its file again.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import protocol
from . import exchange
from .exchange import Keys, PairingError
from .files import only_one
from .keyring import KEYS_MAX, REREAD_S, fingerprint, new_key, read_keys, write_keys

TOLD_S = REREAD_S + 0.3  # so long after a change of the file every process that runs uses it
GIVEN = "FT_SECRET_KEYS is set in the configuration; move it into a file with 'ft keys to-file', then rotate"

Behind = Callable[[], Sequence[str]]
Tell = Callable[[str, Mapping[str, Any]], dict[str, Any]]
Say = Callable[[str], None]


def named(keys: Sequence[str]) -> list[str]:
    """The keys as they may be seen, the signing one first."""
    return [fingerprint(key) for key in keys]


# --- the server that asks ------------------------------------------------------------------------------------------


def rotate(
    path: pathlib.Path | None,
    tell: Tell,
    say: Say,
    pause: Callable[[float], None] = time.sleep,
    behind: Behind = tuple,
) -> str:
    """Make a new key, end with it alone on both servers; its fingerprint.

    tell: a command to the other server. say: told of each step. pause: waits so many seconds. behind: names programs of
    this server that do not read the file of keys; with one of them nothing is begun.
    Raises PairingError (what was begun is harmless and ended by the next try), SecretFileError, OSError.
    """
    path = _file(path)
    _check_all_read(behind)
    own = read_keys(path)
    private = exchange.new_private()
    public = exchange.encode(exchange.public_of(private))
    reply = tell("key_new", {"public": public, "with": fingerprint(own[0])})
    theirs = str(reply.get("public", ""))
    keys = Keys.of(own[0].encode(), private, exchange.decode(theirs), "rotate", public, theirs)
    made = str(keys.opened("answer", reply.get("sealed"))["key"])
    name = fingerprint(made)
    with only_one(path):
        ring = read_keys(path)
        signs = [key for key in ring if fingerprint(key) == reply.get("signs")]
        write_keys(path, _grown(ring, *signs, made))
    say(f"both servers accept key {name}")
    pause(TOLD_S)
    tell("key_sign", {"key": name})
    _change(path, lambda ring: _first(ring, name))
    say(f"both servers sign with key {name}")
    pause(TOLD_S)
    tell("key_drop", {"keep": name})
    _change(path, lambda ring: _only(ring, name))
    left = tell("keys", {}).get("keys")
    if left != [name]:
        raise PairingError(f"the other server now has the keys {left}: another rotation runs there; run this one again")
    say("the former key is no longer accepted")
    return name


def revoke(path: pathlib.Path | None, name: str, tell: Tell | None) -> None:
    """Never accept the key ``name`` again, on both servers; ``tell`` None: here alone. Raises as ``rotate``."""
    path = _file(path)
    _without(read_keys(path), name)  # refused before the other server is told
    if tell is not None:
        tell("key_revoke", {"key": name})
    _change(path, lambda ring: _without(ring, name))


# --- the server that is asked --------------------------------------------------------------------------------------


def asked(
    path: pathlib.Path | None, command: str, body: Mapping[str, Any], say: Say, behind: Behind = tuple
) -> dict[str, Any]:
    """Do one of ``node_pair.KEY_COMMANDS`` here; what is answered. Raises ProtocolError, SecretFileError, OSError."""
    if path is None:
        raise protocol.ProtocolError("stale", f"on the other server: {GIVEN}")
    try:
        if command == "keys":
            return {"keys": named(read_keys(path))}
        if command == "key_new":
            _check_all_read(behind)
            return _new(path, body, say)
        name = str(body.get("keep" if command == "key_drop" else "key", ""))
        change = {"key_sign": _first, "key_drop": _only, "key_revoke": _without}[command]
        _change(path, lambda ring: change(ring, name))
    except PairingError as error:
        raise protocol.ProtocolError("stale", str(error)) from None
    what = {"key_sign": "signs with", "key_drop": "accepts no key but", "key_revoke": "no longer accepts"}[command]
    say(f"asked by the other server, this one {what} key {name}")
    return {"keys": named(read_keys(path))}


def _new(path: pathlib.Path, body: Mapping[str, Any], say: Say) -> dict[str, Any]:
    with only_one(path):
        ring = read_keys(path)
        known = next((key for key in ring if fingerprint(key) == body.get("with")), None)
        if known is None:
            raise PairingError(f"key {str(body.get('with'))[:20]} is not known here")
        theirs, private, made = str(body.get("public", "")), exchange.new_private(), new_key()
        public = exchange.encode(exchange.public_of(private))
        keys = Keys.of(known.encode(), private, exchange.decode(theirs), "rotate", theirs, public)
        write_keys(path, _grown(ring, known, made))
    say(f"asked by the other server, this one accepts a new key, {fingerprint(made)}")
    return {"public": public, "sealed": keys.seal("answer", {"key": made}), "signs": fingerprint(ring[0])}


def _check_all_read(behind: Behind) -> None:
    """Before anything is changed: with the former key such a program would be shut out, and a failover follow."""
    if names := list(behind()):
        raise PairingError(
            f"{', '.join(names)}: has FT_SECRET_KEYS in its environment and does not read the file of keys; take it out, "
            "restart that program, then rotate"
        )


# --- rings ---------------------------------------------------------------------------------------------------------


def _file(path: pathlib.Path | None) -> pathlib.Path:
    if path is None:
        raise PairingError(GIVEN)
    if not read_keys(path):
        raise PairingError(f"{path}: is not there; run 'ft pair' first")
    return path


def _change(path: pathlib.Path, change: Callable[[tuple[str, ...]], Sequence[str]]) -> None:
    with only_one(path):
        ring = read_keys(path)
        new = tuple(change(ring))
        if new != ring:
            write_keys(path, new)


def _grown(ring: Sequence[str], *needed: str) -> list[str]:
    """With the keys of this rotation; those of another one that runs, or broke off, stay too as long as there is room."""
    return list(dict.fromkeys([ring[0], *needed, *ring]))[:KEYS_MAX]


def _first(ring: Sequence[str], name: str) -> list[str]:
    found = [key for key in ring if fingerprint(key) == name]
    if not found:
        raise PairingError(f"key {name[:20]} is not known here: another rotation has begun; run this one again")
    return [*found, *(key for key in ring if key not in found)]


def _only(ring: Sequence[str], name: str) -> list[str]:
    if fingerprint(ring[0]) != name:
        raise PairingError(f"key {name[:20]} does not sign here: another rotation has begun; run this one again")
    return [ring[0]]


def _without(ring: Sequence[str], name: str) -> list[str]:
    left = [key for key in ring if fingerprint(key) != name]
    if len(left) == len(ring):
        raise PairingError(f"key {name[:20]} is not known; 'ft keys show' lists the keys")
    if not left:
        raise PairingError(
            f"key {name} is the only one: run 'ft keys rotate' to replace it, or 'ft pair' if the other server is lost"
        )
    return left
