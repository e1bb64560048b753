"""The fault tolerance log: ``FT_REPORT_yymmdd.txt``, one file a day (spec 8, guide 6.1.2).

Portal, workers and guard write to one file at the same time: each line is one ``write`` on a descriptor opened with
O_APPEND, so that lines never mix. Writing never raises: a full disk must not stop a failover.

With FT_LOG_JSON each line is given to ``ftplugin.structured`` as well, with what is known around it: facts of the process
(``Report.about``) and of what it is doing (``bound``).
"""

from __future__ import annotations

import datetime
import os
import pathlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from .structured.sinks import say

if TYPE_CHECKING:
    from .config import NodeConfig
    from .structured.lines import Mirror

_NAME: Final = re.compile(r"FT_REPORT_(\d{6})\.txt", re.ASCII)
LINE_CHARS_MAX: Final = 2000
READ_BYTES_MAX: Final = 512_000
Facts = Callable[[], Mapping[str, Any]]
_BOUND: ContextVar[tuple[Facts, ...]] = ContextVar("ft_report", default=())


@contextmanager
def bound(facts: Facts) -> Iterator[None]:
    """Lines that this thread writes inside are about ``facts`` too; asked for each line, since an epoch comes later.

    facts: names and plain values, as rule, switch_id, epoch; never a secret. What is bound inside counts more.
    """
    token = _BOUND.set((*_BOUND.get(), facts))
    try:
        yield
    finally:
        _BOUND.reset(token)


class Report:
    """Writer and reader of the day files in ``instance_dir/logs``. ``days``: how many of them are kept.

    mirror: takes each line as well; None: nobody asked for that. about: facts of this process that hold now.
    """

    def __init__(self, instance_dir: pathlib.Path, days: int = 30, mirror: Mirror | None = None) -> None:
        self.folder = pathlib.Path(instance_dir) / "logs"
        self.days_kept = max(1, days)
        self.mirror = mirror
        self.about: Facts = dict
        self._day = ""

    @classmethod
    def of(cls, config: NodeConfig, process: str) -> Report:
        """By the node's configuration. process: "portal", "tick", "switch", "beat" or "guard".

        Raises ConfigError where FT_LOG_JSON asks for structlog and it is not installed.
        """
        if not config.log_json:
            return cls(config.instance_dir, config.log_days)
        try:
            from .structured.lines import mirror_of
        except ImportError as error:
            from .config import ConfigError

            way_out = "install it (pip install 'ftplugin[logs]'), or leave it empty"
            raise ConfigError(f"FT_LOG_JSON={config.log_json!r}: needs structlog: {way_out} ({error})") from None
        fixed = {"node": config.own_address, "prefix": config.prefix, "process": process}
        return cls(config.instance_dir, config.log_days, mirror_of(config.log_json, fixed))

    def line(self, source: str, text: str) -> None:
        """Append ``yyyy/MM/dd_HH:mm:ss:fff source : text`` in local time; line breaks become spaces."""
        wall_s = time.time()
        self._write(wall_s, source, text)
        if self.mirror is not None:
            known = {name: value for facts in (self.about, *_BOUND.get()) for name, value in facts().items()}
            self.mirror.line(wall_s, _one_line(source), _one_line(text), known)

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
            say(f"{line.rstrip()} (not in FT_REPORT: {error})")

    @staticmethod
    def _append(path: pathlib.Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
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
                say(f"FT_REPORT: cannot delete the old log {name}: {error}")


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in str(text))
