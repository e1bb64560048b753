"""Whether this server may be changed underneath its programs: nothing active, no worker running."""

from __future__ import annotations

import fcntl
import os
import pathlib

from ..extension import Portal

LOCKS = {"agent.lock": "tick worker", "switch.lock": "switch worker"}


def in_the_way(node: Portal) -> str:
    """Why not, with the way out; "" when nothing is in the way."""
    if node.role.active():
        return "this server is active: switch over first ('ft switch'), then stop its programs"
    if names := running(node):
        return f"the {' and the '.join(names)} of this server run; stop its programs first"
    return ""


def running(node: Portal) -> list[str]:
    """The workers of this server that run."""
    return [name for lock, name in LOCKS.items() if _held(node.config.instance_dir / lock)]


def _held(path: pathlib.Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
