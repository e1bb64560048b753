"""One node's Redis and portal alone, without agents: for figures that are about the portal."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from demo.cluster import ClusterConfig, free_config
from demo.layout import Secrets, node_group
from ftplugin.clock import SystemClock
from ftplugin.config import NodeConfig
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Role
from ftplugin.store.database import Database
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from ftplugin.store.settings_store import SettingsStore

from .figures import BenchError
from .report import ROOT
from .site import wait_for

LEASE_S = 3600.0
START_LIMIT_S = 20.0
END_LIMIT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Alone:
    """server1 with a lease of an hour and fresh documents, as its agent would keep them."""

    node: NodeConfig
    cluster: ClusterConfig
    runtime: RuntimeStore
    clock: SystemClock

    @property
    def address(self) -> str:
        return self.node.own_address

    def agent_ticked(self) -> None:
        """Write what a healthy active node's agent writes at a tick."""
        clock, now_s = self.clock, self.clock.now_s()
        document = {"tick_s": now_s, "boot_id": clock.boot_id, "healthy": True, "eligible": True, "enabled": True}
        document |= {"stance": "", "switches": 0, "manual_hold": False, "settings_revision": 1, "peer_heard_s": now_s}
        health = {"ok": True, "checked_s": now_s, "boot_id": clock.boot_id, "failed": []}
        record = RoleRecord(
            role=Role.ACTIVE, epoch=2, boot_id=clock.boot_id, deadline_s=now_s + LEASE_S, clear=False
        )
        published = self.runtime.publish("agent", document) and self.runtime.publish("health", health)
        if not (published and self.runtime.write_role(record)):
            raise BenchError("the Redis of the benchmark does not take what an agent writes")


@contextlib.contextmanager
def process(command: list[str], env: dict[str, str], log: pathlib.Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended on the way out."""
    with log.open("ab") as out:
        started = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait(END_LIMIT_S)


@contextlib.contextmanager
def alone(interval_s: float, timeout_s: float, threshold: int) -> Iterator[Alone]:
    """Redis and the demo's portal under its own server, as the demo configures them."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ft-bench-"))
    wanted = ClusterConfig(directory=directory, interval_s=interval_s, timeout_s=timeout_s, threshold=threshold)
    config = free_config(wanted)
    group = node_group(config, Secrets(), 1)
    commands = dict(group.programs)
    node = NodeConfig.from_environment({"FT_CONFIG_FILE": group.env["FT_CONFIG_FILE"]})
    settings = SettingsStore(Database(node.database_url), node.own_address)
    settings.save(config.seed(), "benchmark", override_reason="a benchmark")
    settings.acknowledged(settings.current()[0])
    client, env = connect(node.redis_url), dict(group.env)
    with contextlib.ExitStack() as stack:
        stack.callback(client.close)
        stack.enter_context(process(list(commands["redis"]), env, directory / "redis.log"))
        stack.enter_context(process(list(commands["portal"]), env, directory / "portal.log"))
        found = Alone(node=node, cluster=config, runtime=RuntimeStore(client, Keys(node.prefix)), clock=SystemClock())
        wait_for(lambda: found.runtime.read_role() is not None, START_LIMIT_S, f"Redis answers; see {directory}")
        found.agent_ticked()
        wait_for(lambda: answers(found.address, "/ft/monitor?mod=FT"), START_LIMIT_S, f"the portal answers; see {directory}")
        yield found
    shutil.rmtree(directory)


def answers(address: str, target: str) -> str:
    """Body of one GET, empty without an answer of status 200."""
    connection = http.client.HTTPConnection(address, timeout=1.0)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read().decode("utf-8", "replace")
        return body if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
