"""Failback in the hours that are allowed for it: by the local time of the server, here UTC; 01:46:40 is second 0."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .script import load, run

STORY = """
# Failback waits for its hours.
settings T=1 t=1 N=3 failback=on hours=2-3
at 0 boot both
by 10 active server1
at 20 crash server1 for 10
by 27 active server2
by 58 active server2, says server1 "outside the allowed hours 2-3"
at 60 clock both 800
by 80 active server1, rule B1 server1
"""


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_failback_waits_for_its_hours(tmp_path: Path, utc: None) -> None:
    path = tmp_path / "hours.txt"
    path.write_text(STORY.strip())
    story = run(load(path), 1)
    assert any("B1" in line for line in story), story
