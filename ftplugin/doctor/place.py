"""Which server this is, whether its address is here, its configuration read, and whether its own portal answers there."""

from __future__ import annotations

import difflib
import ipaddress
import os
import pathlib
import tomllib
from collections.abc import Mapping

from ftplugin import interfaces, protocol
from ftplugin.config import DEFAULTS
from ftplugin.core.terms import Designation, Tri

from .finding import Answers, Finding, Place, Report, Subject
from .portal_http import FAILURES, Heard, fetch, hear

OTHER_KEYS = ("FT_CONFIG_FILE",)  # of no node's configuration
KEY_LIKENESS = 0.85


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


def keys(where: Place) -> list[Finding]:
    """No key FT_* is misspelt: what nobody reads is no error where it is read, and its default is in force."""
    return misspelt(os.environ)


def misspelt(environ: Mapping[str, str]) -> list[Finding]:
    """Of the file that FT_CONFIG_FILE names, and of the environment where a key comes close to a real one."""
    report, path = Report(id="server.config", subject=Subject.SERVER), environ.get("FT_CONFIG_FILE", "")
    given = set(tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8"))) if path else set[str]()
    findings = []
    for name in sorted(name for name in {*given, *environ} - {*DEFAULTS, *OTHER_KEYS} if name.startswith("FT_")):
        meant = difflib.get_close_matches(name, DEFAULTS, 1, KEY_LIKENESS)
        if meant or name in given:
            todo = f"Write {meant[0]}." if meant else "Remove it, or see the table of keys in docs/install.md."
            findings.append(report.warning(f"Nobody reads {name}{f' ({path})' if name in given else ''}.", todo))
    return findings


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


def own_commands(where: Place) -> list[Finding]:
    """Commands of the other server reach this one."""
    return _commands(where, where.me, Report(id="server.commands", subject=Subject.SERVER))


def peer_commands(where: Place) -> list[Finding]:
    """Commands of this server reach the other one."""
    return _commands(where, where.me.other, Report(id="peer.commands", subject=Subject.PEER))


def _commands(where: Place, whose: Designation, report: Report) -> list[Finding]:
    """The node API answers itself. The monitor answers before all functions of the portal, the node API after them: behind a
    log-in every heartbeat is good, and no command arrives. A portal that is silent is the finding of others."""
    address, path, config = where.address_of(whose), where.path("node/state"), where.portal.config
    if not config.secret_keys:
        return []
    ask = {protocol.ASK_HEADER: protocol.make_ask(config.secret_keys, where.me, protocol.new_nonce())}
    try:
        page = fetch(address, path, where.limit_s, ask, config.tls)
    except FAILURES:
        return []
    if page.headers.get("content-type", "").startswith("application/json"):
        return [report.ok(f"Nothing answers before the node API at {address.url}: commands arrive.")]
    to = f" to {page.headers['location']}" if "location" in page.headers else ""
    found = f"At {address.url}{path} something else answers (HTTP status {page.status}{to}): no command arrives."
    todo = "Let what answers there first (a log-in in front of the portal, TRUSTED_HOSTS) leave out this path: docs/install.md."
    return [report.wrong(found, todo)]
