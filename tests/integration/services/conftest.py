"""Real parts for the controllers, and agents that misbehave on purpose."""

from __future__ import annotations

import os
import pathlib
import stat
from typing import Any

import pytest

from ftplugin.core.terms import ServiceState as S
from ftplugin.core.view import ServiceReading
from tests.parts import alive  # noqa: F401 - the tests beside this file take it from here
from workers.adapters.services import build

from ..adapters.conftest import make_redis, redis_process, wait_until

__all__ = ["make_redis", "redis_process"]  # fixtures of the adapters' tests that are used here too

OCF = pathlib.Path("/usr/lib/ocf")

needs_agents = pytest.mark.skipif(
    not (OCF / "resource.d/heartbeat/Dummy").exists(), reason="needs Debian's package resource-agents"
)

META = """<?xml version="1.0"?>
<resource-agent name="X" version="1.0">
<parameters>
 <parameter name="folder" required="1"><content type="string"/></parameter>
 <parameter name="count"><content type="integer" default="3"/></parameter>
 <parameter name="fast"><content type="boolean" default="false"/></parameter>
 <parameter name="manner"><content type="select" default="a"><option value="a"/><option value="b"/></content></parameter>
</parameters>
<actions>
 <action name="start" timeout="20s"/><action name="stop" timeout="20s"/>
 <action name="monitor" depth="0" timeout="20s"/><action name="monitor" depth="10" timeout="20s"/>%s
</actions>
</resource-agent>"""
PROMOTABLE = '<action name="promote" timeout="20s"/><action name="demote" timeout="20s"/>'

# a file says how each action ends: "3" an exit code, "hang", "slow"; without one it works, with the state in another file
SCRIPT = """#!/bin/sh
folder=$OCF_RESKEY_folder
[ "$1" = meta-data ] && exec cat <<'END'
@META@
END
env >"$folder/environ.$1"
state=$(cat "$folder/state" 2>/dev/null)
if [ -e "$folder/$1" ]; then
  manner=$(cat "$folder/$1")
  if [ "$manner" = hang ]; then sleep 60 & echo $! >"$folder/child"; wait; fi
  if [ "$manner" = slow ]; then sleep 0.5; else echo "told to fail"; exit "$manner"; fi
fi
case "$1" in
start) [ -n "$state" ] || echo started >"$folder/state";;
stop) rm -f "$folder/state";;
promote) echo promoted >"$folder/state";;
demote) echo started >"$folder/state";;
monitor) case "$state" in promoted) exit 8;; started) exit 0;; *) exit 7;; esac;;
validate-all) exit 0;;
*) exit 3;;
esac
"""


class Agent:
    """An agent of the tests' own, ``ocf:test:X``; ``does`` says how an action ends from now on."""

    def __init__(self, folder: pathlib.Path, meta: str = "", promotable: bool = False) -> None:
        self.folder = folder
        self.root = folder / "ocf"
        self.path = self.root / "resource.d/test/X"
        self.path.parent.mkdir(parents=True)
        self.write(SCRIPT.replace("@META@", meta or META % (PROMOTABLE if promotable else "")))

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def does(self, action: str, manner: str | None) -> None:
        if manner is None:
            (self.folder / action).unlink()
        else:
            (self.folder / action).write_text(manner)

    @property
    def state(self) -> str:
        file = self.folder / "state"
        return file.read_text().strip() if file.exists() else ""

    def environ(self, action: str) -> dict[str, str]:
        lines = (self.folder / f"environ.{action}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def table(self, **more: Any) -> dict[str, Any]:
        first: dict[str, Any] = {"name": "x", "kind": "ocf", "agent": "ocf:test:X", "ocf_root": str(self.root)}
        first |= {"params": {"folder": str(self.folder)}, "start_limit_s": 5.0, "stop_limit_s": 2.0}
        return first | more

    def service(self, **more: Any) -> Any:
        return build([self.table(**more)], self.folder)[0]


@pytest.fixture
def agent(tmp_path: pathlib.Path) -> Agent:
    return Agent(tmp_path)


@pytest.fixture
def promotable(tmp_path: pathlib.Path) -> Agent:
    return Agent(tmp_path, promotable=True)


def becomes(service: Any, state: S, limit_s: float = 10.0) -> ServiceReading:
    """The reading once the service is in that state."""
    seen: list[ServiceReading] = []

    def there() -> bool:
        seen.append(service.status())
        return seen[-1].state is state

    wait_until(there, limit_s, lambda: f"{state}; it is {seen[-1]}")
    return seen[-1]


def script(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text(text)
    os.chmod(path, 0o755)
    return path
