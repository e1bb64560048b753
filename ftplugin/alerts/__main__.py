"""``python -m ftplugin.alerts send``: sends the job on standard input, and says of each message how it went.

In: one JSON object {kind, url, limit_s, messages}. Out: a line {message_id, problem} for each message, in their order.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable

from .child import GRACE_S
from .message import Message
from .targets import cleaned

NICE = 10  # loading a library takes a second of a core, which a switch needs more


def main() -> int:
    """The exit code: 0, also when nothing was delivered; 2 for wrong usage."""
    if sys.argv[1:] != ["send"]:
        sys.stderr.write("usage: python -m ftplugin.alerts send <job.json\n")
        return 2
    job = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, float(job["limit_s"]) + GRACE_S)  # ends this process
    # a service manager may forbid either; it is sent all the same
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the URL
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)  # whatever the worker's own is
    url = str(job["url"])
    try:
        send = sender(str(job["kind"]), url)
    except Exception as error:
        send = _refusing(error)
    for row in job["messages"]:  # each is tried: one that the target refuses for its words holds up no other
        message = Message.from_json(row)
        try:
            problem = send(message)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        sys.stdout.write(json.dumps({"message_id": message.message_id, "problem": cleaned(problem, url)}) + "\n")
        sys.stdout.flush()
    return 0


def sender(kind: str, url: str) -> Callable[[Message], str]:
    """What sends one message and returns "" or what went wrong. Raises for a target that cannot be used."""
    if kind == "snmp":
        from .by_snmp import sender as snmp

        return snmp(url)
    from .by_apprise import sender as apprise

    return apprise(url)


def _refusing(error: Exception) -> Callable[[Message], str]:
    """For a target that cannot be used."""
    said = f"{type(error).__name__}: {error}"
    return lambda message: said


if __name__ == "__main__":
    sys.exit(main())
