"""The words two nodes exchange over HTTP, signed (spec 3, design 5). Pure functions; no I/O.

One heartbeat is one request and one answer:

    GET <prefix>/monitor?mod=IPSWS        X-FT-Ask: <asker>.<nonce>.<signature>
    200                                   X-FT-State: <fields>.<challenge>.<signature>

The answer's signature covers the asker's nonce, so an old answer proves nothing. The challenge is the answering node's
own nonce; a command sent to it is signed over that challenge, which it accepts once. No clock is trusted.
Every signature also covers its purpose and both nodes' designations: a word for one purpose or node is void for another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any, Mapping, Sequence
from urllib.parse import quote, unquote

from .core.terms import Designation, Phase, Role, SplitStance
from .core.view import NodeState

ASK_HEADER = "X-FT-Ask"
STATE_HEADER = "X-FT-State"
BODY_HEADER = "X-FT-Body-Sig"
SIGNATURE_BYTES = 16  # HMAC-SHA256 truncated to 128 bits, RFC 2104 section 5
KEY_BYTES_MIN = 16
HEADER_CHARS_MAX = 600
COMMAND_CHARS_MAX = 20_000
MARK_CHARS_MAX = 24
LIST_CHARS_MAX = 120  # of one list of names in a node state; what does not fit is left out


class ProtocolError(ValueError):
    """A message that is refused; ``cause`` is one of unsigned, unreadable, replayed, stale, unconfigured."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def new_nonce() -> str:
    """72 random bits, 12 URL-safe characters."""
    return secrets.token_urlsafe(9)


def check_keys(keys: Sequence[str]) -> None:
    """Raise ValueError unless there is at least one key and none is short."""
    if not keys:
        raise ValueError("FT_SECRET_KEYS is empty: set the same key of at least 16 characters on both nodes")
    for key in keys:
        if len(key) < KEY_BYTES_MIN:
            raise ValueError("FT_SECRET_KEYS has a key shorter than 16 characters: make one with 'flask ft key'")


def sign(keys: Sequence[str], *parts: object) -> str:
    """Signature over the parts with the first (current) key, 22 URL-safe characters. Raises ProtocolError without one."""
    for key in keys:  # one reading: the file they come from may change
        return _mac(key, parts)
    raise ProtocolError("unconfigured", "this server has no key of the pair yet: run 'ft pair', see docs/install.md")


def verify(keys: Sequence[str], signature: str, *parts: object) -> bool:
    """True when any valid key made the signature (two are valid during a rotation)."""
    given = signature.encode("utf-8", "replace")
    return any([hmac.compare_digest(_mac(key, parts).encode(), given) for key in keys])


def _mac(key: str, parts: Sequence[object]) -> str:
    digest = hmac.new(key.encode(), json.dumps([str(p) for p in parts]).encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:SIGNATURE_BYTES]).rstrip(b"=").decode()


# --- the question -------------------------------------------------------------------------------------------------

_SHORT = {Designation.SERVER1: "1", Designation.SERVER2: "2"}
_LONG = {short: designation for designation, short in _SHORT.items()}


def make_ask(keys: Sequence[str], asker: Designation, nonce: str) -> str:
    """Value of the X-FT-Ask header."""
    return f"{_SHORT[asker]}.{nonce}.{sign(keys, 'ask', asker, nonce)}"


def read_ask(keys: Sequence[str], header: str) -> tuple[Designation, str]:
    """(asker, nonce) of a header. Raises ProtocolError."""
    if len(header) > HEADER_CHARS_MAX:
        raise ProtocolError("unreadable", "question too long")
    parts = header.split(".")
    if len(parts) != 3 or parts[0] not in _LONG or not 8 <= len(parts[1]) <= 64:
        raise ProtocolError("unreadable", "question has not the form asker.nonce.signature")
    asker = _LONG[parts[0]]
    if not verify(keys, parts[2], "ask", asker, parts[1]):
        raise ProtocolError("unsigned", "question is not signed with a key of this pair")
    return asker, parts[1]


# --- the answer ---------------------------------------------------------------------------------------------------

_ROLES = {"a": Role.ACTIVE, "s": Role.STANDBY, "u": Role.UNDECIDED}
_PHASES = {"r": Phase.READY, "s": Phase.STARTING, "p": Phase.STOPPING}
_STANCES = {"": SplitStance.NONE, "s": SplitStance.STAY, "y": SplitStance.YIELD}
_FLAGS = ("clear", "healthy", "eligible", "enabled", "manual_hold")


def _code(table: Mapping[str, Any], value: Any) -> str:
    return next(code for code, meaning in table.items() if meaning is value)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{max(0.0, value):.3f}".rstrip("0").rstrip(".")


def make_state(keys: Sequence[str], state: NodeState, nonce: str, challenge: str) -> str:
    """Value of the X-FT-State header: fields, challenge and a signature over both and the asker's nonce."""
    flags = sum(1 << bit for bit, name in enumerate(_FLAGS) if getattr(state, name))
    fields = (
        _SHORT[state.designation],
        _code(_ROLES, state.role) + _code(_PHASES, state.phase) + _code(_STANCES, state.stance),
        f"{flags:x}",
        str(state.epoch),
        str(state.seen_epoch),
        _seconds(state.agent_age_s),
        _seconds(state.lease_left_s),
        _seconds(state.heard_asker_age_s),
        str(state.switches),
        f"{state.settings_revision}:{state.settings_mark}",
        state.version + _extras(state),
        f"{state.wall_clock_s:.3f}",
    )
    body = "~".join(fields) + f"~{challenge}"
    return f"{body}~{sign(keys, 'state', state.designation, nonce, body)}"


def read_state(keys: Sequence[str], header: str, nonce: str, expected: Designation | None) -> tuple[NodeState, str]:
    """(state, challenge) of an answer to ``nonce``. ``expected`` is the designation asked, None for the VIP.

    Raises ProtocolError: "unreadable" for a wrong form, "unsigned" for a wrong key, nonce or node.
    """
    if len(header) > HEADER_CHARS_MAX:
        raise ProtocolError("unreadable", "node state too long")
    body, _, signature = header.rpartition("~")
    parts = body.split("~")
    if len(parts) != 13 or parts[0] not in _LONG:
        raise ProtocolError("unreadable", "node state has not the expected fields")
    designation = _LONG[parts[0]]
    if not verify(keys, signature, "state", designation, nonce, body):
        raise ProtocolError("unsigned", "node state is not signed over this question with a key of this pair")
    if expected is not None and designation is not expected:
        raise ProtocolError("unsigned", f"the answer comes from {designation}, asked was {expected}")
    try:
        flags = int(parts[2], 16)
        codes = parts[1]
        version, *rare = parts[10].split(";")
        extras = dict(extra.partition("=")[::2] for extra in rare)
        state = NodeState(
            designation=designation,
            role=_ROLES[codes[0]],
            phase=_PHASES[codes[1]],
            stance=_STANCES[codes[2:]],
            epoch=int(parts[3]),
            seen_epoch=int(parts[4]),
            agent_age_s=float(parts[5]) if parts[5] else None,
            lease_left_s=float(parts[6] or 0),
            heard_asker_age_s=float(parts[7]) if parts[7] else None,
            switches=int(parts[8]),
            settings_revision=int(parts[9].partition(":")[0]),
            settings_mark=parts[9].partition(":")[2],
            version=version,
            wall_clock_s=float(parts[11]),
            given_up=_unpacked(extras.get("g")),
            failed=_unpacked(extras.get("f")),
            restarting_s=float(extras.get("r") or 0),
            content_mark=(extras.get("c") or "")[:MARK_CHARS_MAX],
            **{name: bool(flags >> bit & 1) for bit, name in enumerate(_FLAGS)},
        )
    except (KeyError, IndexError, ValueError) as error:
        raise ProtocolError("unreadable", f"node state has a field that cannot be read: {error}") from None
    return state, parts[12]


# What is rarely said rides behind the version, as "1.2;g=cti;f=axl;r=40", and costs nothing while there is nothing to say.
# A peer of an older version takes all of it for the version's text, which it only shows; a newer one skips unknown keys.


def _extras(state: NodeState) -> str:
    said = {"g": _packed(state.given_up), "f": _packed(state.failed)}
    said["r"] = _seconds(state.restarting_s) if state.restarting_s > 0 else ""
    said["c"] = state.content_mark if state.content_mark.isalnum() else ""
    return "".join(f";{key}={value}" for key, value in said.items() if value)


def _packed(names: Sequence[str]) -> str:
    """Names, comma between them, as many as fit. None is cut: half a name could be another service's."""
    packed = ""
    for name in names:
        longer = ",".join(filter(None, (packed, quote(name, safe="").replace("~", "%7E"))))
        packed = longer if len(longer) <= LIST_CHARS_MAX else packed
    return packed


def _unpacked(text: str | None) -> tuple[str, ...]:
    return tuple(unquote(name) for name in (text or "").split(",") if name)


def sign_body(keys: Sequence[str], speaker: Designation, nonce: str, body: str) -> str:
    """Value of the X-FT-Body-Sig header: ``speaker`` signs its settings document over the asker's nonce."""
    return sign(keys, "settings", speaker, nonce, body)


def body_is_signed(keys: Sequence[str], signature: str, speaker: Designation, nonce: str, body: str) -> bool:
    """Whether ``speaker`` signed ``body`` over the asker's nonce with any valid key."""
    return verify(keys, signature, "settings", speaker, nonce, body)


# --- commands (node API) ------------------------------------------------------------------------------------------


def make_command(keys: Sequence[str], sender: Designation, challenge: str, name: str, body: Mapping[str, Any]) -> bytes:
    """JSON of a command to the other node, signed over the challenge that node last gave."""
    text = json.dumps(dict(body), sort_keys=True, separators=(",", ":"))
    signature = sign(keys, "command", sender, sender.other, challenge, name, text)
    return json.dumps(
        {"from": sender, "challenge": challenge, "name": name, "body": text, "signature": signature}
    ).encode()


def read_command(keys: Sequence[str], receiver: Designation, raw: bytes) -> tuple[str, str, dict[str, Any]]:
    """(challenge, name, body) of a command sent to ``receiver``; the caller checks that the challenge is fresh.

    Raises ProtocolError.
    """
    if len(raw) > COMMAND_CHARS_MAX:
        raise ProtocolError("unreadable", "command too long")
    try:
        message = json.loads(raw)
        sender = Designation(message["from"])
        challenge, name, text, signature = (message[k] for k in ("challenge", "name", "body", "signature"))
        if not all(isinstance(v, str) for v in (challenge, name, text, signature)):
            raise ValueError("a field is not text")
        body = json.loads(text)
        if not isinstance(body, dict):
            raise ValueError("the body is not an object")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProtocolError("unreadable", f"command cannot be read: {error}") from None
    if sender is receiver or not verify(keys, signature, "command", sender, receiver, challenge, name, text):
        raise ProtocolError("unsigned", "command is not signed for this node with a key of this pair")
    return challenge, name, body


# --- agent channel (carries demote alone) -------------------------------------------------------------------------


def make_demote(keys: Sequence[str], sender: Designation, epoch: int, nonce: str) -> dict[str, Any]:
    """Keyword arguments of the Celery message ``demote`` to the other node's broker."""
    return {
        "sender": str(sender),
        "epoch": epoch,
        "nonce": nonce,
        "signature": sign(keys, "demote", sender, epoch, nonce),
    }


def check_demote(
    keys: Sequence[str], receiver: Designation, sender: Any, epoch: Any, nonce: Any, signature: Any
) -> int:
    """The epoch of a demote message for ``receiver``. Raises ProtocolError.

    An epoch of the receiver's own parity or below 2 cannot come from the peer (I-E) and is refused.
    """
    if (
        not isinstance(epoch, int)
        or isinstance(epoch, bool)
        or not all(isinstance(v, str) for v in (sender, nonce, signature))
    ):
        raise ProtocolError("unreadable", "demote message has a field of the wrong type")
    if sender != receiver.other or not verify(keys, signature, "demote", sender, epoch, nonce):
        raise ProtocolError("unsigned", "demote message is not signed by the peer")
    return epoch


def make_word(keys: Sequence[str], speaker: Designation, nonce: str, epoch: int, clear: bool) -> str:
    """The agent's answer to a demote message: signed over its nonce. ``clear``: owns nothing any more."""
    return f"{epoch}.{int(clear)}.{sign(keys, 'word', speaker, nonce, epoch, int(clear))}"


def read_word(keys: Sequence[str], speaker: Designation, nonce: str, word: str) -> tuple[int, bool]:
    """(epoch, clear) of an agent's answer. Raises ProtocolError."""
    parts = word.split(".")
    if len(parts) != 3 or not parts[0].isdigit() or parts[1] not in ("0", "1"):
        raise ProtocolError("unreadable", "agent's word has not the form epoch.clear.signature")
    if not verify(keys, parts[2], "word", speaker, nonce, int(parts[0]), int(parts[1])):
        raise ProtocolError("unsigned", "agent's word is not signed by the peer over this nonce")
    return int(parts[0]), parts[1] == "1"
