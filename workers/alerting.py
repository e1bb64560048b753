"""Alerts: a thread of the tick worker that sees what happened and has it told, by processes of their own.

It detects nothing: facts come from the decided tick, the documents in the node's Redis and the switch journal. It waits for
nobody: a delivery is a process that is looked at now and then, and that is killed at its limit. While a switch runs on this
node none is started, since loading a library takes CPU time that the switch needs.
"""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftplugin.alerts import kept, page
from ftplugin.alerts.causes import Cause, Fact
from ftplugin.alerts.child import Child
from ftplugin.alerts.facts import Look, TickFacts, lasting_for, speaks
from ftplugin.alerts.facts import of_daily, of_documents, of_drift, of_licence, of_switch
from ftplugin.alerts.incidents import Here, Incidents, make_test
from ftplugin.alerts.message import Message
from ftplugin.alerts.outbox import Outbox
from ftplugin.alerts.targets import Target
from ftplugin.config import NodeConfig
from ftplugin.core.futures import Now
from ftplugin.core.settings import SettingsError, designation_of
from ftplugin.licence.keep import ALARM
from ftplugin.state import DAILY

from .ports import Ports

POLL_S, BUSY_POLL_S = 2.0, 0.2
SLOW_S = 30.0  # journal, licence and balancer are looked at so often
PUBLISH_S = 5.0
DRIFT_HOLD_S = 60.0
SWITCH_S_MAX = 60.0  # a switch that has said nothing for longer holds no delivery back
CHILDREN_MAX = 3
SEEN_MAX = 60
JOURNAL_ROWS = 10
DOCUMENTS = ("agent", "switch", "services", "conflicts", DAILY, page.TEST)
SOURCE = "alerts"


class Alerting:
    """``turn`` is called every ``period_s`` seconds, ``ticked`` after each tick; ``stop`` at the end.

    targets: at least one. recent: the last switches of the journal, newest first, [] when it cannot be read.
    """

    def __init__(
        self,
        *,
        config: NodeConfig,
        targets: Sequence[Target],
        ports: Ports,
        recent: Callable[[int], list[dict[str, Any]]],
    ) -> None:
        self._config, self._ports, self._recent = config, ports, recent
        self._folder = pathlib.Path(config.instance_dir)
        self.outbox = Outbox(targets)
        self.incidents = Incidents(config.alert_repeat_s, ports.clock.wall_s)
        self._ticks = TickFacts()
        self._new: Now | None = None
        self._last: Now | None = None
        self._children: dict[str, Child] = {}
        self._resumed = False
        self._seen: list[str] = []
        self._daily_wall_s = self._began_wall_s = 0.0
        self._slow_s = self._published_s = float("-inf")
        self._drifts: dict[str, float] = {}
        self._wish = ""
        self._complaints: dict[str, str] = {}
        self._kept: object = None
        self._problem = ""
        self._switching_until_s = 0.0

    def period_s(self) -> float:
        """When ``turn`` is to come again, in seconds."""
        return BUSY_POLL_S if self._children else POLL_S

    def ticked(self, last: Now) -> None:
        """The newest tick; an older one that was not looked at yet is dropped."""
        self._new = last

    def stop(self) -> None:
        """End the processes that still send; what they have not said is tried again later."""
        for child in list(self._children.values()):
            child.stop()

    def turn(self) -> None:
        """Take results, look at what is new, start what is due, keep and show it."""
        clock = self._ports.clock
        now_s = clock.now_s()
        documents = self._ports.runtime.fetch_many(DOCUMENTS)
        if not self._resumed and not self._resume(documents, now_s):
            return
        self._collect(now_s)
        if self._new is not None:
            self._last, self._new = self._new, None
            self._add(self.incidents.look(*_pair(self._ticks.look(self._last)), now_s, speaks=speaks(self._last)))
        self._look_at(documents, now_s)
        if now_s - self._slow_s >= SLOW_S:
            self._slow_s = now_s
            self._look_slowly(now_s, answered=documents["agent"] is not None)
        self._start(now_s)
        self._keep(now_s)

    # --- what happened --------------------------------------------------------------------------------------------

    def _look_at(self, documents: Mapping[str, dict[str, Any] | None], now_s: float) -> None:
        boot_id = self._ports.clock.boot_id
        switch = documents["switch"] or {}
        if switch:  # what Redis does not say is not over
            running = switch.get("outcome") == "running" and switch.get("boot_id") == boot_id
            self._switching_until_s = float(switch.get("updated_s", 0.0)) + SWITCH_S_MAX if running else 0.0
        self._switched([switch], now_s)
        look = of_documents(documents, boot_id)
        self._add(self.incidents.look(*_pair(look), now_s, speaks=speaks(self._last)))
        before_s = self._daily_wall_s
        fact, self._daily_wall_s = of_daily(documents[DAILY], before_s)
        if fact is not None:
            self._add(self.incidents.happened(fact, now_s))
        elif self._daily_wall_s != before_s:
            self.incidents.forget(Cause.DAILY_RESTART)
        wish = page.wish_of(documents[page.TEST], boot_id, now_s)
        if wish is not None and wish[0] != self._wish:
            self._wish = wish[0]
            self._ports.runtime.forget(page.TEST)
            self._add([make_test(self.incidents.here, wish[1], self._ports.clock.wall_s())])

    def _switched(self, switches: Sequence[Mapping[str, Any]], now_s: float) -> None:
        """Tell those that have ended and were not told yet; oldest first."""
        for switch in switches:
            switch_id, outcome = str(switch.get("switch_id") or ""), switch.get("outcome")
            if not switch_id or outcome in ("", "running", None) or switch_id in self._seen:
                continue
            self._see(switch_id)
            fact = of_switch(switch, self.incidents.here.server or "this server")
            if fact is None:
                continue
            if fact.cause is Cause.SWITCH:
                self.incidents.forget(Cause.SWITCH_FAILED)
            self._add(self.incidents.happened(fact, now_s))

    def _look_slowly(self, now_s: float, *, answered: bool) -> None:
        """What costs more than a look into Redis. answered: the node's Redis did; without it nothing is known of balancers."""
        self.incidents.here = self._here()
        self._began_wall_s = min(self._began_wall_s, self._ports.clock.wall_s())  # a clock that was set back
        rows = [row for row in self._recent(JOURNAL_ROWS) if row["started_wall_s"] >= self._began_wall_s]
        self._switched(rows[::-1], now_s)
        looks = [self._licence()]
        if answered:
            looks.append(lasting_for(self._drift(now_s), self._drifts, now_s, DRIFT_HOLD_S))
        for look in looks:
            self._add(self.incidents.look(*_pair(look), now_s, speaks=True))

    def _licence(self) -> Look:
        try:
            mark = (self._folder / ALARM).read_text()
        except FileNotFoundError:
            mark = None
        except (OSError, ValueError):
            return Look()
        return of_licence(mark, datetime.date.today(), self.incidents.here.server)

    def _drift(self, now_s: float) -> Look:
        from ftplugin.balancer.probers import drifted, seen  # half a MiB that a node without alerts does not need

        runtime, (_, settings) = self._ports.runtime, self._ports.settings.current()
        return of_drift(drifted(seen(runtime.fetch_many, self._ports.clock.boot_id, now_s), settings))

    def _see(self, one: str) -> None:
        if one and one not in self._seen:
            self._seen = [*self._seen, one][-SEEN_MAX:]

    def _here(self) -> Here:
        try:
            server = str(designation_of(self._config.own_address, self._ports.settings.current()[1]))
        except SettingsError:
            server = ""
        return Here(server=server, address=self._config.own_address, instance=self._config.prefix)

    # --- sending --------------------------------------------------------------------------------------------------

    def _add(self, messages: Sequence[Message]) -> None:
        clock = self._ports.clock
        for message in messages:
            self.outbox.add(message, clock.now_s(), clock.wall_s())

    def _start(self, now_s: float) -> None:
        if now_s < self._switching_until_s:
            return
        for target, messages in self.outbox.due(now_s, CHILDREN_MAX - len(self._children)):
            self._children[target.key] = Child(target, messages)

    def _collect(self, now_s: float) -> None:
        wall_s = self._ports.clock.wall_s()
        for key, child in list(self._children.items()):
            results = child.results()
            if results is None:
                continue
            del self._children[key]
            for message_id, problem in results.items():
                word = self.outbox.tried(key, message_id, problem, now_s, wall_s)
                self._say(child.target.label, problem, word)

    def _say(self, label: str, problem: str, word: str) -> None:
        """A failed try in FT_REPORT: the first for a reason since the target last took one, and the end."""
        if not problem:
            self._complaints.pop(label, None)
        elif word or problem != self._complaints.get(label):
            self._complaints[label] = problem
            then = "given up" if word else "tried again later"
            self._ports.log.report(SOURCE, f"not delivered to target {label}: {problem}; {then}")

    # --- over a restart, and for the page -------------------------------------------------------------------------

    def _resume(self, documents: Mapping[str, dict[str, Any] | None], now_s: float) -> bool:
        """Take up what the worker's predecessor knew. The first one of all tells nothing of what was before it, so it waits
        for Redis: False."""
        clock = self._ports.clock
        self.incidents.here = self._here()
        found: dict[str, Any] | None = None
        try:
            found = kept.read(self._folder)
        except ValueError as error:
            if str(error) != self._problem:  # asked again until Redis answers
                self._ports.log.report(SOURCE, str(error))
            self._problem = str(error)
        self._resumed = found is not None or self._ports.runtime.read_role() is not None
        if found is None:
            self._began_wall_s = clock.wall_s()
            for switch in (*self._recent(JOURNAL_ROWS), documents["switch"] or {}):
                if switch.get("outcome") not in ("running", None):
                    self._see(str(switch.get("switch_id") or ""))
            self._daily_wall_s = of_daily(documents[DAILY], 0.0)[1]
            return self._resumed
        same = found.get("boot_id") == clock.boot_id
        self.incidents.resume(found["open"], now_s, same_boot=same)
        self.outbox.resume(found["outbox"], now_s, same_boot=same)
        self._seen = [str(one) for one in found["seen"]][-SEEN_MAX:]
        self._daily_wall_s, self._began_wall_s = float(found["daily_wall_s"]), float(found["began_wall_s"])
        return True

    def _keep(self, now_s: float) -> None:
        """Into the file when something has changed but the words of an incident, and for the page every PUBLISH_S."""
        boot_id = self._ports.clock.boot_id
        open_now = [(o.key, o.incident_id, o.said_s, o.gone_s is None, o.more) for o in self.incidents.open.values()]
        marks = (open_now, self.outbox.changes, self._seen, self._daily_wall_s)
        changed = marks != self._kept
        if not changed and now_s - self._published_s < PUBLISH_S:
            return
        if changed:
            document = {
                "boot_id": boot_id,
                "open": self.incidents.to_json(),
                "outbox": self.outbox.to_json(),
                "seen": self._seen,
                "daily_wall_s": self._daily_wall_s,
                "began_wall_s": self._began_wall_s,
            }
            problem = kept.write(self._folder, document)
            self._kept = None if problem else marks
            if problem and problem != self._problem:
                self._ports.log.report(SOURCE, f"what waits would not outlive a restart: {problem}")
            self._problem = problem
        self._published_s = now_s
        known = [
            {"title": o.title, "text": o.text, "begun_wall_s": o.begun_wall_s, "told": o.told, "id": o.incident_id}
            for o in self.incidents.open.values()
            if o.lasting
        ]
        facts = {"at_s": now_s, "boot_id": boot_id, "open": known, "problem": self._problem}
        self._ports.runtime.publish(page.DOCUMENT, facts | self.outbox.shown(now_s))


def _pair(look: Look) -> tuple[tuple[Fact, ...], frozenset[Cause]]:
    return look.holds, look.known
