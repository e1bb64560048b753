"""``python -m workers.check_health``: asks each check of FT_HEALTH once and says what it answers. Publishes nothing.

Run it before the first start of the workers, on both servers and as their user: it needs no database, and the node's Redis
only for the kind probers.

Exit code: 0 nothing failed (degraded is no failure), 1 a check failed, 2 the configuration is wrong.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence

from ftplugin.clock import SystemClock
from ftplugin.config import ConfigError, NodeConfig
from ftplugin.health.checks import Checker, CheckState, Record
from ftplugin.health.tables import HealthTable
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect

from .adapters.checks import FetchMany, build


def ask(tables: Sequence[HealthTable], fetch_many: FetchMany) -> list[Record]:
    """One outcome for each table; takes as long as the slowest limit at most. fetch_many: documents of the node's Redis."""
    checks, bell = build(tables, fetch_many), threading.Event()
    checker = Checker(lambda: checks, SystemClock().now_s, bell.set)
    endless_s = 3600.0  # none is started twice
    while not checker.complete:
        checker.turn(endless_s)
        if not checker.complete:
            bell.wait(checker.wait_s(endless_s))
            bell.clear()
    return checker.records


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line a check; the exit code is that of the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m workers.check_health", description="Ask the checks of FT_HEALTH.")
    parser.parse_args(arguments)
    try:
        config = NodeConfig.from_environment()
    except ConfigError as error:
        print(f"check_health: {error}", file=sys.stderr)
        return 2
    records = ask(config.health, RuntimeStore(connect(config.redis_url), Keys(config.prefix)).fetch_many)
    for record in records:
        shared = ", shared" if record.shared else ""
        detail = f": {record.detail}" if record.detail else ""
        print(f"{record.name}: {record.state}{detail} ({record.duration_s:.2f} s of {record.timeout_s:g} s{shared})")
    if not records:
        print("FT_HEALTH is empty: the workers check their database, their disk and the services")
    return 1 if any(record.state is CheckState.FAILED for record in records) else 0


if __name__ == "__main__":
    raise SystemExit(main())
