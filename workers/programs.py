"""The start programs: ``python -m workers tick|switch|beat``.

They start the same application as ``celery -A workers`` without its command line, which alone costs 12 MiB a process:

    python -m workers tick      celery -A workers worker -Q ft-tick -n tick@%h
    python -m workers switch    celery -A workers worker -Q ft-switch -n switch@%h
    python -m workers beat      celery -A workers beat

(the workers with --without-gossip --without-mingle --without-heartbeat; the pool is in the configuration.)
With FT_PREFIX=x the queues are ft-x-tick and ft-x-switch. ``tick --beat`` runs beat as a thread of the tick worker.
"""

from __future__ import annotations

import argparse
import ctypes
import signal
import sys
from typing import TYPE_CHECKING, Any, Sequence

from ftplugin.config import ConfigError, NodeConfig

from .lean import load_celery

if TYPE_CHECKING:
    from .node import MakeParts

M_ARENA_MAX = -8  # mallopt(3): the C library gives every thread an own arena of some MiB unless told otherwise
ARENAS = 2
FLOWER_BEAT_S = 30.0  # Flower calls a worker offline after twice this time


def main(arguments: Sequence[str] | None = None, make_parts: MakeParts | None = None) -> int:
    """Run one program until it is told to stop; returns its exit code. make_parts: see ``app.create_app``."""
    options = _parser().parse_args(arguments)
    try:
        config = NodeConfig.from_environment()
    except ConfigError as error:
        print(f"workers: {error}", file=sys.stderr)
        return 78  # EX_CONFIG of sysexits.h
    _limit_arenas()
    load_celery()
    from .app import create_app

    app = create_app(config, make_parts)
    if options.program == "beat":
        return _run_beat(app, options.loglevel)
    app.node.beat_embedded = bool(options.beat)
    return _run_worker(app, options.program, options.loglevel)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers", description="Start one process of this node's agent.")
    parser.add_argument("program", choices=("tick", "switch", "beat"))
    parser.add_argument("--beat", action="store_true", help="tick only: run beat as a thread of this worker")
    parser.add_argument("--loglevel", default="WARNING", choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
    return parser


def _limit_arenas() -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # absent in C libraries without arenas
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)


def _run_worker(app: Any, role: str, loglevel: str) -> int:
    worker = app.Worker(
        hostname=f"{_node_name(app, role)}@%h",
        queues=[app.node.keys.queue(role)],
        loglevel=loglevel,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=role != "switch",  # this one's tell Flower that it is alive; nobody else reads them
        heartbeat_interval=FLOWER_BEAT_S,
        task_events=role == "switch",  # the tasks of a tick send none at all: send_events=False at each
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _node_name(app: Any, role: str) -> str:
    prefix = app.node.config.prefix
    return f"{role}-{prefix}" if prefix else role


def _run_beat(app: Any, loglevel: str) -> int:
    from celery.beat import Service

    app.log.setup(loglevel)
    service = Service(app, max_interval=1, scheduler_cls=app.conf.beat_scheduler, remote_control=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    app.set_default()
    app.node.start("beat")
    service.start()
    return 0
