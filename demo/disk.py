"""A small disk for one node: a tmpfs that can be filled without harm to the machine. Needs root."""

from __future__ import annotations

import pathlib
import subprocess

from .config import SetupError

COMMAND_LIMIT_S = 10.0


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_LIMIT_S)  # nosec B603 # no shell
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{' '.join(command)}: {error}") from None
    if done.returncode:
        raise SetupError(f"{' '.join(command)}: {done.stderr.strip()}; a small disk needs root")


def mount(directory: pathlib.Path, size_bytes: int) -> None:
    """An empty disk of that size at the directory. Raises SetupError."""
    unmount(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "ft-demo", str(directory))


def unmount(directory: pathlib.Path) -> None:
    """Take away what is mounted there, and its content; nothing mounted: nothing done. Raises SetupError."""
    while directory.is_mount():
        _run("umount", "--lazy", str(directory))
