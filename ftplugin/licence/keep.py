"""The licence of this node: kept in ``instance_dir/IPSFT_lic.xml``, judged each time it is asked for.

Without FT_LICENCE_KEY no licence is needed. With it, a licence that is missing or not good blocks one thing: saving the
settings on this server. Nothing that runs ever asks for it: no probe, no switch, no worker.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import pathlib
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ftplugin.report import Report

from .check import check_days, verified
from .document import BYTES_MAX, Licence
from .key import key_of
from .problems import MISSING, TEXTS, LicenceRefused

FILE = "IPSFT_lic.xml"
ALARM = "licence_alarm"
WARN_DAYS = 30
LOOK_S = 3600.0
SOURCE = "licence"


@dataclass(frozen=True, kw_only=True, slots=True)
class LicenceState:
    """What is known about the licence now. ``refused``: why settings cannot be saved; days_left: of a good one."""

    needed: bool
    licence: Licence | None = None
    refused: LicenceRefused | None = None
    days_left: int | None = None

    @property
    def expires_soon(self) -> bool:
        return self.refused is None and self.days_left is not None and self.days_left <= WARN_DAYS

    @property
    def word(self) -> str:
        """One word for people and programs: "not needed", "valid", "expires soon", or the cause of a refusal."""
        if not self.needed:
            return "not needed"
        if self.refused is not None:
            return self.refused.cause
        return "expires soon" if self.expires_soon else "valid"

    @property
    def text(self) -> str:
        """The sentence of ``refused`` without its facts, for pages that translate it; "" without one."""
        return TEXTS[self.refused.cause] if self.refused is not None else ""

    @property
    def sentence(self) -> str:
        """In English, for log and command line; "" when there is nothing to say."""
        if self.refused is not None:
            return f"{self.refused} Settings cannot be saved on this server; failover and switchover go on."
        if self.expires_soon and self.licence is not None:
            return f"The licence of this server expires on {self.licence.expires}; then settings cannot be saved here."
        return ""


class LicenceStore:
    """Keeps and judges. key: FT_LICENCE_KEY, empty without a vendor. today: the day by the wall clock of this server."""

    def __init__(
        self,
        folder: pathlib.Path,
        key: str,
        own_address: str,
        report: Report,
        *,
        today: Callable[[], datetime.date] = datetime.date.today,
    ) -> None:
        self.path = pathlib.Path(folder) / FILE
        self._public = key_of(key) if key else b""
        self._own_address, self._report, self._today = own_address, report, today
        self._seen: tuple[object, Licence | LicenceRefused] | None = None

    def state(self) -> LicenceState:
        """Cheap: the file is read again only when it has changed."""
        if not self._public:
            return LicenceState(needed=False)
        try:
            licence = self._current()
        except LicenceRefused as refused:
            return LicenceState(needed=True, refused=refused)
        today = self._today()
        try:
            check_days(licence, today)
        except LicenceRefused as refused:
            return LicenceState(needed=True, licence=licence, refused=refused)
        return LicenceState(needed=True, licence=licence, days_left=(licence.expires - today).days)

    def problem(self) -> str:
        """Why settings cannot be saved on this server; "" when they can."""
        refused = self.state().refused
        return "" if refused is None else str(refused)

    def install(self, raw: bytes) -> Licence:
        """Check ``raw`` and keep it in place of an earlier licence; one that is not good never replaces anything.

        Raises LicenceRefused, OSError when the folder does not take it.
        """
        licence = verified(raw, self._public, self._own_address)
        check_days(licence, self._today())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{FILE}.", dir=self.path.parent)  # mode 600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return licence

    def _current(self) -> Licence:
        try:
            facts = self.path.stat()
            mark = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
            if self._seen is None or self._seen[0] != mark:
                self._seen = (mark, self._judged(self._read()))
        except FileNotFoundError:
            raise LicenceRefused(MISSING) from None
        except OSError as error:
            raise LicenceRefused("unreadable", path=self.path, error=error.strerror or error) from None
        found = self._seen[1]
        if isinstance(found, LicenceRefused):
            raise LicenceRefused(found.cause, **found.facts)  # anew: one raised again and again keeps every traceback
        return found

    def _read(self) -> bytes:
        with open(self.path, "rb") as file:
            return file.read(BYTES_MAX + 1)

    def _judged(self, raw: bytes) -> Licence | LicenceRefused:
        try:
            return verified(raw, self._public, self._own_address)
        except LicenceRefused as refused:
            return refused

    def alarm(self) -> bool:
        """Log what is wrong or soon will be, once a day for all processes of this server. True when a line was written.

        The mark that it leaves is what the alerts read (``alerts.facts``); it goes when all is well.
        """
        sentence = self.state().sentence
        mark, today = self.path.with_name(ALARM), str(self._today())
        if not sentence:
            with contextlib.suppress(OSError):  # one that stays is over a day later
                mark.unlink(missing_ok=True)
            return False
        try:
            if mark.exists() and mark.read_text(errors="replace") == f"{today} {sentence}":
                return False
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(f"{today} {sentence}")
        except OSError as error:
            sentence += f" ({mark} cannot be written: {error.strerror or error}; this line may come often.)"
        self._report.line(SOURCE, sentence)
        return True

    def watch(self) -> None:
        """Look now and each hour from now on, on a thread of its own, also in processes that the server forks."""
        if not self._public:
            return
        self._start()
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        threading.Thread(target=self._look, name="ft-licence", daemon=True).start()

    def _look(self) -> None:
        while True:
            self.alarm()
            time.sleep(LOOK_S)
