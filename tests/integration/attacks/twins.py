"""Two servers with their real stores and the real code of replication, on a line that a test cuts, and that can crash."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
)

from ftplugin.clock import SystemClock
from ftplugin.replicate.conflicts import SETTINGS as SUBJECT
from ftplugin.replicate.conflicts import ConflictStore, Lost
from ftplugin.replicate.files import FolderThing
from ftplugin.replicate.files_take import FileTaker
from ftplugin.replicate.ledger import BUCKETS, Ledger, root_of
from ftplugin.replicate.pull import Progress, Puller
from ftplugin.replicate.rows import RowThing
from ftplugin.replicate.safe_folder import KEPT
from ftplugin.replicate.scan import scan
from ftplugin.replicate.serve import QUESTIONS
from ftplugin.replicate.thing import ReplicationError
from ftplugin.store.database import Database
from ftplugin.store.settings_history import history
from ftplugin.store.settings_store import SettingsStore
from ftplugin.store.tables import METADATA
from ftplugin.web.replicate_api import COMMANDS
from workers.agent import Agent
from workers.ports import Reply
from workers.settings_sync import SettingsSync

NODES = ("server1", "server2")
PAIR = {"server1_address": "10.0.0.1", "server2_address": "10.0.0.2"}
TABLES = MetaData()
OWNERS = Table("owners", TABLES, Column("id", Integer, primary_key=True), Column("name", String(80)))
ITEMS = Table(
    "items",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("owner", ForeignKey("owners.id")),
    Column("name", String(80)),
)


class Crash(BaseException):
    """The process ends here; nothing in it runs on."""


class Fuse:
    """Counts the writes of replication, and ends the process before or after one of them. left None: never."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Crash

    def around(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def burning(*given: Any, **named: Any) -> Any:
            self.burn()
            found = real(*given, **named)
            self.burn()
            return found

        patch.setattr(owner, name, burning)


@contextmanager
def fuse_in_place() -> Iterator[Fuse]:
    """Every write of replication may be the last one of its process."""
    fuse, patch = Fuse(), pytest.MonkeyPatch()
    for owner, name in (
        (Ledger, "save"),
        (Ledger, "intend"),
        (ConflictStore, "note"),
        (RowThing, "take"),
        (FileTaker, "_place"),
        (FileTaker, "_keep_aside"),
        (FileTaker, "_drop"),
    ):
        fuse.around(patch, owner, name)
    yield fuse
    patch.undo()


class Twin:
    """One server. ``cut``: no question gets through; ``cut_after``: questions until the line is cut, None: never.
    ``meanwhile``: done once, before the question of that number is answered."""

    def __init__(self, home: pathlib.Path, name: str) -> None:
        self.name, self.home = name, home / name
        self.folder = self.home / "files"
        self.folder.mkdir(parents=True)
        self.clock_s, self.monotonic_s, self.cut = time.time(), 0.0, False
        self.cut_after: int | None = None
        self.meanwhile: tuple[int, Callable[[], Any]] | None = None
        self.database = Database(f"sqlite:///{self.home}/ft.sqlite3")
        self.engine = create_engine(f"sqlite:///{self.home}/portal.sqlite3")
        event.listen(self.engine, "connect", lambda link, _record: link.execute("PRAGMA foreign_keys=ON"))
        TABLES.create_all(self.engine)
        self.conflicts = ConflictStore(self.database, wall_s=lambda: self.clock_s)
        self.lines: list[str] = []
        self.documents: dict[str, Any] = {}
        self.things: dict[str, RowThing | FolderThing] = {}
        self.other: Twin
        self.start()

    def start(self) -> None:
        """As a new process: it knows what is written down, and no more."""
        for thing in self.things.values():
            thing.close()
        self.things = {
            "owners": RowThing(OWNERS, self.engine),
            "items": RowThing(ITEMS, self.engine),
            "files": FolderThing(self.folder, name="files"),
        }
        address = PAIR[f"{self.name}_address"]
        self.store = SettingsStore(
            self.database, address, wall_s=lambda: self.clock_s, monotonic_s=lambda: self.monotonic_s
        )
        self.sync = SettingsSync(
            store=self.store,
            conflicts=self.conflicts,
            peer=self,  # type: ignore[arg-type]
            runtime=self,  # type: ignore[arg-type]
            log=self,  # type: ignore[arg-type]
            clock=SystemClock(),
            monotonic_s=lambda: self.monotonic_s,
        )

    def empty(self) -> None:
        """As if just installed."""
        with self.database.transaction() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(delete(table))
        with self.engine.begin() as connection:
            connection.execute(delete(ITEMS))
            connection.execute(delete(OWNERS))
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.clock_s, self.cut, self.cut_after, self.meanwhile = time.time(), False, None, None
        self.start()

    def close(self) -> None:
        for thing in self.things.values():
            thing.close()
        self.database.close()
        self.engine.dispose()

    # --- what a user does and sees ---------------------------------------------------------------------------------

    def write_row(self, number: int, name: str) -> str:
        """The text that was there before, "" for none. name "": delete."""
        with self.engine.begin() as connection:
            here = connection.scalar(select(ITEMS.c.name).where(ITEMS.c.id == number)) or ""
            connection.execute(delete(ITEMS).where(ITEMS.c.id == number))
            if name:
                if connection.scalar(select(OWNERS.c.id).where(OWNERS.c.id == number)) is None:
                    connection.execute(insert(OWNERS).values(id=number, name=f"owner {number}"))
                connection.execute(insert(ITEMS).values(id=number, owner=number, name=name))
        return here

    def write_file(self, path: str, text: str) -> str:
        """The text that was there before, "" for none. text "": delete."""
        file = self.folder / path
        here = file.read_text() if file.exists() else ""
        if text:
            file.parent.mkdir(exist_ok=True)
            beside = self.home / "beside"
            beside.write_text(text)
            os.replace(beside, file)
        else:
            file.unlink(missing_ok=True)
        return here

    def rows(self) -> dict[int, str]:
        with self.engine.connect() as connection:
            return {number: name for number, name in connection.execute(select(ITEMS.c.id, ITEMS.c.name))}

    def files(self) -> dict[str, str]:
        found = {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*") if path.is_file()}
        return {name: path.read_text() for name, path in found.items() if not name.startswith(".ft-replica")}

    def traces(self) -> set[str]:
        """Every text that somebody who looks at this server's pages finds, or can bring back from there."""
        found = {*self.rows().values(), *self.files().values()}
        for lost in self.conflicts.listed(limit=10_000):
            found.add(str(lost.lost.get("values", {}).get("name", "")))
            if lost.lost.get("file") and lost.kept_on == self.name:
                found.add((self.folder / ".ft-replica" / KEPT / lost.lost["file"]).read_text())
        return found

    def settings_traces(self) -> set[int]:
        """The same for the settings: ``cti_ports`` of every revision in the history or among what lost."""
        found = {int(one.lost["values"]["cti_ports"]) for one in self.conflicts.listed(subject=SUBJECT, limit=10_000)}
        below: int | None = None
        while page := history(self.database, below=below):
            found |= {revision.settings.cti_ports for revision in page}
            below = page[-1].revision
        return found

    def pass_by(self, seconds: float) -> None:
        """Time, on both clocks; the wall clock alone is set by ``clock_s``."""
        self.clock_s += seconds
        self.monotonic_s += seconds

    def save(self, ports: int) -> None:
        self.store.save({**PAIR, "cti_ports": ports}, f"admin of {self.name}")

    # --- what the server does --------------------------------------------------------------------------------------

    def look(self) -> None:
        for name, thing in self.things.items():
            scan(thing, Ledger(self.database, name), self.name, active=False, wall_s=self.clock_s)

    def pull(self) -> dict[str, Progress]:
        line: Any = Line(self)
        return Puller(self.things, self.database, line, self.name, wall_s=lambda: self.clock_s).round()

    def roots(self) -> dict[str, str]:
        return {name: root_of(Ledger(self.database, name).digests()) for name in self.things}

    def ledger(self, thing: str) -> dict[str, str]:
        """Entries by key."""
        loaded = Ledger(self.database, thing).load(range(BUCKETS))
        return {key: text for bucket in loaded.values() for key, text in bucket.entries.items()}

    def heartbeat(self) -> None:
        """What the agent does with the revision in the other server's answer (``Agent._follow_settings``)."""
        if self.cut:
            return
        ports: Any = SimpleNamespace(settings=self, peer=self)
        agent: Any = SimpleNamespace(ports=ports, settings=lambda: (0, None, SimpleNamespace(network_s=1.0), None))
        agent._take_settings = lambda: Agent._take_settings(agent)
        revision, settings = self.other.store.current()
        heard: Any = SimpleNamespace(
            peer_state=SimpleNamespace(settings_revision=revision, settings_mark=settings.mark)
        )
        Agent._follow_settings(agent, heard, self.store.current()[0])

    # ports of the agent and of its thread for the settings

    def mark(self) -> str:
        return self.store.current()[1].mark

    def acknowledged(self, revision: int) -> None:
        self.store.acknowledged(revision)

    def adopt(self, document: Any) -> None:
        self.store.adopt(document)

    def command(self, name: str, body: Any, limit_s: float) -> Reply:
        if self.cut:
            return Reply(answered=False, detail="connection refused")
        return Reply(answered=True, body=self.other.take(name, json.loads(json.dumps(body))))

    def settings(self, limit_s: float) -> Reply:
        return Reply(answered=not self.cut, body={} if self.cut else self.other.store.document())

    def take(self, name: str, body: Any) -> dict[str, Any]:
        """A command of the other server, by the real function of the node API; now, later or twice."""
        portal: Any = SimpleNamespace(database=self.database, settings=self.store, report=self)
        return COMMANDS[name](portal, body)

    def report(self, source: str, text: str) -> None:
        self.lines.append(f"{source}: {text}")

    line = report

    def fetch(self, name: str) -> Any:
        return self.documents.get(name)

    def publish(self, name: str, value: Any) -> bool:
        self.documents[name] = value
        return True


class Line:
    """In place of ``ContentPeer``: the same questions, answered by the other server's real functions."""

    def __init__(self, asker: Twin) -> None:
        self._asker, self._count = asker, 0

    def _answered(self, what: str, body: dict[str, Any]) -> Any:
        asker = self._asker
        if asker.cut or (asker.cut_after is not None and self._count >= asker.cut_after):
            raise ReplicationError(f"{asker.other.name} cannot be asked: connection refused")
        if asker.meanwhile is not None and asker.meanwhile[0] <= self._count:
            done, asker.meanwhile = asker.meanwhile[1], None
            done()
        self._count += 1
        return QUESTIONS[what](asker.other.things, asker.other.database, json.loads(json.dumps(body)))

    def ask(self, what: str, **body: Any) -> dict[str, Any]:
        found = self._answered(what, body)
        return dict(json.loads(found if isinstance(found, str) else json.dumps(found)))

    def ask_bytes(self, what: str, **body: Any) -> tuple[dict[str, Any], memoryview]:
        head, blocks = self._answered(what, body)
        return dict(json.loads(json.dumps(head))), memoryview(b"".join(blocks))


@contextmanager
def home() -> Iterator[pathlib.Path]:
    """A folder; in memory where there is such a place, since thousands of transactions wait for a disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="ft-twins-", dir=memory) as found:
        yield pathlib.Path(found)


def twins(folder: pathlib.Path) -> tuple[Twin, Twin]:
    one, two = Twin(folder, "server1"), Twin(folder, "server2")
    one.other, two.other = two, one
    return one, two


def told(lost: list[Lost]) -> set[str]:
    return {one.conflict_id for one in lost}
