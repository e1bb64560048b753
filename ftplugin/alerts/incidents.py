"""Which facts become messages: one for each incident and cause, repeated while it lasts, and one when it is over.

Pure but for the random ids: the clock comes in as an argument. Lasting facts ("the peer is lost") are given as they are at
each look; a fact that is absent ends its incident only when its cause is among those of which the caller can tell, and
only after SETTLE_S without it, so that what flaps is one incident. Facts that only happen ("a switch failed") are told at
once, and again only after the time of repetition, with their number.

Of what both servers see the one that speaks tells it. The other keeps quiet, but knows of it; whoever has told the begin
tells the end too. When it is time to repeat it, who speaks is asked again: the one that spoke may be gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .causes import KINDS, Cause, Fact, Phase, Severity
from .message import TEXT_CHARS_MAX, TITLE_CHARS_MAX, Message, one_line

SETTLE_S = 30.0
HAPPENED_S = 3600.0  # what happens is told again after so long where what lasts never is
OPEN_MAX = 100  # of incidents: service names and addresses are not without end, and a file is kept of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """One incident that is not over. Moments named ``_s`` are CLOCK_BOOTTIME of this boot.

    ``told``: this server has told its begin. ``lasting`` False: of facts that happen; kept to count the next ones.
    ``gone_s``: since when it is not seen any more, None while it is. ``more``: how many of the same were not told.
    """

    key: str
    incident_id: str
    cause: Cause
    title: str
    text: str
    rule: str
    epoch: int
    lasting: bool
    told: bool
    begun_s: float
    begun_wall_s: float
    said_s: float
    severity: Severity
    gone_s: float | None = None
    more: int = 0
    whole: bool = True  # False: begun before this boot, so that ``begun_s`` is that of the boot


@dataclass(frozen=True, kw_only=True, slots=True)
class Here:
    """Who tells it: ``server`` "server1", address and FT_PREFIX of this node."""

    server: str = ""
    address: str = ""
    instance: str = ""


class Incidents:
    """The incidents of one node. repeat_s: after so many seconds one that lasts is told again; 0: never."""

    def __init__(self, repeat_s: float, wall_s: Callable[[], float]) -> None:
        self._repeat_s, self._wall_s = repeat_s, wall_s
        self.here = Here()
        self.open: dict[str, Open] = {}

    def happened(self, fact: Fact, now_s: float) -> list[Message]:
        """Something has happened once; [] when the same was told a short while ago."""
        known = self.open.get(fact.key)
        again_s = self._repeat_s or HAPPENED_S
        if known is not None and not known.lasting and now_s - known.said_s < again_s:
            self.open[fact.key] = replace(known, more=known.more + 1, text=fact.text)
            return []
        more = known.more if known is not None else 0
        opened = self._opened(fact, now_s, lasting=False, told=True)
        if fact.item:  # without one every such fact is news
            self._keep(opened)
        return [self._message(opened, Phase.ONCE, count=more + 1)]

    def forget(self, cause: Cause) -> None:
        """What happened of this cause is past: the next one is told at once."""
        for key in [key for key, found in self.open.items() if found.cause is cause and not found.lasting]:
            del self.open[key]

    def look(self, holds: Iterable[Fact], known: frozenset[Cause], now_s: float, *, speaks: bool) -> list[Message]:
        """What lasts now. known: causes of which the absence of a fact means that it is over. speaks: this server tells what
        both see."""
        messages: list[Message] = []
        held = {fact.key: fact for fact in holds}
        for key, fact in held.items():
            messages += self._held(self.open.get(key), fact, now_s, speaks or not KINDS[fact.cause].shared)
        for key, found in list(self.open.items()):
            if key in held or not found.lasting or found.cause not in known:
                continue
            if found.gone_s is None:
                self.open[key] = replace(found, gone_s=now_s)
            elif now_s - found.gone_s >= SETTLE_S:
                del self.open[key]
                messages += [self._resolved(found, found.gone_s)] if found.told else []
        return messages

    def _held(self, known: Open | None, fact: Fact, now_s: float, speaks: bool) -> list[Message]:
        if known is None or not known.lasting:
            opened = self._opened(fact, now_s, lasting=True, told=speaks)
            if not self._keep(opened):
                return []
            return [self._message(opened, Phase.RAISED)] if speaks else []
        title, text = one_line(fact.title, TITLE_CHARS_MAX), one_line(fact.text, TEXT_CHARS_MAX)
        known = replace(known, title=title, text=text, rule=fact.rule, epoch=fact.epoch, gone_s=None)
        self.open[known.key] = known
        if not self._repeat_s or now_s - known.said_s < self._repeat_s:
            return []
        self.open[known.key] = replace(known, said_s=now_s, told=known.told or speaks)
        if not speaks:
            return []
        if not known.told:
            return [self._message(known, Phase.RAISED)]
        return [self._message(replace(known, text=f"{known.text} {_lasted(known, now_s)}"), Phase.REPEATED)]

    def _opened(self, fact: Fact, now_s: float, *, lasting: bool, told: bool) -> Open:
        return Open(
            key=fact.key,
            incident_id=secrets.token_hex(4),
            cause=fact.cause,
            title=one_line(fact.title, TITLE_CHARS_MAX),
            text=one_line(fact.text, TEXT_CHARS_MAX),
            rule=fact.rule,
            epoch=fact.epoch,
            severity=fact.severity or KINDS[fact.cause].severity,
            lasting=lasting,
            told=told,
            begun_s=now_s,
            begun_wall_s=self._wall_s(),
            said_s=now_s,
        )

    def _keep(self, opened: Open) -> bool:
        """False: there is no room; what happened makes room for what lasts."""
        if len(self.open) >= OPEN_MAX:
            passing = [key for key, found in self.open.items() if not found.lasting]
            if not passing:
                return False
            del self.open[passing[0]]
        self.open[opened.key] = opened
        return True

    def _resolved(self, found: Open, gone_s: float) -> Message:
        over = replace(found, text=f"{_lasted(found, gone_s)} It was: {found.text}")
        return self._message(replace(over, severity=Severity.INFO), Phase.RESOLVED)

    def _message(self, found: Open, phase: Phase, count: int = 1) -> Message:
        text = f"{found.text} ({count} of these since the last message)" if count > 1 else found.text
        return Message(
            message_id=secrets.token_hex(6),
            incident_id=found.incident_id,
            cause=found.cause,
            phase=phase,
            severity=found.severity,
            title=found.title,
            text=one_line(text, TEXT_CHARS_MAX),
            server=self.here.server,
            address=self.here.address,
            instance=self.here.instance,
            at_wall_s=self._wall_s(),
            rule=found.rule,
            epoch=found.epoch,
            count=count,
        )

    # --- over a restart -------------------------------------------------------------------------------------------

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(found) for found in self.open.values()]

    def resume(self, rows: Iterable[Mapping[str, Any]], now_s: float, *, same_boot: bool) -> None:
        """Go on with what was kept. After a reboot its moments count from now, and what happens again is news."""
        for row in rows:
            try:
                moments = {name: float(row[name]) for name in ("begun_s", "begun_wall_s", "said_s")}
                gone_s = None if row["gone_s"] is None else float(row["gone_s"])
                words = {"cause": Cause(row["cause"]), "severity": Severity(row["severity"]), "more": int(row["more"])}
                found = Open(**{**row, **moments, **words, "gone_s": gone_s})
            except (KeyError, TypeError, ValueError):
                continue  # of another version: it begins anew if it still lasts
            if not same_boot and not found.lasting:
                continue
            if not same_boot:
                found = replace(found, begun_s=now_s, said_s=now_s, gone_s=None, whole=False)
            self.open[found.key] = found


def _lasted(found: Open, until_s: float) -> str:
    at_least = "" if found.whole else "at least "
    return f"It has lasted {at_least}{max(0.0, until_s - found.begun_s):.0f} s."


def make_test(here: Here, actor: str, wall_s: float) -> Message:
    """What the test button and ``ft alerts test`` send."""
    return Message(
        message_id=secrets.token_hex(6),
        incident_id=secrets.token_hex(4),
        cause=Cause.TEST,
        phase=Phase.TEST,
        severity=Severity.INFO,
        title="Test of the alerts",
        text=one_line(f"This is a test, asked for by {actor}. Nothing has happened.", TEXT_CHARS_MAX),
        server=here.server,
        address=here.address,
        instance=here.instance,
        at_wall_s=wall_s,
    )
