"""keepalived 2.0 or later: VRRP on the two servers themselves, or LVS on a host of its own.

One script asks for both, since keepalived's own HTTP check follows neither a body's beginning nor a limit below one second.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ftplugin.core.settings import SettingsError

from .plan import File, Follow, Plan, commented, header, linux_interface, prefix_length, whole_s

ROUTER_ID = 51
PRIORITY = (100, 99)
ADVERT_S_MIN, ADVERT_S_MAX = 0.05, 1.0  # silence of three of them moves the VIP
SCRIPT = """\
#!/bin/sh
# ft-check URL SECONDS [BEGIN]: 0 when URL answers with status 200 and a body that begins with BEGIN, redirects not followed.
# Give it to root, not writable for others: chown root: ft-check; chmod 755 ft-check. It needs curl.
answer=$(curl --globoff --noproxy '*' --silent --max-time "$2" --write-out '\\n%{http_code}' VERIFY "$1") || exit 1
case $answer in
    "$3"*'
200') exit 0 ;;
esac
exit 1
"""


def paced(plan: Plan) -> Plan:
    """As keepalived can ask on the servers: every whole second, so below T = 8 s the first bad answer must do (role).

    Raises SettingsError for an interval that is not near whole seconds (lead).
    """
    if plan.follow is Follow.LEAD:
        return replace(plan, interval_s=whole_s("interval_s", plan.interval_s, "keepalived"))
    interval_s = max(1, math.floor(plan.interval_s))
    return replace(plan, interval_s=interval_s, fall=plan.fall if interval_s > 1 else 1)


def vrrp(plan: Plan) -> tuple[File, ...]:
    """A file for each server, and the script of both. Raises SettingsError."""
    plan = paced(plan)
    own_port = [a.port for a in plan.servers]
    if set(own_port) != {plan.vip.port}:
        raise SettingsError(
            "vip_address",
            f"must have the port of the servers, since the address is their own: {own_port[0]}",
            plan.vip.port,
        )
    if ":" in plan.vip.host and any(":" not in a.host for a in plan.servers):
        raise SettingsError("vip_address", "VRRP needs server addresses of the VIP's family, IPv6", plan.vip.host)
    return (*(File(name=f"keepalived.server{n}.conf", text=_vrrp(plan, n)) for n in (1, 2)), script(plan))


def _vrrp(plan: Plan, number: int) -> str:
    cannot = [
        "tell a cut of the LAN between the servers from a dead server: then both hold the VIP, whatever the pair decides.",
    ]
    if plan.settings.interval_s < 2:
        cannot.append("ask more often than once a second: with T below 2 s it may be later than one interval.")
    if plan.follow is Follow.LEAD and plan.settings.vip_test:
        cannot.append("be followed: who holds the VIP reaches itself, so the VIP test says 'not known' (spec 5.3).")
    todo = (
        f"this file to server #{number} as /etc/keepalived/keepalived.conf, ft-check to {plan.options.script_path} on both.",
        f"a virtual_router_id that no other VRRP of the LAN has, instead of {ROUTER_ID}, the same on both servers.",
        "FT_MONITOR_ALLOW, if set, must name the server's own address.",
    )
    own, peer = (plan.servers[i].host for i in (number - 1, 2 - number))
    preempt = "    nopreempt\n" if plan.follow is Follow.LEAD and not plan.failback else ""
    card, bits = linux_interface(plan), prefix_length(plan)
    advert_s = max(ADVERT_S_MIN, min(ADVERT_S_MAX, plan.settings.interval_s / 10))
    return (
        commented(header(plan, f"keepalived (VRRP) for server #{number}", tuple(cannot), todo))
        + f"global_defs {{\n    router_id server{number}\n    script_user {plan.options.script_user}\n"
        "    enable_script_security\n    vrrp_version 3\n}\n\n"
        f'vrrp_script ft {{\n    script "{_words(plan, number)}"\n    interval {plan.interval_s:g}\n'
        f"    timeout {math.ceil(plan.timeout_s) + 1}\n    rise {plan.rise}\n    fall {plan.fall}\n    init_fail\n}}\n\n"
        f"vrrp_instance ft_vip {{\n    state BACKUP\n{preempt}    interface {card}\n    virtual_router_id {ROUTER_ID}\n"
        f"    priority {PRIORITY[number - 1]}\n    advert_int {advert_s:.3g}\n    unicast_src_ip {own}\n"
        f"    unicast_peer {{\n        {peer}\n    }}\n"
        f"    virtual_ipaddress {{\n        {plan.vip.host}/{bits} dev {card}\n    }}\n"
        "    track_script {\n        ft\n    }\n}\n"
    )


def _words(plan: Plan, number: int) -> str:
    """Command line of the question, run without a shell."""
    words = [plan.options.script_path, plan.url(number), f"{plan.timeout_s:g}"]
    return " ".join([*words, plan.begin] if plan.begin else words)


def script(plan: Plan) -> File:
    """``ft-check``, the question of both kinds."""
    verify = f"--cacert {plan.options.ca_file}" if plan.options.ca_file else "--insecure" if plan.https else ""
    return File(name="ft-check", text=SCRIPT.replace(" VERIFY", f" {verify}" if verify else ""))


def lvs(plan: Plan) -> tuple[File, ...]:
    """A director on a host of its own: connections are routed in the kernel. Raises SettingsError."""
    families = {":" in address.host for address in (*plan.servers, plan.vip)}
    if len(families) > 1:
        raise SettingsError("vip_address", "LVS by NAT needs VIP and servers of one family", plan.vip.host)
    cannot = [
        "keep connections that were open: those to a server that goes out are cut.",
        "be turned to another server by an HTTP answer alone: it forwards packets and reads nothing.",
    ]
    if plan.follow is Follow.LEAD and not plan.failback:
        raise SettingsError("failback", "LVS always goes back to server #1: follow the role, or choose failback", "off")
    todo = (
        f"ft-check to {plan.options.script_path}; the VIP on this host; ip_forward on.",
        "let the servers' way back to the users lead over this host (NAT).",
        "FT_MONITOR_ALLOW, if set, must name this host.",
    )
    text = commented(header(plan, "keepalived (LVS)", tuple(cannot), todo))
    text += f"global_defs {{\n    router_id ft_lvs\n    script_user {plan.options.script_user}\n"
    text += "    enable_script_security\n}\n\n"
    text += f"virtual_server {plan.vip.host} {plan.vip.port} {{\n    delay_loop {plan.interval_s:g}\n    lvs_sched rr\n"
    text += "    lvs_method NAT\n    protocol TCP\n    alpha\n"
    shown = (1, 2) if plan.follow is Follow.ROLE else (1,)
    for number in shown:
        text += _real(plan, number)
    if plan.follow is Follow.LEAD:
        text += f"    sorry_server {plan.servers[1].host} {plan.servers[1].port}\n"
    return File(name="keepalived.conf", text=text + "}\n"), script(plan)


def _real(plan: Plan, number: int) -> str:
    address = plan.servers[number - 1]
    return (
        f"    real_server {address.host} {address.port} {{\n        weight 1\n        MISC_CHECK {{\n"
        f'            misc_path "{_words(plan, number)}"\n            misc_timeout {math.ceil(plan.timeout_s) + 1}\n'
        f"            delay_loop {plan.interval_s:g}\n            retry {plan.fall - 1}\n"
        f"            delay_before_retry {plan.interval_s:g}\n        }}\n    }}\n"
    )
