"""The last step of a node that is stopped: its services let go, before nobody is left to see to it.

    python -m workers.release

Agent and guard are stopped by then, so a service that only knows start and stop would go on owning for ever, and the
other server starts its own when the lease has run out. Refused while a worker of this node runs: its agent does this
better. Where ``ft leave`` has handed the role over before, there is nothing left to do.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from typing import Sequence

from ftplugin.config import ConfigError, NodeConfig
from workers.adapters.services import ServiceError

from . import guard, locks
from .guard_notify import Notifier

EXIT_OWNED, EXIT_CONFIG, EXIT_REFUSED = 1, 2, 75  # 75: EX_TEMPFAIL of sysexits.h, as a worker that finds another one
LIMIT_S = 60.0
END_S = 15.0  # systemd waits so much longer: a stop that has begun may go on to its own limit
REASON = "this server is stopped"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: every service owns nothing; 1: one may still own something, and is named; 2: the configuration is
    wrong; 75: refused, a worker of this node runs."""
    parser = argparse.ArgumentParser(prog="python -m workers.release", description="Demote the services of this node.")
    text = f"seconds; default {LIMIT_S:g}, or twice what the services may take to stop, if that is more"
    parser.add_argument("--limit", type=float, help=text, dest="limit_s")
    given_s: float | None = parser.parse_args(arguments).limit_s
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        config = NodeConfig.from_environment(os.environ)
        for role in ("tick", "switch"):  # held until the end: no worker may start meanwhile and own again
            locks.take(locks.lock_path(config.instance_dir, role), wait_s=0.0)
        made = guard.make(config)
    except locks.LockTaken as error:
        print(f"release: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except (ConfigError, ServiceError) as error:
        print(f"release: {error}", file=sys.stderr)
        return EXIT_CONFIG
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: made.stop())
    limit_s = max(LIMIT_S, made.release_s) if given_s is None else given_s
    Notifier.of(os.environ).needs(limit_s + END_S)
    timer = threading.Timer(limit_s, made.stop)
    timer.daemon = True
    timer.start()
    if made.release(REASON):
        return 0
    print(f"release: may still own something after {limit_s:g} s: {', '.join(made.left)}", file=sys.stderr)
    return EXIT_OWNED


if __name__ == "__main__":
    raise SystemExit(main())
