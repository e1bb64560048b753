"""What leaves this server for support: configuration by an allow list, and every text cleaned of known secrets.

A key that is not on the list is told as "set" or "default", so a key that a later version adds is not shown by accident.
Cleaning every text is the second gate: an error of a library, or an administrator's reason, may quote a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from ..alerts.targets import secret_parts
from ..config import DEFAULTS, NodeConfig
from ..health.checks import LOGIN_IN_URL
from ..health.tables import HealthTable

SHOWN = (  # with their values; no secret can be in one of them
    "FT_OWN_ADDRESS",
    "FT_PREFIX",
    "FT_URL_PREFIX",
    "FT_LEGACY_URLS",
    "FT_INSTANCE_DIR",
    "FT_SECRET_KEYS_FILE",
    "FT_PEER_REDIS_PASSWORD_FILE",
    "FT_WITNESS_PASSWORD_FILE",
    "FT_TLS_CA",
    "FT_TLS_CERT",
    "FT_AGENT_TLS",
    "FT_WITNESS_TLS",
    "FT_WATCHDOG_INTERVAL_S",
    "FT_WATCHDOG_RESTARTS_MAX",
    "FT_WATCHDOG_WINDOW_S",
    "FT_WATCHDOG_SILENT_S",
    "FT_FENCE_LIMIT_S",
    "FT_LOG_DAYS",
    "FT_ALERT_REPEAT_S",
)
URLS = ("FT_REDIS_URL", "FT_DATABASE_URL")  # scheme, host, port and path only
SERVICE_SHOWN = (
    "name",
    "kind",
    "start_limit_s",
    "stop_limit_s",
    "status_limit_s",
    "unit",
    "program",
    "agent",
    "check_level",
)
CHECK_SHOWN = ("version", "ca_file", "verify", "need", "status", "path", "free_mb_min")
SECRET_CHARS_MIN = 3  # a shorter one would blank out half of every sentence
HIDDEN = "***"
_SECRET_NAME = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|_KEY\b|APIKEY|PRIVATE", re.IGNORECASE)
_PIECE_BYTES = 65_536


def shown_config(config: NodeConfig) -> dict[str, Any]:
    """The node's configuration without secrets: allowed keys with their values, the others as "set" or "default"."""
    found: dict[str, Any] = {}
    for key, default in DEFAULTS.items():
        value = config.value(key)
        if key in SHOWN:
            found[key] = value if isinstance(value, (bool, int, float)) else str(value)
        elif key in URLS:
            found[key] = url_without_login(str(value))
        elif key == "FT_HEALTH":
            found[key] = [_shown_check(table) for table in value]
        elif key == "FT_SERVICES":
            found[key] = [_shown_service(table) for table in value]
        elif key == "FT_PORTAL":
            found[key] = _shown_service(value)
        else:
            found[key] = "set" if value and value != default else "default"
    return found


def _shown_service(table: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: table[name] for name in SERVICE_SHOWN if isinstance(table.get(name), (str, int, float))}
    if isinstance(table.get("url"), str):
        shown["url"] = url_without_login(table["url"])
    return shown | {name: "set" for name in table if name not in shown}


def _shown_check(table: HealthTable) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": table.name, "kind": table.kind}
    shown |= {"timeout_s": table.timeout_s, "shared": table.shared}
    shown |= {name: table.options[name] for name in CHECK_SHOWN if name in table.options}
    if "addresses" in table.options:
        shown["addresses"] = [f"{host}:{port}" for host, port in table.options["addresses"]]
    if "url" in table.options:
        shown["url"] = url_without_login(table.options["url"])
    return shown | {name: "set" for name in table.options if name not in shown}


def url_without_login(url: str) -> str:
    """Scheme, host, port and path of a URL: no user, password or query, which may hold either."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "set, but it cannot be read as a URL"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}"


class Cleaner:
    """Takes known secrets out of texts. more: a mapping such as ``app.config``, of which what is named like one is taken."""

    def __init__(self, config: NodeConfig, more: Mapping[str, Any] | None = None) -> None:
        known = {text for text in _secrets(config, more or {}) if len(text) >= SECRET_CHARS_MIN}
        self._known = sorted(known, key=len, reverse=True)

    def text(self, text: str) -> str:
        """``text`` with each known secret, and whatever stands before an @ in a URL, replaced."""
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return LOGIN_IN_URL.sub(rf"\1{HIDDEN}@", text)

    def value(self, value: Any) -> Any:
        """The same for a JSON value, its keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value

    def lines(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same for a file in pieces: cut at the ends of lines, so that no secret lies across two of them."""
        rest = b""
        for piece in pieces:
            rest += piece
            whole, end, rest = rest.rpartition(b"\n")
            if end:
                yield self._cleaned(whole + end)
            elif len(rest) > _PIECE_BYTES:
                yield b"[a line of more than 65536 bytes is left out]"
                rest = b""
        if rest:
            yield self._cleaned(rest)

    def _cleaned(self, data: bytes) -> bytes:
        return self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _secrets(config: NodeConfig, more: Mapping[str, Any]) -> Iterator[str]:
    yield from config.secret_keys
    yield from (config.peer_redis_password, config.witness_password)
    for url in (config.redis_url, config.database_url):
        parts = urlsplit(url)
        for text in (
            parts.password or "",
            *(value for name, value in _query(parts.query) if _SECRET_NAME.search(name)),
        ):
            yield from (text, unquote(text))
    for url in (*config.alert_urls, *config.snmp_targets):
        yield from secret_parts(url)
    for table in (*config.services, config.portal):
        yield from _named(table)
    for check in config.health:
        yield from _named(check.options)
    yield from _named(more)


def _query(query: str) -> Iterator[tuple[str, str]]:
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        yield name, value


def _named(mapping: Mapping[str, Any]) -> Iterator[str]:
    """Texts below a key that is named like a secret, and passwords in URLs below any key."""
    for name, value in mapping.items():
        secret = bool(_SECRET_NAME.search(str(name)))
        if isinstance(value, Mapping):  # the params of an OCF agent
            yield from _named(value)
        for text in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(text, bytes):
                text = text.decode("utf-8", "replace")
            if secret and isinstance(text, str):
                yield text
            elif isinstance(text, str) and "@" in text and "://" in text:
                try:
                    yield urlsplit(text).password or ""
                except ValueError:
                    continue  # no URL after all
