"""What moves the VIP: HAProxy on a host of its own, keepalived on both nodes, or an agent as a service of the pair."""

from __future__ import annotations

import math
import pathlib
import shutil
from typing import Any

from .config import ADDRESS_STOP_S, ClusterConfig, SetupError


def haproxy(config: ClusterConfig, directory: pathlib.Path) -> tuple[str, ...]:
    """Write haproxy.cfg, which follows the role at T and t; the command."""
    inter_ms, check_ms = round(config.interval_s * 1000), round(config.timeout_s * 1000)
    fast_ms = max(50, inter_ms // 4)  # a server that is down may have become active: downinter is short too
    servers = "\n".join(
        f"    server server{n} {config.address(f'node{n}')}:{config.portal_port} check inter {inter_ms}ms"
        f" fastinter {fast_ms}ms downinter {fast_ms}ms fall 2 rise 1 on-marked-down shutdown-sessions"
        for n in (1, 2)
    )
    path = directory / "haproxy.cfg"
    path.write_text(
        "global\n    maxconn 256\n    nbthread 1\n\n"
        "defaults\n    mode http\n    timeout connect 1s\n    timeout client 30s\n    timeout server 30s\n"
        f"    timeout check {check_ms}ms\n    retries 2\n    option redispatch\n\n"
        f"frontend vip\n    bind {config.vip}\n    default_backend nodes\n"
        "    http-response set-header X-Served-By %[srv_name]\n\n"
        "backend nodes\n    option httpchk\n"
        f"    http-check send meth GET uri {config.balancer_uri} ver HTTP/1.1 hdr Host vip\n"
        f"    http-check expect status 200\n{servers}\n"
    )
    return shutil.which("haproxy") or "haproxy", "-db", "-f", str(path)


def keepalived(config: ClusterConfig, directory: pathlib.Path, number: int) -> tuple[str, ...]:
    """Write keepalived.conf: the node that answers 200 to the balancer's question has the VIP; the command.

    Unicast, so that no switch needs to know multicast; without a weight a failed question takes the VIP away.
    Raises SetupError when keepalived or curl is missing.
    """
    program, curl = shutil.which("keepalived"), shutil.which("curl")
    if program is None or curl is None:
        raise SetupError("an own floating address needs keepalived and curl on the PATH; install both packages")
    own, peer = config.address(f"node{number}"), config.address(f"node{3 - number}")
    ask = f"{curl} -fsS -m {config.timeout_s:g} -o /dev/null http://{own}:{config.portal_port}{config.balancer_uri}"
    path = directory / "keepalived.conf"
    path.write_text(
        f"global_defs {{\n    router_id server{number}\n    script_user root\n    enable_script_security\n"
        "    vrrp_version 3\n}\n\n"
        f'vrrp_script role {{\n    script "{ask}"\n    interval {config.interval_s:g}\n'
        f"    timeout {max(1, math.ceil(config.timeout_s))}\n    rise 1\n    fall 2\n    init_fail\n}}\n\n"
        f"vrrp_instance vip {{\n    state BACKUP\n    interface {config.interface}\n    virtual_router_id 51\n"
        f"    priority {101 - number}\n    advert_int {config.interval_s:g}\n    unicast_src_ip {own}\n"
        f"    unicast_peer {{\n        {peer}\n    }}\n"
        f"    virtual_ipaddress {{\n        {config.address('vip')}/32 dev {config.interface}\n    }}\n"
        "    track_script {\n        role\n    }\n}\n"
    )
    path.chmod(0o600)
    pids = ("-p", f"{directory}/keepalived.pid", "-r", f"{directory}/vrrp.pid")
    return program, "--dont-fork", "--log-console", "--vrrp", "-f", str(path), *pids


def floating_address(config: ClusterConfig) -> dict[str, Any]:
    """The service that carries the VIP: the node that owns it has the address, and tells the LAN by gratuitous ARP."""
    params = {"ip": config.address("vip"), "cidr_netmask": "32", "nic": config.interface, "arp_interval": 100}
    table = {"name": "vip", "kind": "ocf", "agent": "ocf:heartbeat:IPaddr2", "params": params, "after": ["cti"]}
    return table | {"start_limit_s": 10.0, "stop_limit_s": ADDRESS_STOP_S}
