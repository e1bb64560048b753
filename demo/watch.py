"""What ``make run`` prints: where everything is, what to try, and role changes as they happen."""

from __future__ import annotations

import os
import shlex
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import Cluster

POLL_S = 0.2


def announce(cluster: Cluster) -> None:
    """Print URLs, log-in and commands to try."""
    config = cluster.config
    print("\nPortals      " + "   ".join(f"http://{cluster.address(n)}/ft/" for n in (1, 2)))
    if config.with_balancer:
        print(f"Balancer     http://{config.vip}/ft/   (HAProxy, the VIP)")
    else:
        print("Balancer     none: haproxy is not on the PATH")
    print(f"Log in       user admin, password {cluster.secrets.password}")
    print("Monitor      " + "   ".join(f"http://{cluster.address(n)}/ft/monitor?mod=FT" for n in (1, 2)))
    print(f"Files, logs  {_shown(config.directory)}/node1  node2  outside")
    s = config
    print(f"Settings     T {s.interval_s:g} s, t {s.timeout_s:g} s, N {s.threshold}: a failover takes about ", end="")
    print(f"{s.threshold * s.interval_s + s.timeout_s + s.start_expected_s:.1f} s with the start of the service\n")
    one, two = (_control(cluster, n) for n in ("node1", "node2"))
    print("Try, in another terminal (what is killed is restarted by its supervisor, as on a real host):")
    for what, command in (
        ("see the processes of server #1", f"{one} status"),
        ("kill its portal; it is restarted, no failover if that is soon enough", f"{one} signal KILL portal"),
        ("kill its agent; it is resumed", f"{one} signal KILL tick"),
        ("kill the service; it is restarted, no failover", f"{one} signal KILL cti"),
        ("freeze its workers; the guard lets go, server #2 takes over", f"{one} signal STOP tick switch"),
        ("… and let them run again", f"{one} signal CONT tick switch"),
        ("kill all of server #1 at once, for good", f"pkill -KILL --session {cluster.node(1).session}"),
        ("stop server #1; server #2 takes over", f"{one} stop all"),
        ("start server #1 again; it comes back as standby", f"{one} start all"),
        ("see server #2", f"{two} status"),
        ("ask on the command line", f"FT_CONFIG_FILE={_shown(cluster.config_file(1))} {_python('ft')} status"),
    ):
        print(f"  # {what}\n  {command}")
    print("\nCtrl-C ends everything. Role changes:", flush=True)


def _shown(path: os.PathLike[str]) -> str:
    relative = os.path.relpath(path)
    return shlex.quote(os.fspath(path) if relative.startswith("..") else relative)


def _python(script: str) -> str:
    """A command of this environment, as it is typed."""
    return _shown(os.path.join(os.path.dirname(sys.executable), script))  # type: ignore[arg-type]


def _control(cluster: Cluster, group: str) -> str:
    return f"{_python('supervisorctl')} -c {_shown(cluster.config.directory / group / 'supervisord.conf')}"


def _situation(cluster: Cluster) -> dict[str, str]:
    words = {f"server #{n}": cluster.monitor(n) or "no answer" for n in (1, 2)}
    if cluster.config.with_balancer:
        status, body = cluster.get(cluster.config.vip, "/ft/monitor?mod=FT")
        words["VIP"] = body.strip() if status == 200 else f"HTTP status {status}" if status else "no answer"
    owners = cluster.call_manager(op="owners").get("owners")
    counts: dict[str, int] = {}
    for holders in (owners or {}).values():
        for holder in holders:
            name = holder["node"] + (" (vanished)" if holder["vanished"] else "")
            counts[name] = counts.get(name, 0) + 1
    held = ", ".join(f"{name} owns {count}" for name, count in sorted(counts.items()))
    words["call manager"] = "no answer" if owners is None else held or "no port is owned"
    return words


def watch(cluster: Cluster) -> None:
    """Print each change with its time until KeyboardInterrupt."""
    before: dict[str, str] = {}
    while True:
        now = _situation(cluster)
        for name, word in now.items():
            if before.get(name) != word:
                print(f"{datetime.now():%H:%M:%S.%f}"[:-3] + f"  {name:<13} {word}", flush=True)
        if list(now.values()).count("ACTIVE") - (now.get("VIP") == "ACTIVE") > 1:
            print("                BOTH SERVERS SAY ACTIVE: this is a split-brain, please report it", flush=True)
        before = now
        time.sleep(POLL_S)
