"""supervisord that does not outlive its starter: ``python -m demo.supervise PARENT_PID -c FILE -n``.

A demo whose main process is killed with -9 must leave nothing behind, so the kernel is asked for a SIGTERM then.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from supervisor.supervisord import main as supervisord

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    parent, arguments = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the starter has already ended")
    supervisord(arguments)


if __name__ == "__main__":
    main()
