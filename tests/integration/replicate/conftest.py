"""Two real portals, both served, each with its own Redis, its own databases and its own folder."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import (
    JSON,
    Boolean,
    DateTime,
    Engine,
    Enum,
    ForeignKey,
    LargeBinary,
    Numeric,
    String,
    create_engine,
    event,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from waitress import create_server

from ftplugin import FaultTolerance, Portal
from ftplugin.core.terms import Role
from ftplugin.replicate.engine import Replicator
from ftplugin.replicate.ledger import Ledger, root_of
from ftplugin.replicate.pull import Progress, Puller
from ftplugin.replicate.scan import Scan, scan
from ftplugin.replicate.wire import ContentPeer
from tests.parts import eventually

from ..web.conftest import RedisProcess, Site, free_port

KEY = "test-key-of-32-characters-long-ok"
LIMIT_S = 30.0


class Base(DeclarativeBase):
    pass


class Kind(enum.Enum):
    PHONE = "phone"
    DOOR = "door"


class Group(Base):
    __tablename__ = "groups"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("groups.id"))
    name: Mapped[str] = mapped_column(String(100))
    born: Mapped[datetime.datetime | None] = mapped_column(DateTime)
    balance: Mapped[decimal.Decimal | None] = mapped_column(Numeric(12, 2))
    photo: Mapped[bytes | None] = mapped_column(LargeBinary)
    options: Mapped[Any] = mapped_column(JSON, nullable=True)
    kind: Mapped[Kind | None] = mapped_column(Enum(Kind))
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    last_login: Mapped[str] = mapped_column(String(40), default="never")  # excluded: of each server


class Line(Base):
    __tablename__ = "lines"
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    device: Mapped[str] = mapped_column(String(40), primary_key=True)
    label: Mapped[str] = mapped_column(String(40), default="")


@dataclass
class Node:
    """One server: its portal, its database of users, its folder ``files``."""

    site: Site
    designation: str
    engine: Engine
    folder: pathlib.Path
    ft: Portal

    @property
    def replicator(self) -> Replicator:
        assert self.ft.replicator is not None
        return self.ft.replicator

    def session(self) -> Session:
        return Session(self.engine)

    def edit(self, change: Callable[[Session], Any]) -> None:
        with self.session() as session:
            change(session)
            session.commit()

    def user(self, number: int) -> User | None:
        with self.session() as session:
            return session.get(User, number)

    def scan(self, *, active: bool = False, gone: str = "") -> dict[str, Scan]:
        """What the thread does at its looks."""
        found = {}
        for name, thing in self.replicator.things.items():
            ledger = Ledger(self.ft.database, name)
            found[name] = scan(thing, ledger, self.designation, active=active, wall_s=time.time(), gone=gone)
        return found

    def pull(self, go_on: Callable[[], bool] = lambda: True) -> dict[str, Progress]:
        """What the thread does when the two differ."""
        peer = ContentPeer(self.ft)
        try:
            return Puller(self.replicator.things, self.ft.database, peer, self.designation, go_on=go_on).round()
        finally:
            peer.close()

    def roots(self) -> dict[str, str]:
        return {name: root_of(Ledger(self.ft.database, name).digests()) for name in self.replicator.things}

    def tree(self) -> dict[str, bytes | None]:
        """Every path below the folder with its content; None: a folder."""
        found: dict[str, bytes | None] = {}
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if not name.startswith(".ft-replica"):
                found[name] = None if path.is_dir() else path.read_bytes()
        return found


@dataclass
class Couple:
    """server1 and server2."""

    one: Node
    two: Node

    def settle(self, rounds: int = 2, *, active: bool = False) -> None:
        """Look and pull on both until they agree; server1 is the active one if ``active``."""
        for _ in range(rounds):
            self.one.scan(active=active)
            self.two.scan()
            self.two.pull()
            self.one.pull()
        assert self.one.roots() == self.two.roots()

    def __iter__(self) -> Iterator[Node]:
        return iter((self.one, self.two))


def wait_until(true: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> None:
    eventually(true, limit_s, what, 0.05)


def register(mounted: FaultTolerance, node_engine: Engine, folder: pathlib.Path) -> None:
    for model in (Line, User, Group):  # in the wrong order: the foreign keys decide
        mounted.replicate(model, engine=node_engine, exclude=["last_login"] if model is User else [])
    mounted.replicate_folder(folder, name="files", exclude=["*.tmp", "cache"])


@pytest.fixture
def threads() -> None:
    """Asked for by a test in which the portals' own threads replicate; else a test looks and pulls itself."""


@pytest.fixture
def couple(tmp_path: pathlib.Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Couple]:
    if "threads" not in request.fixturenames:
        monkeypatch.setattr(Replicator, "ensure", lambda replicator: None)
    with a_couple(tmp_path) as found:
        yield found


@contextlib.contextmanager
def a_couple(
    folder: pathlib.Path,
    urls_of_databases: Sequence[str] = (),
    base: type[DeclarativeBase] = Base,
    mount: Callable[[FaultTolerance, Engine, pathlib.Path], None] = register,
    one_file: bool = False,
) -> Iterator[Couple]:
    """Both servers, below ``folder``. urls_of_databases: of both portals, SQLite unless given. mount: registers what is of
    ``base``. one_file: ftplugin keeps its tables in the portal's database.
    """
    with contextlib.ExitStack() as stack:
        ports = [free_port(), free_port()]
        urls = [f"http://127.0.0.{11 + n}:{port}" for n, port in enumerate(ports)]
        nodes = []
        for n, port in enumerate(ports):
            home = folder / f"node{n + 1}"
            home.mkdir()
            redis = RedisProcess(home)
            stack.callback(redis.kill)
            engine = create_engine(urls_of_databases[n] if urls_of_databases else f"sqlite:///{home}/portal.sqlite3")
            if not urls_of_databases:
                event.listen(engine, "connect", lambda link, _record: link.execute("PRAGMA foreign_keys=ON"))
            stack.callback(engine.dispose)
            base.metadata.create_all(engine)
            files = home / "files"
            files.mkdir()
            nodes.append(_node(stack, home, redis, engine, files, n, port, urls, mount, one_file))
        yield Couple(*nodes)


def _node(
    stack: contextlib.ExitStack,
    home: pathlib.Path,
    redis: RedisProcess,
    engine: Engine,
    folder: pathlib.Path,
    n: int,
    port: int,
    urls: list[str],
    mount: Callable[[FaultTolerance, Engine, pathlib.Path], None],
    one_file: bool,
) -> Node:
    app = Flask(f"portal{n + 1}")
    app.config.update(
        SECRET_KEY="portal-secret",
        FT_OWN_ADDRESS=urls[n],
        FT_REDIS_URL=redis.url,
        FT_INSTANCE_DIR=str(home / "instance"),
        FT_SECRET_KEYS=[KEY],
        FT_DATABASE_URL=str(engine.url) if one_file else "",
    )
    mounted = FaultTolerance(app, authorize=lambda permission: True)
    mount(mounted, engine, folder)
    portal = app.extensions["ftplugin"]
    stack.callback(portal.close)
    site = Site(app, portal, redis, [], mounted)
    portal.settings.save(
        {"server1_address": urls[0], "server2_address": urls[1], "enabled": True}, "test", None, "test"
    )
    site.role(Role.STANDBY)
    site.agent()
    server = create_server(app, host=f"127.0.0.{11 + n}", port=port, threads=4, ident=None)
    stack.callback(server.task_dispatcher.shutdown)
    stack.callback(server.close)

    def serve() -> None:
        with contextlib.suppress(OSError):  # its socket is closed under it at the end
            server.run()

    threading.Thread(target=serve, daemon=True).start()
    return Node(site, f"server{n + 1}", engine, folder, portal)
