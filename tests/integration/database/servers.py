"""A throw-away PostgreSQL and MariaDB on loopback, that can be frozen, killed and started again."""

from __future__ import annotations

import abc
import contextlib
import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.parts import free_port

START_LIMIT_S = 60.0  # the machine may be busy
PR_SET_PDEATHSIG = 1
USERS = ("postgres", "mysql", "nobody")  # neither server runs as root


def program(name: str) -> str | None:
    """Debian keeps the programs of servers outside of PATH."""
    folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *map(str, folders)]))


def plain_user() -> str | None:
    """The user to run a server as; None: as this one, who is not root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in USERS if name in known)


def die_with_the_tests() -> None:
    """In the child: SIGKILL when whoever started it is gone, however that came about."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server(abc.ABC):
    """One server with its data in a folder of its own under the temporary folder."""

    kind = ""
    needs: tuple[str, ...] = ()

    def __init__(self) -> None:
        missing = [name for name in self.needs if program(name) is None]
        if missing:
            pytest.skip(f"no {self.kind}: {', '.join(missing)} is not installed")
        self.user, self.port, self.made = plain_user(), free_port(), 0
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"ft-{self.kind}-"))
        if self.user:
            shutil.chown(self.folder, self.user)
        self.process: subprocess.Popen[bytes] | None = None
        self.initialise()
        self.start()

    @abc.abstractmethod
    def initialise(self) -> None: ...

    @abc.abstractmethod
    def command(self) -> list[str]: ...

    def run(self, *argv: str) -> None:
        argv = (program(argv[0]) or argv[0], *argv[1:])
        done = subprocess.run(argv, user=self.user, capture_output=True, cwd=self.folder, timeout=START_LIMIT_S)
        assert done.returncode == 0, (argv, done.stdout[-2000:], done.stderr[-2000:])

    def start(self) -> None:
        argv = self.command()
        argv[0] = program(argv[0]) or argv[0]
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                argv, user=self.user, stdout=log, stderr=log, cwd=self.folder, preexec_fn=die_with_the_tests
            )
        self.wait_answers()

    def wait_answers(self) -> None:
        end_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.execute("SELECT 1")
                return
            except Exception as error:  # each driver has its own for "not yet"
                log = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                assert time.monotonic() < end_s and self.process and self.process.poll() is None, (error, log)
                time.sleep(0.05)

    @abc.abstractmethod
    def admin_url(self, database: str) -> str: ...

    def execute(self, *statements: str, database: str = "") -> list[Any]:
        """As administrator; rows of the last statement that has any."""
        engine = create_engine(self.admin_url(database), isolation_level="AUTOCOMMIT")
        rows: list[Any] = []
        try:
            with engine.connect() as connection:
                for statement in statements:
                    result = connection.execute(text(statement))
                    rows = list(result) if result.returns_rows else rows
        finally:
            engine.dispose()
        return rows

    @abc.abstractmethod
    def new_database(self, options: str = "") -> str:
        """A new empty database of the plain user ``ft``; its URL."""

    def pids(self) -> list[int]:
        assert self.process is not None
        found = [self.process.pid]
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(path.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    found.append(int(path.parent.name))
        return found

    def freeze(self) -> None:
        """Every process of it, the one that accepts connections first, so that no new one appears."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """As a crash: SIGKILL for each of its processes."""
        if self.process is None:
            return
        for pid in self.pids()[::-1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    kind = "postgresql"
    needs = ("initdb", "postgres")

    def initialise(self) -> None:
        options = ["-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"]
        self.run("initdb", "-D", str(self.folder / "data"), *options)

    def command(self) -> list[str]:
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        settings |= {"shared_buffers": "16MB", "max_connections": 60, "autovacuum": "off"}
        return ["postgres", "-D", str(self.folder / "data"), *(f"--{name}={value}" for name, value in settings.items())]

    def admin_url(self, database: str) -> str:
        return f"postgresql+psycopg://admin@127.0.0.1:{self.port}/{database or 'postgres'}?connect_timeout=5"

    def new_database(self, options: str = "") -> str:
        self.made += 1
        if not self.execute("SELECT 1 FROM pg_roles WHERE rolname = 'ft'"):
            self.execute("CREATE ROLE ft LOGIN PASSWORD 'secret'")
        self.execute(f"CREATE DATABASE ft_{self.made} OWNER ft {options}")
        return f"postgresql+psycopg://ft:secret@127.0.0.1:{self.port}/ft_{self.made}"


class MariaDb(Server):
    kind = "mariadb"
    needs = ("mariadb-install-db", "mariadbd")

    def initialise(self) -> None:
        options = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        options += ["--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"]
        self.run("mariadb-install-db", *options, f"--datadir={self.folder / 'data'}")

    def command(self) -> list[str]:
        options = ["--no-defaults", f"--datadir={self.folder / 'data'}", f"--port={self.port}", "--skip-name-resolve"]
        options += ["--bind-address=127.0.0.1", f"--socket={self.folder / 'sock'}", "--skip-log-bin"]
        options += ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--innodb-flush-method=nosync"]
        options += ["--character-set-server=latin1"]  # the tables must not depend on what the server is set to
        return ["mariadbd", *options]

    def admin_url(self, database: str) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/{database}?connect_timeout=5"

    def new_database(self, options: str = "") -> str:
        self.made += 1
        self.execute("CREATE USER IF NOT EXISTS ft@'127.0.0.1' IDENTIFIED BY 'secret'")
        self.execute(f"CREATE DATABASE ft_{self.made} {options}", f"GRANT ALL ON ft_{self.made}.* TO ft@'127.0.0.1'")
        return f"mysql+pymysql://ft:secret@127.0.0.1:{self.port}/ft_{self.made}"
