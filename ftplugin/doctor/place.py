"""Which server this is, whether its address is here, and whether its own portal answers there."""

from __future__ import annotations

import ipaddress

from ftplugin import interfaces
from ftplugin.core.terms import Tri

from .finding import Answers, Finding, Place, Report, Subject
from .portal_http import Heard, hear


def not_configured(where: Place) -> Finding:
    """Why it is not known which server this is."""
    report = Report(id="server.address", subject=Subject.SERVER)
    own, error, settings = where.portal.config.own_address, where.settings_error, where.settings
    if error:
        return report.unknown(f"The settings cannot be read: {error}.", "Make the database answer, then look again.")
    if not own:
        return report.wrong("FT_OWN_ADDRESS is empty.", "Set it to the IP address and port of this server's portal.")
    pair = f"server #1 is {settings.server1_address or 'not set'}, server #2 is {settings.server2_address or 'not set'}"
    todo = "Enter both addresses: 'ft settings set server1_address=... server2_address=...'."
    return report.wrong(f"FT_OWN_ADDRESS {own} is neither of the two servers: {pair}.", todo)


def interface(where: Place) -> list[Finding]:
    """The own address is on an interface of this host, and that has a carrier."""
    report = Report(id="server.interface", subject=Subject.SERVER)
    host = where.address_of(where.me).host
    name = interfaces.interface_of(host, interfaces.addresses())
    if name is None:
        todo = "Correct FT_OWN_ADDRESS and the settings, or give this host the address."
        return [report.wrong(f"No interface of this host has its address {host}.", todo)]
    if interfaces.carrier(name) is Tri.NO:
        return [report.wrong(f"{name}, which has {host}, has no carrier.", "Look at the cable, switch port or link.")]
    here = f"This is {where.me}: {where.portal.config.own_address} is on {name}."
    if ipaddress.ip_address(host).is_loopback:
        return [report.ok(f"{here} No other host reaches it there.")]
    return [report.ok(here)]


def ask_own(where: Place) -> Heard:
    """The own portal, asked at its configured address as the agent asks it."""
    paths = (where.path("monitor"), where.path("node/state"))
    config = where.portal.config
    return hear(config.secret_keys, where.me, where.me, where.address_of(where.me), paths, where.limit_s, config.tls)


def portal(where: Place, answers: Answers) -> list[Finding]:
    """The own portal answers at the configured address, and it is this node's."""
    report = Report(id="server.portal", subject=Subject.SERVER)
    heard, url = answers.own, where.address_of(where.me).url
    if heard.state is not None:
        return [report.ok(f"The portal answers at {url} with a signed state.")]
    todo = {
        "silent": "Start the portal, and let it listen at the address and port of FT_OWN_ADDRESS.",
        "status": f"Mount the plugin at FT_URL_PREFIX ({where.portal.config.url_prefix}), with nothing before it.",
        "redirect": "Let the portal's login leave out the pages of the plugin: the monitor must answer without one.",
        "unsigned": "Give portal and workers the same FT_CONFIG_FILE, or the same FT_SECRET_KEYS, and restart both.",
        "unconfigured": "Give portal and workers the same FT_OWN_ADDRESS and FT_DATABASE_URL and restart both.",
        "no state": "Make the Redis of this server answer, and give the portal the same FT_REDIS_URL as the workers.",
    }
    unreadable = "Another program may have this port; restart the portal with this version."
    return [report.wrong(f"The portal at {url}: {heard.problem}.", todo.get(heard.cause, unreadable))]
