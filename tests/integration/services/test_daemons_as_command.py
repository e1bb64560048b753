"""Real daemons under the command controller, by Debian's start-stop-daemon: redis-server, and a Celery beat."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import sys
from typing import Any

import pytest
import redis

from ftplugin.core.terms import ServiceState as S
from workers.adapters.services import build

from ..adapters.conftest import RedisProcess, free_port, wait_until
from .conftest import alive, becomes

PROGRAM = shutil.which("start-stop-daemon", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs start-stop-daemon, which is part of Debian's dpkg")


def daemon(folder: pathlib.Path, name: str, *command: str) -> Any:
    """As docs/services.md shows it: the exit codes of --status are those that the controller reads."""
    pid = ["--pidfile", str(folder / f"{name}.pid")]
    start = [PROGRAM, "--start", "--oknodo", "--background", "--make-pidfile", *pid, "--chdir", str(folder)]
    stop = [PROGRAM, "--stop", "--oknodo", "--retry", "TERM/2/KILL/1", "--remove-pidfile", *pid]
    table = {"name": name, "kind": "command", "start": [*start, "--exec", command[0], "--", *command[1:]], "stop": stop}
    table |= {"status": [PROGRAM, "--status", *pid], "start_limit_s": 10.0, "stop_limit_s": 4.0}
    return build([table], folder)[0]


def test_redis_server_owns_only_while_it_is_promoted(tmp_path: pathlib.Path) -> None:
    server, port = shutil.which("redis-server"), free_port()
    if server is None:
        pytest.skip("needs redis-server")
    service = daemon(tmp_path, "redis", server, "--port", str(port), "--save", "", "--dir", str(tmp_path))
    client = redis.Redis(port=port, socket_timeout=1, socket_connect_timeout=1)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    try:
        assert service.status().state is S.STANDBY and not answers()
        service.promote(4, 2.5)
        becomes(service, S.ACTIVE)
        wait_until(answers, 5, "redis answers")
        pid = int((tmp_path / "redis.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        becomes(service, S.DEAD)
        service.restart(True)
        service.promote(4, 2.5)
        becomes(service, S.ACTIVE)
        wait_until(answers, 5, "redis answers again")
        assert service.demote(5).state is S.STANDBY and not answers()
    finally:
        service.demote(1 << 40)


APP = """
from celery import Celery
app = Celery(broker="{url}")
app.conf.beat_schedule = {{"each": {{"task": "report", "schedule": 0.3}}}}
app.conf.broker_transport_options = {{"socket_timeout": 2}}
"""


def test_celery_beat_of_ones_own_application_sends_only_while_it_is_promoted(
    tmp_path: pathlib.Path, redis_process: RedisProcess
) -> None:
    (tmp_path / "shop.py").write_text(APP.format(url=redis_process.url))
    beat = [
        "-m",
        "celery",
        "-A",
        "shop",
        "beat",
        "--max-interval",
        "1",
        "-s",
        str(tmp_path / "schedule"),
        "--pidfile=",
    ]
    service = daemon(tmp_path, "beat", sys.executable, *beat)
    client = redis_process.client()
    try:
        assert service.status().state is S.STANDBY
        service.promote(4, 2.5)
        becomes(service, S.ACTIVE)
        wait_until(lambda: client.llen("celery") >= 2, 30, "beat sends")
        pid = int((tmp_path / "beat.pid").read_text())
        assert service.demote(5).state is S.STANDBY
        assert not alive(pid), "whoever is gone sends nothing more"
    finally:
        service.demote(1 << 40)
