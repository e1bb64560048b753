"""The disk under the instance folder hangs (a frozen file system, a dead controller): a service is stopped all the same."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from ftplugin.core.terms import ServiceState
from tests.integration.celery.node_process import wait_for
from workers.adapters.services import Service, build
from workers.adapters.services.start_file import WRITE_LIMIT_S

LIMIT_S = 20.0
TOOLS = ("mkfs.ext4", "fsfreeze", "mount", "umount")


class Disk:
    """A small ext4 in a file, which can be frozen: every write to it waits, reads do not."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.image, self.path = folder / "disk.img", folder / "disk"
        self.path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(8_000_000)
        self._do("mkfs.ext4", "-q", "-F", str(self.image))
        self._do("mount", "-o", "loop", str(self.image), str(self.path))

    @staticmethod
    def _do(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True, timeout=LIMIT_S)

    def freeze(self) -> None:
        self._do("fsfreeze", "-f", str(self.path))

    def thaw(self) -> None:
        subprocess.run(["fsfreeze", "-u", str(self.path)], capture_output=True, timeout=LIMIT_S)

    def close(self) -> None:
        self.thaw()
        self._do("umount", "-l", str(self.path))


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or not all(shutil.which(tool) for tool in TOOLS):
        pytest.skip(f"needs root and {', '.join(TOOLS)}")
    made: Disk | None = None
    try:
        made = Disk(tmp_path)
        made.freeze()
        made.thaw()
    except subprocess.CalledProcessError as error:
        if made is not None:
            made.close()
        pytest.skip(f"no file system can be mounted and frozen here: {error.stderr.decode(errors='replace').strip()}")
    yield made
    made.close()


@pytest.fixture
def daemon(tmp_path: pathlib.Path, disk: Disk) -> Iterator[Service]:
    """A real process under a pid file of its own, its controller's file on the disk."""
    pid_file = tmp_path / "daemon.pid"
    start = f"sleep 300 & echo $! > {pid_file}"
    stop = f"kill $(cat {pid_file}); rm {pid_file}"
    status = f"test -e {pid_file} && kill -0 $(cat {pid_file}) || exit 3"
    table = {"name": "daemon", "kind": "command", "stop_limit_s": 5}
    table |= {verb: ["/bin/sh", "-c", line] for verb, line in (("start", start), ("stop", stop), ("status", status))}
    (service,) = build([table], disk.path)
    service.promote(4, 30.0)
    wait_for("the daemon runs", lambda: service.status().state is ServiceState.ACTIVE, LIMIT_S)
    yield service
    if pid_file.exists():
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_a_service_is_stopped_although_nothing_can_be_noted_and_the_demotion_is_noted_once_the_disk_is_back(
    disk: Disk, daemon: Service, tmp_path: pathlib.Path
) -> None:
    disk.freeze()
    began_s = time.monotonic()
    assert daemon.demote(6).state is ServiceState.STANDBY
    assert time.monotonic() - began_s < 3 * WRITE_LIMIT_S + 2.0 and not (tmp_path / "daemon.pid").exists()
    assert daemon.demote(8).state is ServiceState.STANDBY, "again, while the first note still hangs"
    disk.thaw()

    def refused() -> bool:
        return "below 8" in daemon.promote(7, 30.0).detail

    wait_for("an epoch below the demotion's is refused", refused, LIMIT_S)
