"""supervisord that does not outlive its starter: ``python -m demo.supervise PARENT_PID -c FILE -n``.

A demo whose main process is killed with -9 must leave nothing behind, so the kernel is asked for a SIGTERM then.
supervisord looks at its programs once a second; here it does so ten times, and a killed program is restarted as soon as
systemd would (RestartSec is 100 ms).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from supervisor import poller
from supervisor.supervisord import main as supervisord

PR_SET_PDEATHSIG = 1  # prctl(2)
LOOK_S = 0.1


class PromptPoller(poller.Poller):  # type: ignore[misc]
    def poll(self, timeout: float) -> object:
        return super().poll(min(timeout, LOOK_S))


def main() -> None:
    parent, arguments = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the starter has already ended")
    poller.Poller = PromptPoller
    supervisord(arguments)


if __name__ == "__main__":
    main()
