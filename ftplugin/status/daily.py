"""The daily restart as the pages and ``ft status`` show it: the next round, what is announced now, how the last part went.

The times follow from the settings and this server's clock alone, so they are shown while an agent is away, too.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftplugin.core.daily import Part, Times, next_round
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Role
from ftplugin.local_time import local_zone
from ftplugin.state import restarting_s

from .plain import mapping, number, text

if TYPE_CHECKING:
    from ftplugin.extension import Portal


def times_of(settings: Settings, wall_s: float, zone: datetime.tzinfo | None = None) -> dict[str, str]:
    """{day, standby_portal, standby_services, active_portal, active_services} of the next round, or the one that runs, in
    local time of this server; {} when none is set. ``wall_s``: seconds since 1970."""
    zone = zone or local_zone()
    found = next_round(wall_s, settings, zone)
    if found is None:
        return {}

    def local(moment_s: float, form: str) -> str:
        return datetime.datetime.fromtimestamp(moment_s, zone).strftime(form)

    times = Times.of(settings)
    turns = {
        f"{role}_{part}": local(found.start_s + times.turn_s(part, role), "%H:%M")
        for role in (Role.STANDBY, Role.ACTIVE)
        for part in Part
    }
    return {"day": local(found.start_s, "%Y-%m-%d"), **turns}


def told(times: Mapping[str, str], standby: str, active: str) -> str:
    """``times_of`` in one line for a terminal. ``standby``, ``active``: who they are."""
    return (
        f"{times['day']}: {standby} portal {times['standby_portal']}, services {times['standby_services']}; "
        f"{active} portal {times['active_portal']}, services {times['active_services']} (local time of this server)"
    )


def lines_of(daily: Mapping[str, Any], active: str | None) -> list[str]:
    """``daily_of`` for a terminal; nothing when no daily restart is set. ``active``: designation, None: nobody known."""
    lines = [
        f"{where} server restarts its portal or services (daily restart), {left_s:.0f} s more at most"
        for where, left_s in (("this", daily["here_s"]), ("the other", daily["there_s"]))
        if left_s > 0
    ]
    if daily["next"]:
        standby = "standby server:" if active is None else "server2" if active == "server1" else "server1"
        only = "" if daily["portal"] else "; on this server the services only, FT_PORTAL is empty"
        lines.append(f"next daily restart {told(daily['next'], standby, active or 'active server:')}{only}")
    if last := daily["last"]:
        how = f"restarted in {last['duration_s'] or 0:.1f} s" if last["ok"] else f"failed: {last['detail']}"
        lines.append(f"last daily restart of this server: {last['part']} {how}")
    return lines


def daily_of(ft: Portal, settings: Settings, document: Mapping[str, Any]) -> dict[str, Any]:
    """``document``: "daily" of this node's Redis.

    next: ``times_of``. portal, services: whether they are restarted on this server. here_s, there_s: so long a restart that
    this or the other server has announced may still take, 0: none. last: {part, ok, detail, duration_s, at_wall_s} or {}.
    """
    now_s, boot_id = ft.clock.now_s(), ft.clock.boot_id
    there = {"boot_id": document.get("boot_id"), "until_s": document.get("peer_until_s")}
    last = mapping(document.get("result"))
    return {
        "next": times_of(settings, ft.clock.wall_s()) if settings.daily_restart else {},
        "portal": bool(ft.config.portal),
        "services": bool(ft.config.services),
        "here_s": restarting_s(document, boot_id, now_s),
        "there_s": restarting_s(there, boot_id, now_s),
        "last": last
        and {
            "part": text(last.get("part"), 20),
            "ok": last.get("ok") is True,
            "detail": text(last.get("detail"), 300),
            "duration_s": number(last.get("duration_s")),
            "at_wall_s": number(last.get("at_wall_s")),
        },
    }
