"""The two portals as processes, under the WSGI server that is asked for; also for the benchmark."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from ..web.conftest import RedisProcess, free_port
from .pair import Pair, Pen, portal_config

ROOT = pathlib.Path(__file__).parents[3]
START_LIMIT_S = 40.0
PACKAGE = "tests.integration.standby"
COMMANDS = {
    "waitress": ("-m", f"{PACKAGE}.site_app", "waitress", "{address}"),
    "gunicorn": (
        *("-m", "gunicorn", "--bind", "{address}", "--workers", "1", "--threads", "6", "--log-level", "critical"),
        f"{PACKAGE}.site_app:create_app()",
    ),
    "gevent": ("-m", f"{PACKAGE}.gevent_server", "gevent", "{address}"),
}


@contextlib.contextmanager
def running(kind: str, folder: pathlib.Path) -> Iterator[tuple[Pair, int, int]]:
    """(pair, process of server1, process of server2); server1 is active."""
    redis = RedisProcess(folder)
    addresses = [f"127.0.0.{number}:{free_port()}" for number in (1, 2)]
    started: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as stack:
        stack.callback(redis.kill)
        pens = []
        for number, address in enumerate(addresses, start=1):
            config = portal_config(number, address, redis.port, folder)
            pens.append(Pen(number, config))
            pens[-1].settings(*addresses)
            command = [sys.executable, *(part.format(address=address) for part in COMMANDS[kind])]
            log = stack.enter_context((folder / f"server{number}.log").open("wb"))
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"TEST_PORTAL": json.dumps(config)},
                start_new_session=True,
                stdout=log,
                stderr=log,
            )
            started.append(process)
            stack.callback(_end, process)
        for address, process in zip(addresses, started):
            _wait_for(address, process, folder)
        pair = Pair(addresses[0], addresses[1], pens[0], pens[1])
        pair.one_is_active()
        yield pair, _server(started[0].pid), _server(started[1].pid)


def _server(pid: int) -> int:
    """The process that serves: gunicorn's is a child."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def _wait_for(address: str, process: subprocess.Popen[bytes], folder: pathlib.Path) -> None:
    host, _, port = address.rpartition(":")
    end_s = time.monotonic() + START_LIMIT_S
    while True:
        try:
            socket.create_connection((host, int(port)), 0.2).close()
            return
        except OSError:
            if time.monotonic() > end_s or process.poll() is not None:
                raise RuntimeError(f"a portal did not start; see {folder}") from None
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return


def forget_peak(pid: int) -> float:
    """Let the peak of the resident memory begin anew (proc(5), clear_refs); what it is now, in MiB."""
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_mib(pid)


def peak_mib(pid: int) -> float:
    """The most memory that was resident since ``forget_peak``, MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/status has no line VmHWM:")
