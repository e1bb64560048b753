"""One short-lived process for each delivery: what it loads and where it hangs costs the process that asked for it nothing.

The target's URL goes over standard input, never into the arguments, which every user of the machine can read. The process
ends itself at its limit by its own timer, too, so that none is left when the one that started it is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from .message import Message
from .targets import Target, cleaned

LIMIT_S = 30.0
GRACE_S = 2.0  # the process's own timer comes this much later
READ_BYTES_MAX = 65_536
POLL_S = 0.05
KILLED_S = 2.0  # a killed process ends at once, unless the kernel holds it
NO_ANSWER = "no answer within {:.0f} s"


class Child:
    """A process that sends ``messages`` to ``target``. Nothing here waits, but ``wait``. limit_s: for all of them."""

    def __init__(self, target: Target, messages: Sequence[Message], limit_s: float = LIMIT_S) -> None:
        self.target, self.message_ids = target, tuple(message.message_id for message in messages)
        self._limit_s, self._ends_s = limit_s, time.monotonic() + limit_s
        self._problem, self._output = "", b""
        self._process: subprocess.Popen[bytes] | None = None
        job = {"kind": target.kind, "url": target.url, "limit_s": limit_s, "messages": [m.to_json() for m in messages]}
        try:
            self._process = subprocess.Popen(  # nosec B603 # this program's own module, no shell
                [sys.executable, "-m", "ftplugin.alerts", "send"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
            assert self._process.stdin is not None and self._process.stdout is not None
            os.set_blocking(self._process.stdout.fileno(), False)
            os.set_blocking(self._process.stdin.fileno(), False)
            with contextlib.closing(self._process.stdin) as stdin:
                stdin.write(
                    json.dumps(job, ensure_ascii=False).encode("utf-8", "replace")
                )  # a batch fits: outbox.BATCH_MAX
        except OSError as error:
            self._problem = f"the process that sends could not be started: {error.strerror or error}"
            self.stop()

    def results(self) -> dict[str, str] | None:
        """{message_id: what went wrong, "" for delivered} of every message; None: it still runs."""
        process = self._process
        if process is None:
            return self._read({})
        self._drain()
        if process.poll() is None:
            if time.monotonic() < self._ends_s:
                return None
            self._problem = NO_ANSWER.format(self._limit_s)
            self.stop()
        elif process.returncode != 0 and not self._problem:
            why = f"signal {-process.returncode}" if process.returncode < 0 else f"code {process.returncode}"
            self._problem = f"the process that sends ended with {why}"
        self._drain()
        said: dict[str, str] = {}
        for line in self._output.decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                said[str(row["message_id"])] = str(row["problem"])
        if process.stdout is not None:
            process.stdout.close()
        return self._read(said)

    def wait(self) -> dict[str, str]:
        """As ``results``, after it has ended: at most the limit."""
        while (found := self.results()) is None:
            time.sleep(POLL_S)
        return found

    def stop(self) -> None:
        """Kill it and what it has started."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(
            subprocess.TimeoutExpired
        ):  # one that a dead disk holds is reaped later, by the next start
            process.wait(KILLED_S)

    def _drain(self) -> None:
        """Take what it has written: a full pipe must not stop it. Nothing to take, or the end, is nothing."""
        stdout = self._process.stdout if self._process is not None else None
        if stdout is not None and not stdout.closed and len(self._output) < READ_BYTES_MAX:
            self._output += stdout.read(READ_BYTES_MAX) or b""

    def _read(self, said: dict[str, str]) -> dict[str, str]:
        otherwise = self._problem or "the process that sends did not say how it went"
        return {one: cleaned(said.get(one, otherwise), self.target.url) for one in self.message_ids}


def _environment() -> dict[str, str]:
    """Without this product's own keys: the libraries that send need none of them. Finds this package from any folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FT_")}
    paths = [str(pathlib.Path(__file__).parents[2]), kept.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
