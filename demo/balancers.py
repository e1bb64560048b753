"""What moves the VIP: HAProxy on a host of its own, keepalived on both nodes, or an agent as a service of the pair."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

from ftplugin.balancer.exports import make
from ftplugin.balancer.plan import Options
from ftplugin.core.settings import parse

from .config import ADDRESS_STOP_S, ClusterConfig, SetupError


def _files(config: ClusterConfig, name: str, **options: Any) -> dict[str, str]:
    """The product's own export, name -> text, from the settings that the cluster starts with."""
    given = Options(follow="role", url_prefix=config.url_prefix, **options)
    return {file.name: file.text for file in make(name, parse(config.seed()), 0, given)}


def haproxy(config: ClusterConfig, directory: pathlib.Path) -> tuple[str, ...]:
    """Write haproxy.cfg, which follows the role; the command."""
    path = directory / "haproxy.cfg"
    path.write_text(_files(config, "haproxy")["haproxy.cfg"])
    return shutil.which("haproxy") or "haproxy", "-db", "-f", str(path)


def keepalived(config: ClusterConfig, directory: pathlib.Path, number: int) -> tuple[str, ...]:
    """Write keepalived.conf and ft-check: the active node has the VIP; the command.

    Raises SetupError when keepalived or curl is missing.
    """
    program = shutil.which("keepalived")
    if program is None or shutil.which("curl") is None:
        raise SetupError("an own floating address needs keepalived and curl on the PATH; install both packages")
    script = directory / "ft-check"
    options = {
        "interface": config.interface,
        "script_path": str(script),
        "script_user": "root",
    }  # no other may look here
    files = _files(config, "keepalived", **options)
    script.write_text(files["ft-check"])
    script.chmod(0o755)
    path = directory / "keepalived.conf"
    path.write_text(files[f"keepalived.server{number}.conf"])
    path.chmod(0o600)
    pids = ("-p", f"{directory}/keepalived.pid", "-r", f"{directory}/vrrp.pid")
    return program, "--dont-fork", "--log-console", "--vrrp", "-f", str(path), *pids


def floating_address(config: ClusterConfig) -> dict[str, Any]:
    """The service that carries the VIP: the node that owns it has the address, and tells the LAN by gratuitous ARP."""
    params = {"ip": config.address("vip"), "cidr_netmask": "32", "nic": config.interface, "arp_interval": 100}
    table = {"name": "vip", "kind": "ocf", "agent": "ocf:heartbeat:IPaddr2", "params": params, "after": ["cti"]}
    return table | {"start_limit_s": 10.0, "stop_limit_s": ADDRESS_STOP_S}
