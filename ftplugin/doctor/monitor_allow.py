"""FT_MONITOR_ALLOW against the balancer: a list that leaves it out takes both servers away from the users."""

from __future__ import annotations

from ftplugin.core.settings import SettingsError, parse_address
from ftplugin.web.allowed import REFUSED, plain, within

from .finding import Finding, Place, Report, Subject


def check(where: Place) -> list[Finding]:
    """The VIP is in the list, and nobody was refused for an address."""
    networks = where.portal.config.monitor_allow
    if not networks:
        return []
    report = Report(id="balancer.allowed", subject=Subject.BALANCER)
    shown, findings = ", ".join(map(str, networks)), []
    try:
        vip = (
            plain(parse_address("vip_address", where.settings.vip_address).host) if where.settings.vip_address else None
        )
    except (SettingsError, ValueError):
        vip = None
    if vip is not None and not within(vip, networks):
        todo = "Add the address from which the balancer asks, perhaps not the VIP. 'ft log' names who was refused."
        findings.append(report.warning(f"FT_MONITOR_ALLOW ({shown}) does not hold the VIP {vip}.", todo))
    refused = where.portal.runtime.refused().get(REFUSED, 0)
    if refused:
        todo = "Look in 'ft log' for the addresses; add the balancer's to FT_MONITOR_ALLOW."
        found = f"{refused} questions to the monitor were refused for their address since Redis was started."
        findings.append(report.warning(found, todo))
    return findings or [report.ok(f"FT_MONITOR_ALLOW ({shown}) holds the VIP, and nobody was refused.")]
