"""Dual ownership: a service here and somebody else own the same thing, as a call manager's dynamic mode lets them.

The service says so in its status (``also_owned``). This raises the alarm and ends it; nothing is switched for it: which
server is to stop is decided by X1, by the lease and by the guard, and a third owner is none of the pair's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading
from ftplugin.history.records import DUAL_OWNER, DUAL_OWNER_OVER

from .ports import Ports
from .switch_run import service_facts

SAY_AGAIN_S = 10.0  # what is owned twice may change with every port: one line of the log in this time
DOCUMENT = "services"


@dataclass(kw_only=True)
class _Conflict:
    since_s: float
    since_wall_s: float
    claims: tuple[tuple[str, str], ...]
    said: tuple[tuple[str, str], ...]
    said_s: float


def services_document(
    readings: Sequence[ServiceReading], alarms: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What page and command line show of the services. ``alarms``: as ``OwnershipAlarm.look`` gives them."""
    found: dict[str, dict[str, Any]] = {}
    for r in readings:
        found[r.name] = {key: value for key, value in service_facts(r).items() if key != "name"}
        if r.name in alarms:
            found[r.name]["dual"] = dict(alarms[r.name])
    return found


class OwnershipAlarm:
    """Of the tick worker; told of every look at the services."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._conflicts: dict[str, _Conflict] | None = None

    def look(self, readings: Sequence[ServiceReading]) -> dict[str, dict[str, Any]]:
        """Begin, keep and end the alarms. Service -> what the document "services" says of its alarm.

        A service that does not answer, or answers without a word about it, leaves its alarm as it was: unknown is not
        over. A dead one and one in standby own nothing.
        """
        if self._conflicts is None:
            self._conflicts = self._resumed()
        for reading in readings:
            gone = reading.state in (ServiceState.DEAD, ServiceState.STANDBY)
            claims = () if gone else reading.also_owned
            if claims:
                self._held(reading.name, claims)
            elif claims is not None:
                self._over(reading.name)
        return {name: self._told(conflict) for name, conflict in self._conflicts.items()}

    def _told(self, conflict: _Conflict) -> dict[str, Any]:
        since = {"since_s": conflict.since_s, "since_wall_s": conflict.since_wall_s}
        return {**since, "boot_id": self._ports.clock.boot_id, "also_owned": [list(x) for x in conflict.claims]}

    def _resumed(self) -> dict[str, _Conflict]:
        """After a restart of the worker: what it last published, so that no alarm is begun twice or never ended."""
        clock, found = self._ports.clock, {}
        for name, value in (self._ports.runtime.fetch(DOCUMENT) or {}).items():
            said = value.get("dual") if isinstance(value, Mapping) else None
            if not isinstance(said, Mapping) or said.get("boot_id") != clock.boot_id:
                continue
            try:
                claims = tuple((str(what), str(owner)) for what, owner in said["also_owned"])
                since = {"since_s": float(said["since_s"]), "since_wall_s": float(said["since_wall_s"])}
            except (KeyError, TypeError, ValueError):
                continue  # of another version; the watchdog must go on, and the alarm begins anew if it still holds
            if claims:
                found[str(name)] = _Conflict(claims=claims, said=claims, said_s=clock.now_s(), **since)
        return found

    def _held(self, service: str, claims: tuple[tuple[str, str], ...]) -> None:
        assert self._conflicts is not None
        clock, known = self._ports.clock, self._conflicts.get(service)
        if known is None:
            now_s = clock.now_s()
            self._conflicts[service] = _Conflict(
                since_s=now_s, since_wall_s=clock.wall_s(), claims=claims, said=claims, said_s=now_s
            )
            self._say(service, claims)
            owners = sorted({owner for _, owner in claims})
            self._keep(DUAL_OWNER, service=service, owners=owners, count=len(claims))
            return
        known.claims = claims
        if claims != known.said and clock.now_s() - known.said_s >= SAY_AGAIN_S:
            known.said, known.said_s = claims, clock.now_s()
            self._say(service, claims)

    def _say(self, service: str, claims: tuple[tuple[str, str], ...]) -> None:
        from ftplugin.status.ownership import claims_text  # brings the whole status page along: 0.6 MiB in each worker

        self._ports.log.report("watchdog", f"ALARM: service {service}: {claims_text(claims)}")

    def _over(self, service: str) -> None:
        assert self._conflicts is not None
        known = self._conflicts.pop(service, None)
        if known is None:
            return
        lasted_s = round(self._ports.clock.now_s() - known.since_s, 1)
        text = f"service {service} is not owned twice any more, after {lasted_s:.1f} s"
        self._ports.log.report("watchdog", text)
        self._keep(DUAL_OWNER_OVER, service=service, lasted_s=lasted_s)

    def _keep(self, name: str, **facts: Any) -> None:
        clock = self._ports.clock
        self._ports.log.event(name, wall_s=clock.wall_s(), at_s=clock.now_s(), boot_id=clock.boot_id, **facts)
