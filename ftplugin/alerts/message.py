"""One message, as it waits in the outbox and travels to the process that sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .causes import KINDS, Cause, Phase, Severity

TITLE_CHARS_MAX, TEXT_CHARS_MAX, NAME_CHARS_MAX = 200, 1500, 120
_MARKS = {Phase.REPEATED: "Still: ", Phase.RESOLVED: "Over: ", Phase.TEST: ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """``message_id``: of this message. ``incident_id``: the same from "raised" to "resolved". ``at_wall_s``: when it was made, in
    seconds since 1970 on the clock of ``server``. ``severity``: "info" when it is over. ``count``: how many of the same this
    one stands for, those since the last message included."""

    message_id: str
    incident_id: str
    cause: Cause
    phase: Phase
    severity: Severity
    title: str
    text: str
    server: str
    address: str
    instance: str
    at_wall_s: float
    rule: str = ""
    epoch: int = 0
    count: int = 1

    @property
    def number(self) -> int:
        """Of its notification in the MIB."""
        return KINDS[self.cause].number

    @property
    def headline(self) -> str:
        """The subject of a mail: "[Hot Standby server2] Failover: server2 is active"."""
        where = " ".join(word for word in (self.instance, self.server) if word)
        return one_line(f"[Hot Standby{' ' + where if where else ''}] {_MARKS.get(self.phase, '')}{self.title}", 250)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Message:
        """Raises KeyError, TypeError or ValueError for what is no message."""
        return cls(
            message_id=one_line(value["message_id"], NAME_CHARS_MAX),
            incident_id=one_line(value["incident_id"], NAME_CHARS_MAX),
            cause=Cause(value["cause"]),
            phase=Phase(value["phase"]),
            severity=Severity(value["severity"]),
            title=one_line(value["title"], TITLE_CHARS_MAX),
            text=one_line(value["text"], TEXT_CHARS_MAX),
            server=one_line(value["server"], NAME_CHARS_MAX),
            address=one_line(value["address"], NAME_CHARS_MAX),
            instance=one_line(value["instance"], NAME_CHARS_MAX),
            at_wall_s=float(value["at_wall_s"]),
            rule=one_line(value["rule"], NAME_CHARS_MAX),
            epoch=int(value["epoch"]),
            count=int(value["count"]),
        )


def one_line(text: object, chars_max: int) -> str:
    """Without line breaks and control characters: a service's own words must forge no header and no further line."""
    found = "".join(c if c.isprintable() else " " for c in str(text)).strip()
    return found if len(found) <= chars_max else found[: chars_max - 1] + "…"
