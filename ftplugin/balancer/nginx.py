"""NGINX, open source and Plus.

The open source NGINX has no active checks. To follow the role it asks /active itself for each request (auth_request), keeps
the answer for T/4 at most, and sends the request on only to the server that says yes: so it is never later than that. A
server that does not connect is left alone for T/2; a local server that says 503 stands in for it.
"""

from __future__ import annotations

import math

from .plan import File, Follow, Plan, commented, header, host_port, ms, whole_s

STAND_IN = "127.0.0.1:18503"
CACHE_S_MAX = 10
OUT_S_MAX = 10
CERTIFICATE = "/etc/nginx/ft.crt"
KEY = "/etc/nginx/ft.key"


def open_source(plan: Plan) -> tuple[File, ...]:
    """``ft.conf``, for ``conf.d``."""
    cannot = ["look at a body: the open source NGINX has no active checks (Plus has)."]
    if plan.follow is Follow.LEAD:
        cannot += [
            "ask by itself: it counts users' requests that fail, and tries each of them on server #2 at once.",
            "move before a user asks, or notice application errors.",
            "stay at server #2: it goes back to server #1 after N T. This asks for failback in the settings.",
        ]
        if plan.begin:
            cannot.append("see IPSWS=KO: with application error on let it follow the role (--follow role).")
    else:
        cannot.append(
            f"notice a switch without a request: it asks with users' requests, at most each {_cache_s(plan)} s."
        )
    todo = ("the file to /etc/nginx/conf.d/ft.conf, then nginx -t and nginx -s reload.", *_todo(plan))
    text = commented(header(plan, "NGINX, open source", tuple(cannot), todo))
    text += _leading(plan) if plan.follow is Follow.LEAD else _following(plan)
    return (File(name="ft.conf", text=text),)


def plus(plan: Plan) -> tuple[File, ...]:
    """``ft.conf`` with active checks. Raises SettingsError."""
    cannot = ["do without its paid edition: health_check and match are of NGINX Plus alone."]
    if plan.follow is Follow.LEAD:
        cannot.append("stay at server #2: it goes back as soon as #1 is good. This asks for failback in the settings.")
    todo = ("the file to /etc/nginx/conf.d/ft.conf, then nginx -t and nginx -s reload.", *_todo(plan))
    match = "    status 200;\n" + (f'    body ~ "^{plan.begin}";\n' if plan.begin else "")
    backup = " backup" if plan.follow is Follow.LEAD else ""
    first, second = (host_port(address) for address in plan.servers)
    return (
        File(
            name="ft.conf",
            text=commented(header(plan, "NGINX Plus", tuple(cannot), todo))
            + f"match ft_good {{\n{match}}}\n\n"
            + "upstream ft_nodes {\n    zone ft_nodes 64k;\n"
            + f"    server {first} max_fails=0;\n    server {second} max_fails=0{backup};\n}}\n\n"
            + _server(plan)
            + f"    location / {{\n{_forward(plan, 'ft_nodes')}    }}\n"
            + "    location @ft_check {\n"
            + f"        proxy_pass {_scheme(plan)}://ft_nodes;\n        proxy_connect_timeout {ms(plan.timeout_s)};\n"
            + f"        proxy_read_timeout {ms(plan.timeout_s)};\n"
            + f"        health_check uri={plan.path} interval={ms(plan.interval_s)} fails={plan.fall} passes={plan.rise}"
            + " match=ft_good;\n    }\n}\n",
        ),
    )


def _todo(plan: Plan) -> tuple[str, ...]:
    files = (f"certificate and key of the VIP to {CERTIFICATE} and {KEY}.",) if plan.https else ()
    unverified = plan.https and not plan.options.ca_file
    return (
        *files,
        *(("give --ca-file: the servers' certificates are not verified.",) if unverified else ()),
        "FT_MONITOR_ALLOW, if set, must name this host.",
    )


def _scheme(plan: Plan) -> str:
    return "https" if plan.https else "http"


def _tls(plan: Plan) -> str:
    return f" ssl;\n    ssl_certificate {CERTIFICATE};\n    ssl_certificate_key {KEY}" if plan.https else ""


def _server(plan: Plan) -> str:
    verify = ""
    if plan.https and plan.options.ca_file:
        verify = f"    proxy_ssl_trusted_certificate {plan.options.ca_file};\n    proxy_ssl_verify on;\n"
    return f"server {{\n    listen {host_port(plan.vip)}{_tls(plan)};\n{verify}    client_max_body_size 0;\n\n"


def _forward(plan: Plan, upstream: str) -> str:
    return (
        f"        proxy_pass {_scheme(plan)}://{upstream};\n"
        "        proxy_set_header Host $http_host;\n"
        "        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"
        "        proxy_set_header X-Forwarded-Proto $scheme;\n"
        f"        proxy_connect_timeout {ms(plan.connect_s)};\n"
    )


def _leading(plan: Plan) -> str:
    """Passive: failures of users' requests are counted."""
    out_s = whole_s("interval_s", plan.fall * plan.interval_s, "NGINX")
    first, second = (host_port(address) for address in plan.servers)
    return (
        f"upstream ft_nodes {{\n    server {first} max_fails={plan.fall} fail_timeout={out_s}s;\n"
        f"    server {second} backup;\n}}\n\n"
        + _server(plan)
        + f"    location / {{\n{_forward(plan, 'ft_nodes')}        proxy_next_upstream error timeout;\n    }}\n}}\n"
    )


def _cache_s(plan: Plan) -> int:
    return min(CACHE_S_MAX, math.floor(plan.interval_s))


def _following(plan: Plan) -> str:
    cache_s, out_s = _cache_s(plan), max(1, min(OUT_S_MAX, math.floor(plan.settings.interval_s / 2)))
    text = ""
    if cache_s:
        text += "proxy_cache_path /var/cache/nginx/ft keys_zone=ft_role:1m max_size=1m inactive=1m;\n\n"
    for number, address in enumerate(plan.servers, 1):
        text += (
            f"upstream ft_server{number} {{\n    server {host_port(address)} max_fails=1 fail_timeout={out_s}s;\n"
            f"    server {STAND_IN} backup;  # stands in for a server that does not connect, and says no\n}}\n\n"
        )
    text += f"server {{\n    listen {STAND_IN}{_tls(plan)};\n    access_log off;\n    return 503;\n}}\n\n"
    text += _server(plan) + "    recursive_error_pages on;\n"
    for number in (1, 2):
        after = "@ft_server2" if number == 1 else "@ft_nobody"
        place = "/" if number == 1 else "@ft_server2"
        text += (
            f"    location {place} {{\n        auth_request /.ft/server{number};\n"
            f"        error_page 500 502 504 = {after};\n"
            f"{_forward(plan, f'ft_server{number}')}        add_header X-Served-By server{number};\n    }}\n"
        )
    text += "    location @ft_nobody {\n        add_header Retry-After 1 always;\n        return 503;\n    }\n"
    for number in (1, 2):
        text += _question(plan, number, cache_s)
    return text + "}\n"


def _question(plan: Plan, number: int, cache_s: int) -> str:
    text = (
        f"    location = /.ft/server{number} {{\n        internal;\n"
        f"        proxy_pass {_scheme(plan)}://ft_server{number}{plan.path};\n"
        "        proxy_pass_request_headers off;\n        proxy_pass_request_body off;\n"
        '        proxy_set_header Content-Length "";\n'
        f"        proxy_connect_timeout {ms(plan.connect_s)};\n        proxy_read_timeout {ms(plan.timeout_s)};\n"
    )
    if cache_s:
        text += (
            f"        proxy_cache ft_role;\n        proxy_cache_key server{number};\n"
            f"        proxy_cache_valid 200 503 {cache_s}s;\n        proxy_cache_lock on;\n"
            "        proxy_ignore_headers Cache-Control Expires;\n"
        )
    return text + "    }\n"
