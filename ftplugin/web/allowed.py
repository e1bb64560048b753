"""Who may ask the monitor, where FT_MONITOR_ALLOW names networks: these, this host, and both servers of the pair.

The node API is not limited by address: it believes signatures alone, and a server with a new address must reach it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from flask import Response

from ftplugin.core.settings import SettingsError, parse_address
from ftplugin.extension import Portal
from ftplugin.pairing.secrets import Network

REFUSED = "address"


def barred(ft: Portal, environ: Mapping[str, Any]) -> Response | None:
    """403 for an address that may not ask; None for one that may. Without FT_MONITOR_ALLOW it looks at nothing."""
    if not ft.config.monitor_allow:
        return None
    remote = environ.get("REMOTE_ADDR") or ""
    if may_ask(ft, remote):
        return None
    ft.refuse(REFUSED, f"{remote or 'an unknown address'} may not ask the monitor (FT_MONITOR_ALLOW)")
    return Response("this address may not ask (FT_MONITOR_ALLOW)\n", status=403, content_type="text/plain")


def may_ask(ft: Portal, remote: str) -> bool:
    """Whether the address ``remote`` may ask; the settings are looked at only when the networks do not hold it."""
    try:
        address = plain(remote)
    except ValueError:
        return False
    if address.is_loopback or within(address, ft.config.monitor_allow):
        return True
    settings = ft.settings.cached()[1]
    for text in (ft.config.own_address, settings.server1_address, settings.server2_address):
        try:
            if text and plain(parse_address("address", text).host) == address:
                return True
        except (SettingsError, ValueError):
            continue  # one that cannot be read lets nobody in
    return False


def plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IP address without its scope; IPv4 inside IPv6 as IPv4. Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
