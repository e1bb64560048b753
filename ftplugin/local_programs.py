"""Workers and guard of this node, as far as this process can see them: in containers of their own it cannot."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

PROC = pathlib.Path("/proc")


class Program(NamedTuple):
    """name: "tick", "switch" or "guard". environ: None when it may not be read, as that of another user."""

    name: str
    pid: int
    environ: Mapping[str, str] | None


def running() -> Iterator[Program]:
    """Those of this instance, by FT_CONFIG_FILE as far as it may be read: several may run on one server (guide 6.1.1)."""
    for pid in (int(path.name) for path in PROC.iterdir() if path.name.isdigit()):
        name = _name_of(pid)
        if name:
            environ = _environ_of(pid)
            if _may_be_ours(environ):
                yield Program(name, pid, environ)


def with_own_keys(instance_dir: pathlib.Path) -> list[str]:
    """Programs of this instance that have FT_SECRET_KEYS in their environment, as "tick worker (pid 12)": they do not read the
    file of keys, so that a rotation would leave them behind.

    instance_dir: of this node; names an instance whose programs have no FT_CONFIG_FILE.
    """
    found = []
    for name, pid, environ in running():
        if environ and environ.get("FT_SECRET_KEYS") and _is_ours(pid, environ, instance_dir):
            found.append(f"{name if name == 'guard' else f'{name} worker'} (pid {pid})")
    return sorted(found)


def _name_of(pid: int) -> str:
    """Empty for any other process."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""  # it has ended meanwhile
    return _name_in(raw.decode("utf-8", "replace").split("\0")) if b"workers" in raw else ""


def _name_in(words: Sequence[str]) -> str:
    if "workers.guard" in words:
        return "guard"
    for before, word in zip(words, words[1:], strict=False):
        if before == "workers" and word in ("tick", "switch"):
            return word
        if before == "-Q" and word.startswith("ft-"):
            return word.rpartition("-")[2]
    return ""


def _environ_of(pid: int) -> dict[str, str] | None:
    try:
        raw = (PROC / str(pid) / "environ").read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    return {name: value for name, sign, value in (item.partition("=") for item in raw.split("\0")) if sign}


def _may_be_ours(environ: Mapping[str, str] | None) -> bool:
    own = os.environ.get("FT_CONFIG_FILE", "")
    if environ is None or not own:
        return True
    return _same(own, environ.get("FT_CONFIG_FILE", ""))


def _is_ours(pid: int, environ: Mapping[str, str], instance_dir: pathlib.Path) -> bool:
    """For certain."""
    own, theirs = os.environ.get("FT_CONFIG_FILE", ""), environ.get("FT_CONFIG_FILE", "")
    if own or theirs:
        return _same(own, theirs)
    try:
        folder = os.path.join(os.readlink(PROC / str(pid) / "cwd"), environ.get("FT_INSTANCE_DIR") or "instance")
    except OSError:
        return False
    return _same(os.path.join(folder, environ.get("FT_PREFIX", "")), str(instance_dir))


def _same(one: str, other: str) -> bool:
    return bool(one and other) and os.path.realpath(one) == os.path.realpath(other)
