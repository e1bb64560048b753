"""The report file: many writers, old days, a folder that cannot be written."""

from __future__ import annotations

import pathlib
import threading

from ftplugin.config import NodeConfig
from ftplugin.report import Report
from ftplugin.structured import sinks

from .conftest import KEY


def test_lines_of_many_writers_never_mix(tmp_path: pathlib.Path) -> None:
    def write(name: str) -> None:
        report = Report(tmp_path)
        for number in range(200):
            report.line(name, f"{number} " + name * 50)

    threads = [threading.Thread(target=write, args=(c,)) for c in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    report = Report(tmp_path)
    lines = "".join(report.read(day) for day in report.days()).splitlines()
    assert len(lines) == 800
    assert all(line.split(" : ")[1].split()[1] == line.split()[1] * 50 for line in lines)


def test_old_days_are_removed_and_other_files_not(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for day in ("200101", "200102", "200103"):
        (folder / f"FT_REPORT_{day}.txt").write_text("x")
    (folder / "other.txt").write_text("x")
    config = NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_INSTANCE_DIR": str(tmp_path), "FT_LOG_DAYS": 2})
    Report.of(config, "tick").line("agent", "now")
    assert len(Report(tmp_path).days()) == 2 and (folder / "other.txt").exists()


def test_report_that_cannot_be_written_goes_to_standard_error(tmp_path: pathlib.Path, capfd, monkeypatch) -> None:
    monkeypatch.setattr(sinks, "ASIDE_S", 60.0)  # on a busy machine the thread may take longer
    (tmp_path / "logs").write_text("a file where the folder should be")
    Report(tmp_path).line("agent", "important\nword")
    assert "agent : important word" in capfd.readouterr().err
