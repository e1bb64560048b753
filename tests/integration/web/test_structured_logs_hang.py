"""FT_LOG_JSON and standard error on a disk or a pipe that hangs: the agent and the guard do not wait."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ftplugin.clock import SystemClock
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Role
from ftplugin.report import Report
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from ftplugin.structured import sinks
from ftplugin.structured.lines import Mirror
from workers.behind import Behind
from workers.guard_lease import Lease, LeaseFile

from .conftest import KEY, OWN, RedisProcess
from .test_structured_logs import LIMIT_S, day_file, lines_of, until


class Hanging:
    """A sink as on a disk that has gone away: a write comes back when the disk does."""

    def __init__(self) -> None:
        self.back, self.taken = threading.Event(), list[dict[str, Any]]()

    def write(self, data: bytes) -> None:
        assert self.back.wait(LIMIT_S)
        self.taken.append(json.loads(data))


def test_a_disk_that_hangs_holds_nobody_up_and_gets_the_line_when_it_is_back(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sinks, "ASIDE_S", 0.02)
    sink, report = Hanging(), Report(tmp_path)
    report.mirror = mirror = Mirror(sink, {}, journal=False)
    began_s = time.monotonic()
    for index in range(300):
        report.line("agent", f"line {index}")
    took_s, left_out = time.monotonic() - began_s, mirror.left_out
    sink.back.set()
    assert took_s < LIMIT_S / 2, "each waited for the disk"
    assert left_out == 299 and day_file(tmp_path).count(" agent : line ") == 300
    until(
        lambda: "ft-log" not in {thread.name for thread in threading.enumerate()}, "the line that hung did not arrive"
    )
    assert "the line before it still hangs" in capfd.readouterr().err
    monkeypatch.setattr(sinks, "ASIDE_S", LIMIT_S)
    report.line("agent", "it is back")
    assert [(line["event"], line.get("left_out")) for line in sink.taken] == [("line 0", None), ("it is back", 299)]
    assert mirror.left_out == 0


@pytest.fixture
def store(redis_process: RedisProcess) -> Iterator[RuntimeStore]:
    """With a lease of epoch 8 that runs out in a second."""
    store, clock = RuntimeStore(connect(redis_process.url), Keys()), SystemClock()
    lease = RoleRecord(role=Role.ACTIVE, epoch=8, boot_id=clock.boot_id, deadline_s=clock.now_s() + 1.0)
    assert store.write_role(lease)
    yield store
    store.client.close()


def guard_of(folder: pathlib.Path, redis_url: str, stderr: int, **more: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "FT_CONFIG_FILE": "",
        "FT_OWN_ADDRESS": OWN,
        "FT_REDIS_URL": redis_url,
        "FT_INSTANCE_DIR": str(folder),
        "FT_SECRET_KEYS": json.dumps([KEY]),
        **more,
    }
    return subprocess.Popen([sys.executable, "-m", "workers.guard"], env=environment, stderr=stderr)


def ended(guard: subprocess.Popen[bytes]) -> int:
    guard.terminate()
    try:
        return guard.wait(LIMIT_S)
    finally:
        guard.kill()


def test_the_guards_own_word_is_there_with_its_epoch_though_nobody_reads_standard_error(
    tmp_path: pathlib.Path, redis_process: RedisProcess, store: RuntimeStore
) -> None:
    target = tmp_path / "guard.jsonl"
    read, write = os.pipe()
    os.set_blocking(write, False)
    with pytest.raises(BlockingIOError):  # full: whoever writes to standard error as it comes waits for ever
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    guard = guard_of(tmp_path, redis_process.url, write, FT_LOG_JSON=str(target))
    try:
        until(lambda: lines_of(target), "the lease ran out and the guard said nothing")
    finally:
        code = ended(guard)
        os.close(read)
        os.close(write)
    assert code == 0
    line = lines_of(target)[0]
    assert (line["process"], line["source"], line["epoch"], line["node"]) == ("guard", "guard", 8, OWN)
    assert line["event"].startswith("the lease of epoch 8 ran out")


def test_a_guard_whose_own_disk_hangs_ends_the_role_all_the_same(
    tmp_path: pathlib.Path, redis_process: RedisProcess, store: RuntimeStore
) -> None:
    today = datetime.date.today()
    (tmp_path / "logs").mkdir()
    for day in (today, today + datetime.timedelta(days=1)):
        os.mkfifo(tmp_path / "logs" / f"FT_REPORT_{day:%y%m%d}.txt")  # opening it waits until somebody reads
    guard = guard_of(tmp_path, redis_process.url, subprocess.DEVNULL)
    try:
        until(lambda: (found := store.read_role()) is not None and found.clear, "the guard waits for its log")
    finally:
        code = ended(guard)
    assert code == 0


def test_a_lease_that_could_not_be_kept_while_the_disk_hung_is_there_after_it_the_newest_alone(
    tmp_path: pathlib.Path,
) -> None:
    behind, back = Behind(), threading.Event()
    file, boot_id = LeaseFile(tmp_path / "guard.lease", behind.run), SystemClock().boot_id
    behind.run(lambda: print("back" if back.wait(LIMIT_S) else "never"))
    for epoch in range(2, 1000, 2):
        file.save(Lease(boot_id=boot_id, epoch=epoch, deadline_s=5.0))
    assert behind.waiting <= 2 and file.load(boot_id) is None
    back.set()
    behind.finish(LIMIT_S)
    kept = file.load(boot_id)
    assert kept is not None and kept.epoch == 998
