"""Where alerts go: FT_ALERT_URLS for Apprise, FT_SNMP_TARGETS for traps. Every URL is a secret as a whole.

Standard library alone: the node's configuration is read with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

TARGETS_MAX = 32
URL_CHARS_MAX = 2000
SNMP_PORT = 162
SECRET_CHARS_MIN = 3  # a shorter piece would blank out half of every sentence
HIDDEN = "***"
AUTH = ("md5", "sha", "sha224", "sha256", "sha384", "sha512")
PRIV = ("des", "aes", "aes192", "aes256")
KEY_CHARS_MIN = 8  # of SNMPv3 pass phrases (RFC 3414)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE | re.ASCII)
# of these the host is no token, and says which target it is
_HOST_SHOWN = {"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "snmp", "snmpv3"}
_PUBLIC = {"inform", "auth", "priv", "format", "verify", "cto", "rto", "mode", "overflow", "emojis"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One receiver. ``key``: tells it from others in files, without its URL. ``label``: as it is shown, "2 slack"."""

    kind: str  # "apprise" or "snmp"
    url: str
    key: str
    label: str

    def __repr__(self) -> str:
        return f"Target({self.label!r})"


@dataclass(frozen=True, kw_only=True, slots=True)
class SnmpTarget:
    """A receiver of traps. user "": SNMPv2c with ``community``; else SNMPv3. inform: it must acknowledge."""

    host: str
    port: int
    inform: bool
    community: str = ""
    user: str = ""
    auth: str = ""
    auth_key: str = ""
    priv: str = ""
    priv_key: str = ""

    def __repr__(self) -> str:
        return f"SnmpTarget({self.host!r}, {self.port})"


def targets_of(alert_urls: Sequence[Any], snmp_targets: Sequence[Any]) -> tuple[Target, ...]:
    """FT_ALERT_URLS and FT_SNMP_TARGETS as targets. Raises ValueError naming the entry, never its value."""
    found: list[Target] = []
    for name, kind, urls in (("FT_ALERT_URLS", "apprise", alert_urls), ("FT_SNMP_TARGETS", "snmp", snmp_targets)):
        if len(urls) > TARGETS_MAX:
            raise ValueError(f"{name}: at most {TARGETS_MAX} targets; it has {len(urls)}")
        for index, url in enumerate(urls, start=1):
            where = f"{name}[{index}]"
            _check(where, url)
            if kind == "snmp":
                try:
                    snmp_target(url)
                except ValueError as error:
                    raise ValueError(f"{where}: {error}") from None
            digest = hashlib.sha256(f"{kind} {url}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
            if any(target.key == digest for target in found):
                raise ValueError(f"{where}: is there twice; keep one of the two")
            found.append(Target(kind=kind, url=url, key=digest, label=f"{len(found) + 1} {shown(url)}"))
    return tuple(found)


def _check(where: str, url: Any) -> None:
    if not isinstance(url, str):
        raise ValueError(f"{where}: must be a URL as text, not a {type(url).__name__}")
    scheme, found, rest = url.partition("://")
    if not found or not _SCHEME.fullmatch(scheme) or not rest.strip():
        raise ValueError(f"{where}: must be a URL, as mailtos://user:password@mail.example (its value is not shown)")
    if len(url) > URL_CHARS_MAX or not url.isprintable():
        raise ValueError(f"{where}: must be one line of at most {URL_CHARS_MAX} characters (its value is not shown)")


def snmp_target(url: str) -> SnmpTarget:
    """Of ``snmp://COMMUNITY@HOST`` or ``snmpv3://USER@HOST?auth=sha256&auth_key=…&priv=aes&priv_key=…``.

    Raises ValueError, which quotes no secret.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or SNMP_PORT
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True))
    except ValueError:
        raise ValueError("cannot be read as snmp://COMMUNITY@HOST:162") from None
    if not parts.hostname or parts.path not in ("", "/") or parts.password is not None:
        raise ValueError("must be snmp://COMMUNITY@HOST:162 or snmpv3://USER@HOST:162?auth=…, with nothing else")
    if parts.scheme == "snmp":
        return _v2c(parts, port, options)
    if parts.scheme == "snmpv3":
        return _v3(parts, port, options)
    raise ValueError("must begin with snmp:// (SNMPv2c) or snmpv3://")


def _v2c(parts: SplitResult, port: int, options: Mapping[str, str]) -> SnmpTarget:
    if extra := sorted(set(options) - {"inform"}):
        raise ValueError(f"snmp:// knows the option inform alone, not {', '.join(extra)[:60]}")
    if options.get("inform", "no") not in ("yes", "no"):
        raise ValueError("inform must be yes or no")
    if not parts.username:
        raise ValueError("the community is missing, as in snmp://COMMUNITY@HOST")
    return SnmpTarget(
        host=parts.hostname or "",
        port=port,
        inform=options.get("inform") == "yes",
        community=unquote(parts.username),
    )


def _v3(parts: SplitResult, port: int, options: Mapping[str, str]) -> SnmpTarget:
    if extra := sorted(set(options) - {"auth", "auth_key", "priv", "priv_key"}):
        raise ValueError(f"snmpv3:// knows auth, auth_key, priv and priv_key, not {', '.join(extra)[:60]}")
    if not parts.username:
        raise ValueError("the user is missing, as in snmpv3://USER@HOST")
    auth, priv = options.get("auth", ""), options.get("priv", "")
    if auth and auth not in AUTH:
        raise ValueError(f"auth must be one of {', '.join(AUTH)}")
    if priv and priv not in PRIV:
        raise ValueError(f"priv must be one of {', '.join(PRIV)}")
    if priv and not auth:
        raise ValueError("priv needs auth")
    for name, wanted in (("auth_key", auth), ("priv_key", priv)):
        if bool(wanted) != bool(options.get(name)) or (wanted and len(options[name]) < KEY_CHARS_MIN):
            given = name.removesuffix("_key")
            raise ValueError(
                f"{name}: {given} and {name} belong together, {name} with {KEY_CHARS_MIN} characters or more"
            )
    return SnmpTarget(
        host=parts.hostname or "",
        port=port,
        inform=True,
        user=unquote(parts.username),
        auth=auth,
        auth_key=options.get("auth_key", ""),
        priv=priv,
        priv_key=options.get("priv_key", ""),
    )


def shown(url: str) -> str:
    """What may be shown of a target: its scheme, and its host where that is no token."""
    scheme = url.partition("://")[0].lower()
    if scheme not in _HOST_SHOWN:
        return scheme
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return scheme
    return f"{scheme} {host}" if host and host.isprintable() else scheme


def secret_parts(url: str) -> Iterator[str]:
    """Every piece of a target's URL that may be a secret; an error of a library may quote any of them."""
    yield url
    scheme, _, rest = url.partition("://")
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        yield rest
        return
    login, _, place = parts.netloc.rpartition("@")
    pieces = [login, *login.split(":", 1), parts.path.strip("/"), *parts.path.split("/"), parts.query, parts.fragment]
    if scheme.lower() not in _HOST_SHOWN:
        pieces += [place, parts.hostname or "", *place.split(":", 1)]  # of some the "port" is half of a token
    pieces += [value for name, value in query if name not in _PUBLIC]
    pieces += [
        value for name, _, value in (pair.partition("=") for pair in parts.query.split("&")) if name not in _PUBLIC
    ]
    if not login and ":" in place and "@" in rest:  # a pass phrase with / ? or #, which should have been written as %2F
        name, _, phrase = rest.rpartition("@")[0].partition(":")
        pieces += [name, phrase, *re.split("[/?#]", phrase)]
    for piece in pieces:
        plain = unquote(piece)
        for text in {piece, plain, quote(plain, safe="")}:
            if len(text) >= SECRET_CHARS_MIN:
                yield text


def cleaned(text: str, url: str) -> str:
    """``text`` without any piece of ``url`` that may be a secret."""
    for secret in sorted(secret_parts(url), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
