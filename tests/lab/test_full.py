"""What ``make lab-full`` would run, and the table that it writes; the runs themselves are too long for CI."""

from __future__ import annotations

import pathlib

import pytest

from . import full
from .matrix import jobs


def row(good: int = 2, why: str = "") -> full.Row:
    return full.Row(
        section="faults",
        name="node killed",
        variant="T=0.5",
        date="2026-01-31",
        runs=2,
        good=good,
        active=["server1", "server2"],
        none_s=2.5,
        both_s=0.0,
        both_allowed="0",
        why=why,
    )


def test_every_line_is_another_one_and_the_bounds_of_the_issue_are_among_them() -> None:
    keys = [job.key for job in jobs()]
    assert len(keys) == len(set(keys))
    runs = {job.key: job.runs for job in jobs() if job.section in ("isolation", "quiet")}
    assert sorted(runs.values()) == [10, 10, 10, 20, 20]
    assert {job.section for job in jobs()} == set(full.SECTIONS)


def test_words_choose_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert full.main(["--list", "--only", "node frozen / T=0.5", "--runs", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all("node frozen / T=0.5" in line and line.endswith("(3 runs)") for line in lines)


def test_line_measured_again_replaces_its_old_one_and_a_bad_one_shows(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full, "TABLE", tmp_path / "lab.md")
    monkeypatch.setattr(full, "MEASURED", tmp_path / "lab.json")
    full.keep({row().key: row()}, [row().key, "not run yet"])
    assert "1 of 2 lines measured, 0 of them not as they should be" in (tmp_path / "lab.md").read_text()
    rows = full.measured() | {row().key: row(good=1, why="nobody was active")}
    full.keep(rows, [row().key])
    table = (tmp_path / "lab.md").read_text()
    assert table.count("| node killed |") == 1 and "| 1 of 2: nobody was active | 2026-01-31 |" in table
    assert full.measured()[row().key].good == 1
