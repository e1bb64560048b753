"""PostgreSQL and MariaDB: connections on which nothing waits longer than the deadline of ``limits``.

The limits of the drivers alone do not do: a frozen server on the same host keeps its sockets open and acknowledged, so
libpq's connect_timeout, tcp_user_timeout and statement_timeout never strike. PyMySQL is pure Python over a socket with
timeouts, therefore it is the driver for MariaDB: the C clients wait inside the library. The limits that the server itself
keeps are a little shorter, so that a lock is told as a lock, on a connection that lives on.
"""

from __future__ import annotations

from collections.abc import Generator
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Dialect, Engine, event
from sqlalchemy.exc import TimeoutError as CallTimeout

from .limits import left_s

if TYPE_CHECKING:
    from psycopg import Connection

DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
DIALECTS = {"mariadb": "mysql"}  # options of tables go by the name of the dialect: one name for both
EXTRAS = {"postgresql": "postgresql", "mysql": "mariadb"}
SERVER_SHARE = 0.75  # of the limit of a call, for what the server waits itself
CONNECT_S_MAX = 5.0


def with_driver(url: URL) -> URL:
    """``url`` with the driver that this package knows the limits of, if it names none. Raises ValueError for another."""
    name, _, driver = url.drivername.partition("+")
    wanted = DRIVERS.get(name)
    if wanted is None or driver not in ("", wanted):
        raise ValueError(
            f"{url.drivername} is not supported, since its time limits are not known; "
            "use sqlite, postgresql+psycopg or mysql+pymysql"
        )
    return url.set(drivername=f"{DIALECTS.get(name, name)}+{wanted}")


def install_hint(url: URL) -> str:
    """What to install when the driver is missing."""
    return f"install its driver: pip install 'ftplugin[{EXTRAS[url.get_backend_name()]}]'"


def engine_options(url: URL, limit_s: float) -> dict[str, Any]:
    """Arguments of ``create_engine``. ``limit_s``: of one call, seconds."""
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_timeout": limit_s}
    server_s = limit_s * SERVER_SHARE
    connect_s = min(limit_s, CONNECT_S_MAX)
    if url.get_backend_name() == "postgresql":
        given = url.query.get("options", "")
        given = given if isinstance(given, str) else " ".join(given)
        limits = f"-c statement_timeout={server_s * 1000:.0f} -c lock_timeout={server_s * 1000:.0f}"
        # an epoch must outlast a power cut of this host, and wait for no other one
        arguments: dict[str, Any] = {"options": f"{given} {limits} -c synchronous_commit=local".strip()}
        arguments |= {"connect_timeout": max(2, round(connect_s)), "tcp_user_timeout": round(limit_s * 1000)}
        return options | {"connect_args": arguments}
    lock_s = max(1, int(server_s))
    settings = f"SET SESSION innodb_lock_wait_timeout={lock_s}, lock_wait_timeout={lock_s}"
    arguments = {"connect_timeout": connect_s, "read_timeout": limit_s, "write_timeout": limit_s}
    arguments |= {"charset": "utf8mb4", "init_command": f"{settings} /*M! , max_statement_time={server_s:g} */"}
    # as PostgreSQL: what another process has committed is seen, and no gap is locked
    return options | {"connect_args": arguments, "isolation_level": "READ COMMITTED"}


def keep_limits(engine: Engine, limit_s: float) -> None:
    """No new connection and no statement begins after the deadline, and none outlasts it."""
    connect = _limited_psycopg(limit_s) if engine.dialect.name == "postgresql" else None

    def do_connect(dialect: Dialect, _record: object, arguments: list[Any], named: dict[str, Any]) -> Any:
        dbapi, left = dialect.loaded_dbapi, left_s(limit_s)
        assert dbapi is not None
        if left <= 0:  # the question to an old connection has used it up: a new one would fare no better
            raise dbapi.OperationalError(_no_answer(limit_s))
        if connect is not None:
            return connect(*arguments, **named)
        named["connect_timeout"] = min(left, named["connect_timeout"])
        try:
            return dbapi.connect(*arguments, **named)
        except (TypeError, ValueError) as error:  # an option that PyMySQL does not know, a password it cannot write
            raise dbapi.OperationalError(str(error)) from None

    def before_cursor_execute(*_arguments: object) -> None:
        if left_s(limit_s) <= 0:
            raise CallTimeout(_no_answer(limit_s))

    event.listen(engine, "do_connect", do_connect)
    event.listen(engine, "before_cursor_execute", before_cursor_execute)


def _no_answer(limit_s: float) -> str:
    return f"no answer within {limit_s:g} s"


def _limited_psycopg(limit_s: float) -> Any:
    import psycopg

    def limited(steps: Generator[Any, Any, Any], connection: Connection | None = None) -> Generator[Any, Any, Any]:
        """``steps`` of psycopg, which also come back every 0.1 s when nothing has arrived (it calls that "not ready")."""
        end_s = monotonic() + left_s(limit_s)
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if not ready and monotonic() >= end_s:
                    if connection is not None:
                        connection.pgconn.finish()  # what the server still answers must meet nobody
                    raise psycopg.OperationalError(_no_answer(limit_s))
                wanted = steps.send(ready)
        except StopIteration as done:
            return done.value

    class Limited(psycopg.Connection[Any]):
        """A connection whose every wait has an end."""

        @classmethod
        def _connect_gen(cls, *arguments: Any, **named: Any) -> Any:
            return limited(super()._connect_gen(*arguments, **named))  # each address of a name has no limit of its own

        def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
            return super().wait(limited(gen, self), *arguments, **named)

    return Limited.connect
