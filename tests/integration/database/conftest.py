"""The databases that are supported: SQLite as a file, PostgreSQL and MariaDB as throw-away servers of the session."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from ftplugin.store.database import Database
from ftplugin.store.tables import METADATA

from .servers import MariaDb, Postgres, Server

KINDS = ("sqlite", "postgresql", "mariadb")
SERVERS = KINDS[1:]
# Over what is no other SQL on a server than in a file: each time with SQLite, with the servers in the long run.
alike = pytest.mark.parametrize("kind", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.full) for kind in SERVERS)])


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[str], Server]]:
    """The running server of a kind, started when it is first asked for."""
    running: dict[str, Server] = {}

    def get(kind: str) -> Server:
        if kind not in running:
            running[kind] = {"postgresql": Postgres, "mariadb": MariaDb}[kind]()
        return running[kind]

    yield get
    for server in running.values():
        server.close()


@pytest.fixture
def new_url(server_of: Callable[[str], Server], tmp_path: pathlib.Path) -> Callable[[str], str]:
    """The URL of a new, empty database of a kind."""

    def make(kind: str) -> str:
        if kind != "sqlite":
            return server_of(kind).new_database()
        return f"sqlite:///{tmp_path}/new{len(list(tmp_path.iterdir()))}/ft.sqlite3"

    return make


@pytest.fixture(scope="session")
def emptied(server_of: Callable[[str], Server], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], str]:
    """The URL of database ``number`` of a kind, with its tables made and all their rows deleted: quicker than a new one."""
    known: dict[tuple[str, int], str] = {}

    def get(kind: str, number: int) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path_factory.mktemp('store')}/new/ft.sqlite3"
        url = known.get((kind, number)) or server_of(kind).new_database()
        known[kind, number] = url
        database = Database(url)
        with database.transaction() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(table.delete())
        database.close()
        return url

    return get


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, server_of: Callable[[str], Server]) -> Iterator[Server]:
    """Each server; running again afterwards, whatever the test did to it."""
    found = server_of(str(request.param))
    yield found
    if found.process is None:
        found.start()
    found.thaw()
    found.wait_answers()


@pytest.fixture
def url(kind: str, emptied: Callable[[str, int], str]) -> str:
    return emptied(kind, 1)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    found = Database(url)
    yield found
    found.close()


@pytest.fixture
def second(kind: str, emptied: Callable[[str, int], str]) -> Iterator[Database]:
    """That of the other server of the pair."""
    found = Database(emptied(kind, 2))
    yield found
    found.close()
