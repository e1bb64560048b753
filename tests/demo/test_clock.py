"""A node's own wall clock: it steps while the process runs, and no other clock moves."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from demo import clock
from demo.config import SetupError

PROGRAM = """
import json, sys, threading, time

def clocks():
    return [time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)]

def spin():
    while True:
        sum(range(1000))

for _ in range(4):
    threading.Thread(target=spin, daemon=True).start()
print(json.dumps(clocks()), flush=True)
sys.stdin.readline()
began_s = time.monotonic()
time.sleep(0.2)
threading.Event().wait(0.2)
print(json.dumps([*clocks(), time.monotonic() - began_s]), flush=True)
"""


def host_clocks() -> list[float]:
    return [time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)]


def off_s(theirs: list[float]) -> list[float]:
    return [a - b for a, b in zip(theirs, host_clocks())]


def test_wall_clock_of_a_running_program_steps_and_only_it(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "clock"
    try:
        env = clock.environment(file)
    except SetupError as error:
        pytest.skip(str(error))
    clock.set_offset(file, 3600)
    env |= {"PYTHONPATH": str(clock.FAKED_CLOCK)}
    command = [sys.executable, "-c", PROGRAM]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, **env}, **pipes) as program:  # type: ignore[call-overload]
        wall_s, monotonic_s, boottime_s = off_s(json.loads(program.stdout.readline()))
        assert wall_s == pytest.approx(3600, abs=2) and monotonic_s == pytest.approx(0, abs=2)
        assert boottime_s == pytest.approx(0, abs=2)
        clock.set_offset(file, -1800)
        program.stdin.write("step\n")
        program.stdin.flush()
        *theirs, slept_s = json.loads(program.stdout.readline())
        wall_s, monotonic_s, boottime_s = off_s(theirs)
        program.kill()
    assert wall_s == pytest.approx(-1800, abs=2) and monotonic_s == pytest.approx(0, abs=2)
    assert boottime_s == pytest.approx(0, abs=2) and 0.4 <= slept_s < 5
    clock.clean_up()
    assert not list(clock.SHARED_MEMORY.glob(f"*faketime*_{program.pid}"))
