"""A real systemd that manages units for a test: a user instance, as root, with a /run and a control group of its own.

It needs no boot by systemd: that is only looked for in /run, which is another one in its mount namespace. It must never run in
the root control group: it would move every process of the machine into its own. ``systemctl`` before the real one on the
PATH asks this instance.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

SYSTEMD = pathlib.Path("/usr/lib/systemd/systemd")
MOUNTS = pathlib.Path("/sys/fs/cgroup")
START_LIMIT_S, END_LIMIT_S = 15.0, 10.0
CALL_LIMIT_S = 100.0  # "stop" waits until a unit has stopped
EXIT_NOW = signal.SIGRTMIN + 24  # systemd(1)
START = """
set -e
for group in $GROUPS_OF_ITS_OWN; do echo $$ >"$group/cgroup.procs"; done
if grep -Eq '^(0:|[0-9]+:name=systemd):/$' /proc/self/cgroup; then echo "still in the root group"; exit 1; fi
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/own
exec "$@"
"""
SYSTEMCTL = """#!/bin/sh
exec nsenter --target={pid} --mount env XDG_RUNTIME_DIR=/run/own /usr/bin/systemctl --user "$@"
"""


def _hierarchies() -> list[pathlib.Path]:
    places = [MOUNTS, *sorted(MOUNTS.iterdir())] if MOUNTS.is_dir() else []
    return [place for place in places if (place / "cgroup.procs").exists() and not place.is_symlink()]


def missing() -> str:
    """Why it cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "needs root"
    if not SYSTEMD.exists() or not pathlib.Path("/usr/bin/systemctl").exists() or not shutil.which("nsenter"):
        return "needs Debian's packages systemd and util-linux"
    places = _hierarchies()
    if not places or not all(os.access(place / "cgroup.procs", os.W_OK) for place in places):
        return "needs control groups that may be changed"
    return ""


def started(folder: pathlib.Path) -> RealSystemd:
    """A running one; the test is skipped where the machine does not let it run (control groups of a container)."""
    if why := missing():
        pytest.skip(why)
    try:
        return RealSystemd(folder)
    except (OSError, AssertionError) as error:
        pytest.skip(f"systemd does not start in a control group of its own here: {str(error)[-300:]}")


class RealSystemd:
    """``units``: the folder of unit files. ``bin``: what belongs in front of PATH."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.units, self.bin = folder / "config/systemd/user", folder / "bin"
        self._log = folder / "systemd.log"
        for made in (self.units, self.bin):
            made.mkdir(parents=True)
        name = f"ft-test-{os.getpid()}-{time.monotonic_ns()}"  # the same in all: systemd goes by one of them
        self._groups = [place / name for place in _hierarchies()]
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_RUNTIME_DIR": "/run/own"}
        environ |= {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_DATA_HOME": str(folder / "data")}
        try:
            for group in self._groups:
                group.mkdir()
                if (group / "cpuset.cpus").exists():  # in a group without any nothing may run
                    for name in ("cpuset.cpus", "cpuset.mems"):
                        (group / name).write_text((group.parent / name).read_text())
            environ["GROUPS_OF_ITS_OWN"] = " ".join(map(str, self._groups))
            with self._log.open("wb") as log:
                command = ["unshare", "--mount", "/bin/sh", "-c", START, "start", str(SYSTEMD)]
                self._process = subprocess.Popen(
                    [*command, "--user", "--log-target=console"],
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            systemctl = self.bin / "systemctl"
            systemctl.write_text(SYSTEMCTL.format(pid=self._process.pid))
            systemctl.chmod(0o755)
            self._wait()
        except BaseException:
            self.end()
            raise

    def _wait(self) -> None:
        end_s = time.monotonic() + START_LIMIT_S
        while self._call("is-system-running").returncode not in (0, 1) or not self.answers():
            assert self._process.poll() is None and time.monotonic() < end_s, self._log.read_text()
            time.sleep(0.1)

    def answers(self) -> bool:
        return self._call("show", "--property=Version").stdout.startswith("Version=")

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.bin / "systemctl"), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=CALL_LIMIT_S)

    def add(self, unit: str, text: str) -> None:
        """Write a unit file and let systemd read it."""
        (self.units / unit).write_text(text)
        self.tell("daemon-reload")

    def add_generator(self, name: str, text: str) -> None:
        """A program that makes units, as the one for init scripts does (systemd.generator(7))."""
        folder = pathlib.Path(f"/proc/{self._process.pid}/root/run/systemd/user-generators")
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
        self.tell("daemon-reload")

    def tell(self, *words: str) -> str:
        """``systemctl …``; what it prints. AssertionError when it fails."""
        done = self._call(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def pid(self, unit: str) -> int:
        return int(self.tell("show", "--property=MainPID", "--value", unit))

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def end(self) -> None:
        """End every process of every unit, and remove the control groups."""
        process: subprocess.Popen[bytes] | None = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            self.thaw()
            os.kill(process.pid, EXIT_NOW)
            try:
                process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_LIMIT_S)
        end_s = time.monotonic() + END_LIMIT_S
        while left := [folder for group in self._groups for folder in _with_inner(group)]:
            for folder in left:
                _empty(folder)
            if time.monotonic() > end_s:
                raise AssertionError(f"control groups are left: {left}")
            time.sleep(0.02)


def _with_inner(group: pathlib.Path) -> list[pathlib.Path]:
    """The group and those in it, the innermost first."""
    return sorted((path for path in [group, *group.rglob("*")] if path.is_dir()), key=lambda p: -len(p.parts))


def _empty(group: pathlib.Path) -> None:
    """Kill what is in it and remove it, if that can be done now."""
    with contextlib.suppress(OSError):
        for pid in map(int, (group / "cgroup.procs").read_text().split()):
            os.kill(pid, signal.SIGKILL)
        group.rmdir()
