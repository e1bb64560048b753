"""Headers of a request that is passed on and of its answer: what a proxy keeps, drops and adds (RFC 9110 7.6, RFC 7239)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus

Headers = list[tuple[str, str]]

HOP_BY_HOP = frozenset(  # RFC 9110 7.6.1, and those of older proxies
    "connection keep-alive proxy-connection proxy-authenticate proxy-authorization proxy-authentication-info te trailer "
    "transfer-encoding upgrade".split()
)
# written anew: framing and what names the way
_REQUEST_OWN = frozenset(
    "host content-length expect max-forwards via forwarded x-ft-forward "
    "x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-forwarded-prefix".split()
)
_ANSWER_OWN = frozenset(["content-length"])
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FOLD = re.compile(r"\r?\n[ \t]+")


class BadHeader(ValueError):
    """A header that must not be passed on; the message names it."""


def of_request(
    given: Iterable[tuple[str, str]], *, method: str, own: str, client: str, scheme: str, host: str, prefix: str
) -> Headers:
    """Headers for the active server, without Host and framing.

    own: address and port of this server. client, scheme, host, prefix: of the request as this portal believes them, so behind
    a ProxyFix those of the browser. Raises BadHeader.
    """
    listed = [(name, value) for name, value in given]
    kept = _end_to_end(listed, _REQUEST_OWN)
    node = _node(client)
    element = f"for={_quoted(node)};host={_quoted(host)};proto={scheme};by={_quoted(own)}"
    kept.append(("Via", _added(listed, "via", f"1.1 {own}")))
    kept.append(("Forwarded", _added(listed, "forwarded", element)))
    kept.append(("X-Forwarded-For", _added(listed, "x-forwarded-for", client or "unknown")))
    kept += [("X-Forwarded-Proto", scheme), ("X-Forwarded-Host", host)]
    if prefix:
        kept.append(("X-Forwarded-Prefix", prefix))
    hops = next((value for name, value in listed if name.lower() == "max-forwards"), "")
    if method in ("OPTIONS", "TRACE") and hops.isdecimal() and int(hops) > 0:  # 0 is not passed on at all
        kept.append(("Max-Forwards", str(int(hops) - 1)))
    for name, value in kept:
        _check(name, value)
    return kept


def of_answer(given: Sequence[tuple[str, str]]) -> Headers:
    """Headers for the client, without framing; several of one name stay several (Set-Cookie). Raises BadHeader."""
    kept = [(name, _FOLD.sub(" ", value)) for name, value in _end_to_end(given, _ANSWER_OWN)]
    for name, value in kept:
        _check(name, value)
    lengths = {value.strip() for name, value in given if name.lower() == "content-length"}
    if len(lengths) > 1 or any(not (text.isascii() and text.isdecimal()) for text in lengths):
        raise BadHeader(f"Content-Length: {', '.join(sorted(lengths))[:80]!r}")
    return kept


def been_here(via: str, own: str) -> bool:
    """Whether a Via header names ``own`` (address and port) as a server that has passed the request on before."""
    return any(own in part.split() for part in via.split(","))


def status_line(status: int, reason: str) -> str:
    """Of an answer; a reason that is no plain text is replaced by the standard one."""
    if not reason or not reason.isascii() or not reason.isprintable():
        reason = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
    return f"{status} {reason[:80]}"


def _end_to_end(given: Sequence[tuple[str, str]], own: frozenset[str]) -> Headers:
    nominated = {
        word.strip().lower() for name, value in given if name.lower() == "connection" for word in value.split(",")
    }
    dropped = HOP_BY_HOP | own | nominated
    return [(name, value) for name, value in given if name.lower() not in dropped]


def _added(given: Sequence[tuple[str, str]], name: str, element: str) -> str:
    return ", ".join([*(value for key, value in given if key.lower() == name and value.strip()), element])


@lru_cache(maxsize=256)
def _node(client: str) -> str:
    """RFC 7239 6: IPv6 in brackets; "unknown" for what is no address."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return "unknown"
    return f"[{address}]" if address.version == 6 else str(address)


def _quoted(text: str) -> str:
    return text if TOKEN.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _check(name: str, value: str) -> None:
    if not TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise BadHeader(f"{name[:60]!r}: {value[:60]!r}")
