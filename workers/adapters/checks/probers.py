"""Has the balancer stopped asking this server? Its silence on one server alone is evidence that this one is cut off from it.

Not a part of the LAN test, for there it would make an outage worse: when the balancer itself dies it is silent on both
servers, and an active one without its peer would demote. As a shared check it counts only where the other server is still
asked, and switches only with the setting *Switch server on application error*.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from ftplugin.balancer.probers import seen
from ftplugin.clock import SystemClock
from ftplugin.health.checks import Degraded
from ftplugin.health.tables import HealthTable

from . import FetchMany

WITNESS = "agent"  # a document that is always there: without it Redis says nothing about anybody


def probers(table: HealthTable, fetch_many: FetchMany) -> Callable[[], str]:
    """Check of kind "probers": failed when all of ``addresses`` have been silent for ``silent_s``, degraded when some have."""
    clock, addresses, silent_s = SystemClock(), table.options["addresses"], table.options["silent_s"]
    began_s = clock.now_s()

    def check() -> str:
        if fetch_many([WITNESS])[WITNESS] is None:
            return Degraded("the node's Redis does not say who asks")
        now_s = clock.now_s()
        ages: dict[str, float] = {}
        for prober in seen(fetch_many, clock.boot_id, now_s):
            address = _plain(prober.address)
            ages[address] = min(prober.age_s, ages.get(address, prober.age_s))
        waited_s = now_s - began_s
        silent = [a for a in addresses if ages.get(a, waited_s) > silent_s]
        said = [_told(a, ages.get(a)) for a in addresses if a in silent or a not in ages]
        text = ", ".join(said)
        return text if len(silent) == len(addresses) else Degraded(text) if said else ""

    return check


def _told(address: str, age_s: float | None) -> str:
    return f"{address} has not asked so far" if age_s is None else f"{address} has not asked for {age_s:.0f} s"


def _plain(address: str) -> str:
    """::ffff:10.0.0.9, as a portal that listens on both families says it, is 10.0.0.9."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address  # a Unix socket
    return str(getattr(found, "ipv4_mapped", None) or found)
