"""LAN reference hosts: each is asked as the agent asks it, and what the agent itself makes of the LAN."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import urlsplit

import icmplib
from icmplib.exceptions import ICMPLibError, SocketPermissionError

from ftplugin import interfaces
from ftplugin.core.settings import SettingsError, parse_address
from ftplugin.core.terms import Designation
from ftplugin.state import AGENT, agent_age_s

from .finding import Answers, Finding, Place, Report, Subject

ICMP_TODO = (
    "Run as root or with CAP_NET_RAW, set net.ipv4.ping_group_range to include this group, or use a reference such as "
    "tcp:10.0.0.1:80; what counts is the user of the tick worker."
)
SILENT_TODO = "Take a host that answers whenever the LAN is there, and name several in lan_references."
PINGS, PING_PERIOD_S = 3, 0.1


def _wanted(where: Place) -> list[str]:
    if where.settings.lan_references:
        return list(where.settings.lan_references)
    gateway = interfaces.default_gateway()
    return [gateway] if gateway else []


def references(where: Place) -> list[Finding]:
    """There is a reference at all, and none is one of the pair."""
    report = Report(id="lan.references", subject=Subject.LAN)
    found = _wanted(where)
    if not found:
        todo = "Set lan_references: hosts on this LAN that are always there, never one of the two servers."
        return [report.wrong("There is no reference host: none is set and there is no default gateway.", todo)]
    own = {}
    for name, text in _own_addresses(where):
        try:
            own[ipaddress.ip_address(parse_address(name, text).host)] = name
        except SettingsError:
            continue  # shown by the settings' own rules
    findings = []
    for text in found:
        host = _host_of(text)
        whose = own.get(ipaddress.ip_address(host)) if host else None
        if whose:
            todo = "Name another host in lan_references: this one says nothing about the LAN, and hides a cut."
            findings.append(report.wrong(f"Reference {text} is {whose}.", todo))
    source = "set in lan_references" if where.settings.lan_references else "the default gateway"
    return findings or [report.ok(f"Asked is {', '.join(found)} ({source}).")]


def _own_addresses(where: Place) -> Iterator[tuple[str, str]]:
    for designation in Designation:
        whose = "this server itself" if designation is where.me else "the other server"
        yield whose, where.settings.address_of(designation)
    if where.settings.vip_address:
        yield "the VIP", where.settings.vip_address


def _host_of(text: str) -> str:
    if text.startswith("tcp:"):
        return urlsplit("//" + text[4:]).hostname or ""
    return text.partition("%")[0]


def one_by_one(where: Place) -> Iterator[tuple[str, Subject, Callable[[Place], list[Finding]]]]:
    """A check for each reference, so that none waits for another."""
    for text in _wanted(where):
        yield f"lan.reference {text}", Subject.LAN, partial(_asked, text=text)


def _asked(where: Place, text: str) -> list[Finding]:
    report = Report(id=f"lan.reference {text}", subject=Subject.LAN)
    return [_tcp(where, report, text) if text.startswith("tcp:") else _icmp(where, report, text)]


def _tcp(where: Place, report: Report, text: str) -> Finding:
    parts = urlsplit("//" + text[4:])
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), where.limit_s):
            return report.ok(f"{text} answers.")
    except (ConnectionRefusedError, ConnectionResetError):
        return report.ok(f"{text} answers: it refuses the connection, so the host is there.")
    except (OSError, ValueError) as error:
        return report.wrong(f"{text} does not answer: {error}.", SILENT_TODO)


def _icmp(where: Place, report: Report, text: str) -> Finding:
    left_s = where.limit_s - PINGS * PING_PERIOD_S
    for privileged in (True, False):
        try:
            host = icmplib.ping(
                text, count=PINGS, interval=PING_PERIOD_S, timeout=max(0.1, left_s / PINGS), privileged=privileged
            )
        except SocketPermissionError:
            continue
        except (ICMPLibError, OSError, ValueError) as error:
            return report.wrong(f"{text} cannot be asked: {error}.", SILENT_TODO)
        if host.packets_received == 0:
            return report.wrong(f"{text} does not answer {PINGS} ICMP echo requests.", SILENT_TODO)
        if host.packets_received < PINGS:
            lost = PINGS - host.packets_received
            return report.warning(
                f"{text} left {lost} of {PINGS} requests unanswered.", "Look at the LAN, or take another."
            )
        return report.ok(f"{text} answers in {host.avg_rtt:.1f} ms.")
    return report.wrong(f"{text} cannot be asked: this user may not send ICMP.", ICMP_TODO)


def agent_view(where: Place, answers: Answers) -> list[Finding]:
    """What the running agent makes of the LAN: an agent that cannot tell can never fail over."""
    report = Report(id="lan.agent", subject=Subject.LAN)
    lan, clock = answers.document("view").get("lan"), where.portal.clock
    age_s = agent_age_s(answers.document(AGENT), clock.boot_id, clock.now_s())
    if not isinstance(lan, dict) or age_s is None or age_s > where.timing.stale_s:
        return [report.unknown("The agent has not said lately what it makes of the LAN.", "Start the agent first.")]
    carrier, reference = str(lan.get("carrier", "unknown")), str(lan.get("reference", "unknown"))
    found = f"The agent says: carrier {carrier}, reference hosts {reference}"
    if (carrier, reference) == ("yes", "yes"):
        return [report.ok(f"{found}.")]
    if "no" in (carrier, reference):
        return [report.wrong(f"{found}: the LAN is down.", "Look at the link and at the reference hosts.")]
    return [report.wrong(f"{found}: so this server can never fail over.", f"See the references above. {ICMP_TODO}")]
