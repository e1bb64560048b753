"""One file for support: logs, history, settings, status, doctor, versions, configuration; no secret (guide: "Zip Logs").

Made in a spooled temporary file, so that memory stays bounded whatever the logs weigh. What could not be had is said in
``manifest.json``; a dead peer or a silent database never costs the rest.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

from flask import current_app, has_app_context
from sqlalchemy.exc import SQLAlchemyError

from ..doctor import examine, show
from ..history import export
from ..history.source import DAYS_DEFAULT, read
from ..peer_client import PeerClient
from .peer import peer_bytes, peer_days
from .reader import CHUNK_BYTES_MAX, ReportReader
from .secrets_out import Cleaner, shown_config
from ..status import status_of
from ..store.database import DatabaseUnreachable
from ..store.events import DAY_S
from ..store.settings_history import history as settings_history

if TYPE_CHECKING:
    from ..extension import Portal

DAYS_MAX = 31
MEMORY_BYTES_MAX = 4_000_000  # what is larger goes to a temporary file
OWN_LOG_BYTES_MAX = 50_000_000  # the end of a larger file
PEER_LOG_BYTES_MAX = 20_000_000
PEER_LIMIT_S = 20.0  # for all of the peer's files together
DOCTOR_LIMIT_S = 2.0  # of each question; the whole takes about twice this
PACKAGES = (
    "celery", "kombu", "redis", "flask", "flask-wtf", "wtforms", "werkzeug", "jinja2", "sqlalchemy", "requests", "icmplib"
)  # fmt: skip
FAILURES = (OSError, SQLAlchemyError, DatabaseUnreachable, ValueError)


class ZipError(RuntimeError):
    """The file could not be made; the message says why and what to do."""


def make_zip(ft: Portal, *, days: int, peer: bool, limit_s: float = PEER_LIMIT_S) -> IO[bytes]:
    """The zip, rewound. days: today and the days before it, 1 to DAYS_MAX; peer: also the other server's logs and history.

    limit_s: seconds for all of the peer's log files. Raises ZipError when the temporary file cannot be written.
    """
    file: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY_BYTES_MAX)
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            _Zip(ft, archive, days, peer, limit_s).fill()
        file.seek(0)
    except OSError as error:
        file.close()
        raise ZipError(
            f"the temporary file in {tempfile.gettempdir()} cannot be written: {error.strerror}; free some space there"
        ) from None
    return file


class _Zip:
    """One zip in the making."""

    def __init__(self, ft: Portal, archive: zipfile.ZipFile, days: int, peer: bool, limit_s: float) -> None:
        self._ft, self._archive, self._days, self._peer, self._limit_s = ft, archive, days, peer, limit_s
        self._clean = Cleaner(ft.config, current_app.config if has_app_context() else None)
        self._parts: list[dict[str, str]] = []

    def fill(self) -> None:
        ft = self._ft
        self._json("configuration.json", lambda: shown_config(ft.config))
        self._json("versions.json", lambda: versions(ft))
        self._json("status.json", lambda: status_of(ft))
        self._json("settings.json", self._settings)
        self._json("doctor.json", lambda: show.document(examine(ft, DOCTOR_LIMIT_S)))
        self._json("history.json", self._history)
        self._own_logs()
        if self._peer:
            self._peer_logs()
        manifest = {
            "made_at": export.utc(ft.clock.wall_s()),
            "server": str(ft.designation() or ""),
            "days": self._days,
            "parts": self._parts,
        }
        self._archive.writestr("manifest.json", json.dumps(self._clean.value(manifest), indent=1))

    def _json(self, name: str, make: Callable[[], Any]) -> None:
        """One document; why it is missing when it cannot be had."""
        try:
            document = make()
        except FAILURES as error:
            self._say(name, f"missing: {error}".splitlines()[0])
            return
        plain = json.loads(json.dumps(document, default=str))  # so that the cleaner sees every text
        self._archive.writestr(name, json.dumps(self._clean.value(plain), indent=1))
        self._say(name, "")

    def _say(self, name: str, problem: str) -> None:
        self._parts.append({"name": name, "problem": problem})

    def _settings(self) -> dict[str, Any]:
        revision, current = self._ft.settings.current()
        past = settings_history(self._ft.database, limit=50)
        return {
            "revision": revision,
            "values": current.to_json(),
            "history": [one.to_json() for one in past],
        }

    def _history(self) -> dict[str, Any]:
        now_s = self._ft.clock.wall_s()
        client = PeerClient(self._ft) if self._peer else None
        found = read(self._ft, now_s - max(self._days, DAYS_DEFAULT) * DAY_S, now_s + DAY_S, client)
        return export.listing(found.incidents, found)

    def _wanted(self, names: Iterable[str]) -> list[str]:
        first = datetime.date.fromtimestamp(self._ft.clock.wall_s()) - datetime.timedelta(days=self._days - 1)
        return [name for name in names if name >= f"FT_REPORT_{first:%y%m%d}.txt"]

    def _own_logs(self) -> None:
        reader, me = ReportReader(self._ft.report), str(self._ft.designation() or "this-server")
        for name in self._wanted(reader.days()):
            self._log(f"logs/{me}/{name}", _own_bytes(reader, name))

    def _peer_logs(self) -> None:
        designation = self._ft.designation()
        peer = str(designation.other) if designation else "the-other-server"
        days, problem = peer_days(PeerClient(self._ft))
        if problem:
            self._say(f"logs/{peer}", f"missing: {problem}")
            return
        deadline_s = self._ft.clock.monotonic_s() + self._limit_s
        for name in self._wanted(day for day in days if len(day) == 20 and day.isascii() and "/" not in day):
            left_s = deadline_s - self._ft.clock.monotonic_s()
            if left_s <= 0:
                self._say(
                    f"logs/{peer}/{name}", f"missing: the {self._limit_s:g} s for the other server's logs are over"
                )
                continue
            self._log(f"logs/{peer}/{name}", peer_bytes(self._ft, name, left_s, PEER_LOG_BYTES_MAX))

    def _log(self, name: str, pieces: Iterator[bytes]) -> None:
        source = _Readable(pieces)
        with self._archive.open(name, "w", force_zip64=True) as entry:
            for piece in self._clean.lines(source):
                entry.write(piece)
        self._say(name, source.problem)


class _Readable:
    """Pieces of a file until it cannot be read any more; then ``problem`` says why. Errors of writing are not its own."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self.problem = pieces, ""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except (OSError, ValueError) as error:
            self.problem = f"the rest is missing: {error}"


def _own_bytes(reader: ReportReader, name: str) -> Iterator[bytes]:
    size = os.path.getsize(reader.path(name))
    offset = max(0, size - OWN_LOG_BYTES_MAX)
    if offset:
        yield f"[{offset} bytes before this are left out]\n".encode()
    while offset < size:
        data, _ = reader.chunk(name, offset, CHUNK_BYTES_MAX)
        if not data:
            return
        yield data
        offset += len(data)


def versions(ft: Portal) -> dict[str, str]:
    """Of this product, Python, the system and the packages it works with."""
    found = {"ftplugin": ft.version, "python": sys.version.split()[0], "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
