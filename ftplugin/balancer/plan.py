"""What a balancer has to know of the pair, checked once, so that no export writes a value that it does not understand.

Two ways, of which spec 3 and guide 5.2 give the URLs:

    role    the balancer follows the pair: /active, status 200. It asks four times in T and believes the second bad answer
            and the first good one, so that it has noticed a switchover within T; the pair has waited N ticks already.
    lead    the balancer decides by itself, as the pair does: mod=NONE and status 200, with application error mod=IPSWS and
            the body, every T, with limit t, N times. With the VIP test the pair follows (rule F2).

Every value that comes from outside is one of: an IP address, a number, or a text that ``_TEXTS`` allows. All of them are safe
in each of the formats; nothing is escaped, what does not fit is refused with its field.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum

from ftplugin.core.settings import Address, Settings, SettingsError, ip_of, parse_address

ROLE_ASKS, ROLE_S_MIN = 4, 0.1  # questions in T, and how many seconds apart at least
ROLE_FALL, ROLE_RISE = 2, 1
CONNECT_S_MAX = 3.0  # of a user's connection: the kernel sends the first packet again after 1 s
CHARS_MAX = 200


class Follow(StrEnum):
    """Who decides where users go: the pair, or the balancer."""

    ROLE = "role"
    LEAD = "lead"


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the settings do not know. Empty or None: by the settings.

    :param follow: "role" or "lead"; empty: "lead" with the VIP test, since the pair then follows the balancer.
    :param vip: instead of the setting "IP Balancer VIP address", which stays empty with Windows NLB (guide 3.1.1).
    :param failback: whether users go back to server #1 when it is good again; None: the setting.
    :param interface: network card that gets the VIP; empty: eth0 (keepalived), Ethernet (Windows NLB).
    :param prefix_length: of the VIP's subnet, in bits; None: that address alone (keepalived), 24 (Windows NLB).
    :param full_name: full internet name of a Windows NLB cluster.
    :param script_path: where ``ft-check`` lies on the servers (keepalived). :param script_user: who runs it there.
    :param ca_file: authority that has signed the servers' certificates; empty: certificates are not verified.
    :param url_prefix: FT_URL_PREFIX of the servers.
    """

    follow: str = ""
    vip: str = ""
    failback: bool | None = None
    interface: str = ""
    prefix_length: int | None = None
    full_name: str = "vip.example.com"
    script_path: str = "/etc/keepalived/ft-check"
    script_user: str = "nobody"
    ca_file: str = ""
    url_prefix: str = "/ft"


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file of an export."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All that an export writes, checked. Times in seconds; ``begin``: what the body begins with, empty: any body."""

    revision: int
    options: Options
    settings: Settings
    follow: Follow
    failback: bool
    vip: Address
    servers: tuple[Address, Address]
    path: str
    begin: str
    interval_s: float
    timeout_s: float
    fall: int
    rise: int

    @classmethod
    def of(cls, settings: Settings, revision: int, options: Options = Options()) -> Plan:
        """Raises SettingsError naming the field of the settings or options that no balancer can be given."""
        _check_texts(options)
        follow = _follow(settings, options)
        servers = _address("server1_address", settings.server1_address), _address(
            "server2_address", settings.server2_address
        )
        if servers[0].scheme != servers[1].scheme:
            raise SettingsError(
                "server2_address",
                "must have the scheme of server #1: both http, or both https",
                settings.server2_address,
            )
        if servers[0] == servers[1]:
            raise SettingsError("server2_address", "must differ from that of server #1", settings.server2_address)
        field = "vip" if options.vip else "vip_address"
        vip = _address(field, options.vip or settings.vip_address)
        if vip.host in (servers[0].host, servers[1].host) and vip.port in (servers[0].port, servers[1].port):
            raise SettingsError(field, "must not be the address of a server", options.vip or settings.vip_address)
        role, prefix = follow is Follow.ROLE, options.url_prefix
        mode, begin = ("IPSWS", "IPSWS=OK") if settings.application_error else ("NONE", "")
        return cls(
            revision=revision,
            options=options,
            settings=settings,
            follow=follow,
            failback=settings.failback if options.failback is None else options.failback,
            vip=vip,
            servers=servers,
            path=f"{prefix}/active" if role else f"{prefix}/monitor?mod={mode}",
            begin="" if role else begin,
            interval_s=max(ROLE_S_MIN, settings.interval_s / ROLE_ASKS) if role else settings.interval_s,
            timeout_s=settings.timeout_s,
            fall=ROLE_FALL if role else settings.threshold,
            rise=ROLE_RISE if role else settings.threshold,
        )

    @property
    def https(self) -> bool:
        return self.servers[0].scheme == "https"

    @property
    def connect_s(self) -> float:
        """Limit of a user's connection to a server."""
        return min(self.timeout_s, CONNECT_S_MAX)

    def url(self, number: int) -> str:
        """What is asked of server ``number``, 1 or 2, whole."""
        return self.servers[number - 1].url + self.path


_NAME = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_CARD = r"[A-Za-z0-9_.#()-]"
_TEXTS = {
    "interface": (rf"|[A-Za-z0-9]{_CARD}*( {_CARD}+)*", "letters, digits and . _ - # ( ), single blanks between"),
    "full_name": (rf"{_NAME}(\.{_NAME})+", "a name with a domain, as vip.example.com"),
    "script_path": (r"(/[A-Za-z0-9._-]+)+", "an absolute path of letters, digits and . _ -"),
    "script_user": (r"[a-z_][a-z0-9_-]{0,31}", "a user's name"),
    "ca_file": (r"((/[A-Za-z0-9._-]+)+)?", "empty or an absolute path of letters, digits and . _ -"),
    "url_prefix": (r"((/[A-Za-z0-9._~-]+)+)?", "a path as /ft, of letters, digits and . _ ~ -"),
}


def _check_texts(options: Options) -> None:
    for field, (pattern, wanted) in _TEXTS.items():
        value = getattr(options, field)
        if len(value) > CHARS_MAX or not re.fullmatch(pattern, value, re.ASCII):
            raise SettingsError(field, f"must be {wanted}", value[:CHARS_MAX])


def _follow(settings: Settings, options: Options) -> Follow:
    if not options.follow:
        return Follow.LEAD if settings.vip_test else Follow.ROLE
    try:
        return Follow(options.follow)
    except ValueError:
        raise SettingsError("follow", f"must be {' or '.join(Follow)}, or empty", options.follow[:CHARS_MAX]) from None


def _address(field: str, text: str) -> Address:
    if not text:
        raise SettingsError(field, "is empty; a balancer needs it")
    found = parse_address(field, text)
    ip = ip_of(found.host)
    if "%" in found.host or ip.is_unspecified or ip.is_multicast:
        raise SettingsError(field, "must be the address of one host, without a scope such as %eth0", text)
    return Address(found.scheme, str(ip), found.port)


def prefix_length(plan: Plan, default: int | None = None) -> int:
    """Of the VIP's subnet, in bits. Raises SettingsError."""
    longest = ipaddress.ip_address(plan.vip.host).max_prefixlen
    given = plan.options.prefix_length
    found = given if given is not None else longest if default is None else default
    if not 1 <= found <= longest:
        raise SettingsError("prefix_length", f"must be from 1 to {longest} for this VIP", given)
    return found


def linux_interface(plan: Plan) -> str:
    """The network card's name as Linux takes it. Raises SettingsError."""
    name = plan.options.interface or "eth0"
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", name, re.ASCII):
        raise SettingsError("interface", "must be a network card of Linux: at most 15 letters, digits and . _ -", name)
    return name


def whole_s(field: str, value_s: float, program: str) -> int:
    """Seconds of a program that counts in whole ones, at least 1. Raises SettingsError where rounding would mislead."""
    found = round(value_s)
    if found < 1 or abs(found - value_s) > value_s / 4:
        raise SettingsError(field, f"{program} counts in whole seconds: choose a larger interval", f"{value_s:g} s")
    return found


def host_port(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def header(plan: Plan, title: str, cannot: tuple[str, ...], todo: tuple[str, ...] = ()) -> list[str]:
    """Comment lines at the top of every file, without the sign of a comment."""
    good = f"the body begins with {plan.begin}" if plan.begin else "HTTP status 200"
    first, second = (address.url for address in plan.servers)
    lines = [
        f"{title}, made from revision {plan.revision} of the Hot Standby settings ({plan.settings.mark}).",
        "Make it anew when the settings change: ft balancer check tells where a file differs from them.",
        f"Servers: #1 {first}, #2 {second}; VIP {plan.vip.url}.",
        f"Asks {plan.path}: good is {good}.",
        f"Every {plan.interval_s:g} s, limit {plan.timeout_s:g} s, out after {plan.fall} bad, in after {plan.rise} good"
        f" (T = {plan.settings.interval_s:g} s, t = {plan.settings.timeout_s:g} s, N = {plan.settings.threshold}).",
        _way(plan),
    ]
    warned = plan.follow is Follow.ROLE and plan.settings.vip_test
    if warned and plan.settings.failback:
        lines.append("WARNING: with VIP test and failback, a balancer that follows the role can never fail back.")
    elif warned:
        lines.append("WARNING: switch the VIP test off: it tells the pair nothing that the pair did not decide itself.")
    if plan.follow is Follow.LEAD and not plan.settings.vip_test:
        lines.append("WARNING: the VIP test is off: the pair does not follow this balancer when it moves users alone.")
    return [*lines, *(f"Cannot: {text}" for text in cannot), *(f"To do: {text}" for text in todo)]


def _way(plan: Plan) -> str:
    if plan.follow is Follow.ROLE:
        return "Follows the role: users go to the active server. Failback is the pair's own setting."
    back = "as soon as it is good again" if plan.failback else "only when server #2 is bad (no failback)"
    return f"Leads: users go to server #1 while it is good, else to #2; back to #1 {back}."


def commented(lines: list[str], sign: str = "#") -> str:
    return "".join(f"{sign} {line}\n" for line in lines) + "\n"


def ms(value_s: float) -> str:
    """``1500ms``."""
    return f"{max(1, round(value_s * 1000))}ms"
