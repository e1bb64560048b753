"""Alarms of dual ownership in words: which service, what, who else, since when, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ftplugin.said import Said

from .plain import mapping, number, sequence, text

OWNERS_MAX = 4
SHOWN = 3  # things that are named; the others are counted
WAY_OUT = Said(
    "Two owners serve the same users; nothing switches for this. Both servers active: restore the link between them, "
    "then one stops. Only one active: stop this service on the other one by hand. An owner that is no server of this "
    "pair: stop it there."
)


def claims_text(claims: Iterable[tuple[str, str]]) -> str:
    """English, for the log: "port 7101, port 7102, port 7103 and 45 more: also owned by server2"."""
    return "; ".join(_sentence(what, owner) for owner, what in _by_owner(claims).items())


def service_alarms(service: str, value: object) -> list[dict[str, Any]]:
    """[{service, owner, count, what, text, since_wall_s}], one for each other owner of what ``service`` owns.

    value: what the document "services" says of its alarm (``dual``).
    """
    document = mapping(value)
    claims = [
        (text(c[0], 80), text(c[1], 80)) for x in sequence(document.get("also_owned")) if len(c := sequence(x)) == 2
    ]
    return [
        {
            "service": service,
            "owner": owner,
            "count": len(what),
            "what": what[:SHOWN],
            "text": _sentence(what, owner),
            "since_wall_s": number(document.get("since_wall_s")),
        }
        for owner, what in _by_owner(claims).items()
    ]


def alarms_of(services: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every alarm of a document "services" of this server."""
    return [
        alarm for name, value in services.items() for alarm in service_alarms(name[:80], mapping(value).get("dual"))
    ]


def alarms_there(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The alarms of the other server, as it has told them itself; none when that is old."""
    if card["old"]:
        return []
    where = str(card["label"])
    return [
        {
            "service": service["name"],
            "owner": owner,
            "text": Said("as %(server)s sees it, also owned by %(owner)s", server=Said(where), owner=owner),
            "since_wall_s": None,
        }
        for service in card["service_list"]
        for owner in service["owners"]
    ]


def other_owners(reading: Mapping[str, Any]) -> list[str]:
    """Who else owns what a service owns: of its own document, or of what the other server has told."""
    claims = sequence(mapping(reading.get("dual")).get("also_owned"))
    owners = [c[1] for x in claims if len(c := sequence(x)) == 2] or sequence(reading.get("owners"))
    return sorted({text(owner, 80) for owner in owners if text(owner)})[:OWNERS_MAX]


def _by_owner(claims: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for what, owner in claims:
        found.setdefault(owner, []).append(what)
    return found


def _sentence(what: list[str], owner: str) -> str:
    named = ", ".join(what[:SHOWN])
    if len(what) <= SHOWN:
        return Said("%(named)s: also owned by %(owner)s", named=named, owner=owner)
    return Said(
        "%(named)s and %(more)s more: also owned by %(owner)s", named=named, more=len(what) - SHOWN, owner=owner
    )
