"""F5 BIG-IP, as commands of tmsh."""

from __future__ import annotations

from .plan import File, Follow, Plan, commented, header, whole_s


def make(plan: Plan) -> tuple[File, ...]:
    """``ft.tmsh``: run it as ``tmsh < ft.tmsh``. Raises SettingsError for intervals that are not near whole seconds."""
    interval_s = whole_s("interval_s", plan.interval_s, "F5 BIG-IP")
    timeout_s = plan.fall * interval_s + 1  # of its monitors: from the last good answer until a server is out
    up_s = (plan.rise - 1) * interval_s
    cannot = [
        f"limit one question: a server is out {timeout_s} s after its last good answer, however many were asked.",
    ]
    stay = plan.follow is Follow.LEAD and not plan.failback
    if stay:
        cannot.append("stay at server #2 by itself: manual-resume keeps #1 out until you resume it.")
    if plan.https:
        cannot.append("verify the servers' certificates in its monitor.")
    todo = (
        "paste into tmsh, look at it with: list ltm virtual ft_vip; then: save sys config.",
        "let the servers' way back to the users lead over the BIG-IP, or keep source-address-translation automap.",
        "FT_MONITOR_ALLOW, if set, must name the self addresses of the BIG-IP.",
    )
    kind = "https" if plan.https else "http"
    good = plan.begin or "HTTP/1\\\\.[01] 200"  # looked for in head and body
    host = f"[{plan.vip.host}]" if ":" in plan.vip.host else plan.vip.host
    send = f"GET {plan.path} HTTP/1.1\\\\r\\\\nHost: {host}\\\\r\\\\nConnection: close\\\\r\\\\n\\\\r\\\\n"
    lines = [
        f"create ltm monitor {kind} ft_monitor defaults-from {kind} interval {interval_s} timeout {timeout_s}"
        f' time-until-up {up_s} manual-resume {"enabled" if stay else "disabled"}'
        f' send "{send}" recv "{good}"'.replace("\\\\", "\\"),
    ]
    members = ""
    for number, address in enumerate(plan.servers, 1):
        lines.append(f"create ltm node ft_server{number} address {address.host}")
        group = f" priority-group {20 - 10 * (number - 1)}" if plan.follow is Follow.LEAD else ""
        members += f" ft_server{number}:{address.port} {{{group} }}"
    least = " min-active-members 1" if plan.follow is Follow.LEAD else ""
    lines += [
        f"create ltm pool ft_nodes monitor ft_monitor{least} service-down-action reset members add {{{members} }}",
        f"create ltm virtual ft_vip destination {_destination(plan)} ip-protocol tcp pool ft_nodes"
        " profiles add { fastL4 } source-address-translation { type automap }",
    ]
    text = commented(header(plan, "F5 BIG-IP (tmsh)", tuple(cannot), todo)) + "\n".join(lines) + "\n"
    return (File(name="ft.tmsh", text=text),)


def _destination(plan: Plan) -> str:
    """IPv6 addresses have colons: their port stands behind a dot."""
    return f"{plan.vip.host}{'.' if ':' in plan.vip.host else ':'}{plan.vip.port}"
