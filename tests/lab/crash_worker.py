"""The switch worker, and a kill -9 of it at one exact step: ``python -m tests.lab.crash_worker switch``.

It is the product's worker with its real ports; around each step of a switch, and around the end of it in the journal,
it looks for an order to die there. The order is a file in the node's folder; the worker takes it away as it dies, so
that the next life runs through. Without a file nothing differs.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any, Callable

ORDER, TAKEN = "crash.json", "crash.taken"
END = "end"  # the journal's closing write, which is no step of the sequence


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where to die: ``label`` of a step of ``ftplugin.core.sequence`` or END, before or after its durable write."""

    kind: str
    label: str
    after: bool

    def write(self, directory: pathlib.Path) -> None:
        (directory / TAKEN).unlink(missing_ok=True)
        fresh = directory / (ORDER + ".new")
        fresh.write_text(json.dumps(asdict(self)))
        fresh.replace(directory / ORDER)

    @staticmethod
    def hit(directory: pathlib.Path) -> bool:
        """Whether the worker has died there."""
        return (directory / TAKEN).exists()

    @staticmethod
    def remove(directory: pathlib.Path) -> None:
        for name in (ORDER, TAKEN):
            (directory / name).unlink(missing_ok=True)


class Crash:
    """Looks for the order and dies by it."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._run = threading.local()

    def due(self, kind: str, label: str, *, after: bool) -> None:
        file = self._directory / ORDER
        if not file.exists() or Point(**json.loads(file.read_text())) != Point(kind=kind, label=label, after=after):
            return
        file.replace(self._directory / TAKEN)
        os.kill(os.getpid(), signal.SIGKILL)

    def around_steps(self, run_class: Any) -> None:
        do, end = run_class.do, run_class.end

        def do_or_die(run: Any, step: Any, call: Callable[[], str]) -> Any:
            self.due(run.kind, step.label, after=False)

            def called() -> str:
                detail = call()
                self.due(run.kind, step.label, after=True)
                return detail

            return do(run, step, called)

        def end_or_die(run: Any, *arguments: Any) -> Any:
            self._run.kind = run.kind
            return end(run, *arguments)

        run_class.do, run_class.end = do_or_die, end_or_die

    def around_journal(self, journal_class: Any) -> None:
        end = journal_class.end

        def end_or_die(journal: Any, *arguments: Any) -> Any:
            kind = getattr(self._run, "kind", "")
            self.due(kind, END, after=False)
            done = end(journal, *arguments)
            self.due(kind, END, after=True)
            return done

        journal_class.end = end_or_die


def main() -> int:
    from ftplugin.config import NodeConfig
    from ftplugin.store.journal import SqlJournal
    from workers.programs import main as worker
    from workers.switch_run import Run

    crash = Crash(pathlib.Path(NodeConfig.from_environment().instance_dir))
    crash.around_steps(Run)
    crash.around_journal(SqlJournal)
    return worker(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
