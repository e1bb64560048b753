"""HAProxy 2.2 or later, on a host of its own."""

from __future__ import annotations

from .plan import File, Follow, Plan, commented, header, host_port, ms

TITLE = "HAProxy"
SWITCH_LINES = ("on-marked-down", "shutdown-sessions")


def make(plan: Plan) -> tuple[File, ...]:
    """``haproxy.cfg``. Of a pair with https the connections go through as they are: certificates stay on the servers."""
    cannot = [
        "keep a second HAProxy in step: for two of them, put keepalived in front (its own export is for servers)."
    ]
    if plan.follow is Follow.LEAD and not plan.failback:
        cannot.append("remember across its own restart that users were on server #2.")
    if plan.https and not plan.options.ca_file:
        cannot.append("verify the servers' certificates without --ca-file.")
    head = header(plan, TITLE, tuple(cannot), ("FT_MONITOR_ALLOW, if set, must name this host.",))
    return (File(name="haproxy.cfg", text=commented(head) + _general(plan) + _frontend(plan) + _backend(plan)),)


def _general(plan: Plan) -> str:
    mode = "tcp" if plan.https else "http"
    return (
        "global\n    maxconn 2000\n\n"
        f"defaults\n    mode {mode}\n    timeout connect {ms(plan.connect_s)}\n    timeout client 30s\n"
        f"    timeout server 30s\n    timeout check {ms(plan.timeout_s)}\n    retries 2\n    option redispatch\n\n"
    )


def _frontend(plan: Plan) -> str:
    lines = [f"bind {host_port(plan.vip)}", "default_backend ft_nodes"]
    if not plan.https:
        lines += ["option forwardfor", "http-response set-header X-Served-By %[srv_name]"]
    return "frontend ft_vip\n" + "".join(f"    {line}\n" for line in lines) + "\n"


def _backend(plan: Plan) -> str:
    lines = ["option httpchk", f"http-check send meth GET uri {plan.path} ver HTTP/1.1 hdr Host {host_port(plan.vip)}"]
    lines.append(f"http-check expect rstring ^{plan.begin}" if plan.begin else "http-check expect status 200")
    lines.append("http-check send-state")
    if plan.follow is Follow.LEAD and not plan.failback:
        lines += ["stick-table type integer size 1 nopurge", "stick on int(1)"]
    check = ["check", "inter", ms(plan.interval_s)]
    check += ["fall", str(plan.fall), "rise", str(plan.rise), *SWITCH_LINES]
    if plan.https:
        check += ["check-ssl", "verify"]
        check += ["required", "ca-file", plan.options.ca_file] if plan.options.ca_file else ["none"]
    for number, address in enumerate(plan.servers, 1):
        backup = " backup" if number == 2 and plan.follow is Follow.LEAD else ""
        lines.append(f"server server{number} {host_port(address)} {' '.join(check)}{backup}")
    return "backend ft_nodes\n" + "".join(f"    {line}\n" for line in lines)
