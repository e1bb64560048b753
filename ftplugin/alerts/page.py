"""What portal and command line read and write of the alerts in the node's Redis; the tick worker is the other end."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

DOCUMENT, TEST = "alerts", "alerts-test"
STALE_S = 30.0  # the worker writes every 5 s
TEST_S_MAX = 60.0  # an older wish is not carried out any more


class Store(Protocol):
    """The part of RuntimeStore that is used here."""

    def publish(self, name: str, value: Mapping[str, Any]) -> bool: ...

    def fetch(self, name: str) -> dict[str, Any] | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """The worker's last word. ``age_s`` None: it has said nothing since this boot. Rows as of ``Outbox.shown``."""

    age_s: float | None = None
    targets: tuple[str, ...] = ()
    open: tuple[Mapping[str, Any], ...] = ()
    waiting: tuple[Mapping[str, Any], ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    dropped: int = 0
    problem: str = ""

    @property
    def old(self) -> bool:
        return self.age_s is None or self.age_s > STALE_S


def shown(store: Store, boot_id: str, now_s: float) -> Shown:
    """From the node's Redis. now_s: own CLOCK_BOOTTIME."""
    document = store.fetch(DOCUMENT) or {}
    at_s = document.get("at_s")
    if document.get("boot_id") != boot_id or not isinstance(at_s, (int, float)):
        return Shown()
    dropped, targets = document.get("dropped"), document.get("targets")
    return Shown(
        age_s=max(0.0, now_s - at_s),
        targets=tuple(str(name) for name in targets) if isinstance(targets, list) else (),
        open=_rows(document.get("open")),
        waiting=_rows(document.get("waiting")),
        history=_rows(document.get("history")),
        dropped=dropped if isinstance(dropped, int) else 0,
        problem=str(document.get("problem") or ""),
    )


def _rows(value: object) -> tuple[Mapping[str, Any], ...]:
    return tuple(row for row in value if isinstance(row, Mapping)) if isinstance(value, list) else ()


def ask_for_test(store: Store, boot_id: str, now_s: float, actor: str) -> bool:
    """Leave the wish for a test with the worker; False: Redis did not take it."""
    wish = {"id": secrets.token_hex(4), "actor": actor, "at_s": now_s, "boot_id": boot_id}
    return store.publish(TEST, wish)


def wish_of(document: Mapping[str, Any] | None, boot_id: str, now_s: float) -> tuple[str, str] | None:
    """(id, actor) of a wish that still counts."""
    at_s = (document or {}).get("at_s")
    if document is None or document.get("boot_id") != boot_id or not isinstance(at_s, (int, float)):
        return None
    if not 0 <= now_s - at_s <= TEST_S_MAX:
        return None
    return str(document.get("id")), str(document.get("actor"))
