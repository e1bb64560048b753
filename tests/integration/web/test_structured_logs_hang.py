"""FT_LOG_JSON and standard error on a disk or a pipe that hangs: the agent and the guard do not wait."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading
import time
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


def test_the_guards_own_word_is_there_with_its_epoch_though_nobody_reads_standard_error(
    tmp_path: pathlib.Path, redis_process: RedisProcess
) -> None:
    target, clock = tmp_path / "guard.jsonl", SystemClock()
    store = RuntimeStore(connect(redis_process.url), Keys())
    lease = RoleRecord(role=Role.ACTIVE, epoch=8, boot_id=clock.boot_id, deadline_s=clock.now_s() + 1.0)
    assert store.write_role(lease)
    environment = {
        **os.environ,
        "FT_CONFIG_FILE": "",
        "FT_OWN_ADDRESS": OWN,
        "FT_REDIS_URL": redis_process.url,
        "FT_INSTANCE_DIR": str(tmp_path),
        "FT_SECRET_KEYS": json.dumps([KEY]),
        "FT_LOG_JSON": str(target),
    }
    read, write = os.pipe()
    os.set_blocking(write, False)
    with pytest.raises(BlockingIOError):  # full: whoever writes to standard error as it comes waits for ever
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    guard = subprocess.Popen([sys.executable, "-m", "workers.guard"], env=environment, stderr=write)
    try:
        until(lambda: lines_of(target), "the lease ran out and the guard said nothing")
    finally:
        guard.terminate()
        code = guard.wait(LIMIT_S)
        store.client.close()
        os.close(read)
        os.close(write)
    assert code == 0
    line = lines_of(target)[0]
    assert (line["process"], line["source"], line["epoch"], line["node"]) == ("guard", "guard", 8, OWN)
    assert line["event"].startswith("the lease of epoch 8 ran out")
