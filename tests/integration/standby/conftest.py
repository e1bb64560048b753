from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from waitress import create_server

from ..web.conftest import RedisProcess, free_port
from .pair import Pair, Pen, portal_config
from .site_app import create_app


class Served:
    """``app`` under waitress, which shows it X-Forwarded-For and its like."""

    def __init__(self, app: Flask, host: str, port: int) -> None:
        self._server = create_server(
            app, host=host, port=port, threads=8, ident=None, clear_untrusted_proxy_headers=False
        )
        self._ends = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._server.run()
        except OSError:  # its loop may be waiting for a socket that close() takes away
            if not self._ends:
                raise

    def close(self) -> None:
        self._ends = True
        self._server.close()
        self._server.task_dispatcher.shutdown()


def serve(app: Flask, address: str) -> Served:
    """Serve ``app`` at ``address``, as host:port."""
    host, _, port = address.rpartition(":")
    return Served(app, host, int(port))


class Portals:
    """Two portals of this process under waitress."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.redis = RedisProcess(folder)
        self.servers: list[Served] = []
        ports = free_port(), free_port()
        addresses = [f"127.0.0.{number}:{port}" for number, port in enumerate(ports, start=1)]
        configs = [
            portal_config(number, address, self.redis.port, folder, **changes)
            for number, address in enumerate(addresses, start=1)
        ]
        pens = [Pen(number, config) for number, config in enumerate(configs, start=1)]
        for pen in pens:
            pen.settings(*addresses)
        self.apps: list[Flask] = [create_app(config) for config in configs]
        for app, address in zip(self.apps, addresses):
            self.servers.append(serve(app, address))
        self.pair = Pair(addresses[0], addresses[1], pens[0], pens[1])

    def close(self) -> None:
        for server in self.servers:
            server.close()
        for app in self.apps:
            app.extensions["ftplugin"].close()
        self.redis.kill()


@pytest.fixture(scope="module")
def portals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portals]:
    made = Portals(tmp_path_factory.mktemp("pair"))
    yield made
    made.close()


@pytest.fixture
def pair(portals: Portals) -> Pair:
    """server1 is active, server2 standby."""
    portals.pair.one_is_active()
    for app in portals.apps:
        app.extensions["ran"].clear()
    return portals.pair
