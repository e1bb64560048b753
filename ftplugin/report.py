"""The fault tolerance log: ``FT_REPORT_yymmdd.txt``, one file a day (spec 8, guide 6.1.2).

Portal, workers and guard write to one file at the same time: each line is one ``write`` on a descriptor opened with
O_APPEND, so that lines never mix. Writing never raises: a full disk must not stop a failover.
"""

from __future__ import annotations

import datetime
import os
import pathlib
import re
import sys
import time
from typing import Final

_NAME: Final = re.compile(r"FT_REPORT_(\d{6})\.txt", re.ASCII)
LINE_CHARS_MAX: Final = 2000
READ_BYTES_MAX: Final = 512_000


class Report:
    """Writer and reader of the day files in ``instance_dir/logs``. ``days``: how many of them are kept."""

    def __init__(self, instance_dir: pathlib.Path, days: int = 30) -> None:
        self.folder = pathlib.Path(instance_dir) / "logs"
        self.days_kept = max(1, days)
        self._day = ""

    def line(self, source: str, text: str) -> None:
        """Append ``yyyy/MM/dd_HH:mm:ss:fff source : text`` in local time; line breaks become spaces."""
        self._write(time.time(), source, text)

    def _write(self, wall_s: float, source: str, text: str) -> None:
        moment = datetime.datetime.fromtimestamp(wall_s)
        stamp = moment.strftime("%Y/%m/%d_%H:%M:%S:") + f"{moment.microsecond // 1000:03d}"
        line = f"{stamp} {_one_line(source)} : {_one_line(text)}"[:LINE_CHARS_MAX] + "\n"
        day = moment.strftime("%y%m%d")
        try:
            if day != self._day:
                self.folder.mkdir(parents=True, exist_ok=True)
            self._append(self.folder / f"FT_REPORT_{day}.txt", line.encode("utf-8", "backslashreplace"))
            if day != self._day:
                self._day = day
                self.remove_old()
        except OSError as error:
            self._day = ""
            try:
                sys.stderr.write(f"{line.rstrip()} (not in FT_REPORT: {error})\n")
            except (OSError, ValueError):
                return  # the disk is full and standard error is gone too: there is nowhere left to say so

    @staticmethod
    def _append(path: pathlib.Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def days(self) -> list[str]:
        """Names of the day files, newest first; empty when there is none."""
        try:
            names = [entry.name for entry in self.folder.iterdir() if _NAME.fullmatch(entry.name)]
        except OSError:
            return []
        return sorted(names, reverse=True)

    def read(self, name: str, bytes_max: int = READ_BYTES_MAX) -> str:
        """The text of one day file, only its last ``bytes_max`` bytes when it is longer.

        Raises ValueError for a name that is no day file, FileNotFoundError when that day has none.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no day file: the form is FT_REPORT_yymmdd.txt")
        with open(self.folder / name, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - bytes_max))
            if size > bytes_max:
                file.readline()  # the first line is probably cut
            return file.read(bytes_max).decode("utf-8", "replace")

    def remove_old(self) -> None:
        """Delete day files past the number kept."""
        for name in self.days()[self.days_kept :]:
            try:
                (self.folder / name).unlink()
            except OSError as error:
                sys.stderr.write(f"FT_REPORT: cannot delete the old log {name}: {error}\n")


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in str(text))
