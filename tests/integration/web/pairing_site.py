"""Two real portals that are paired over HTTP, for the tests of pairing."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from waitress import create_server

from ftplugin.http_client import HttpClient

from .conftest import MakeSite, RedisProcess, Site, free_port


@dataclass
class Two:
    """``first`` shows the code and is served at ``url``; ``second`` joins. Each has its own Redis and files.

    recorded: what went over the line. cut: questions whose answer is cut off, once; lost: questions that never arrive.
    """

    first: Site
    second: Site
    url: str
    recorded: list[bytes]
    cut: list[bytes]
    lost: list[bytes]

    def run(self, site: Site, *words: str) -> Any:
        return site.app.test_cli_runner().invoke(args=["ft", *words])

    def code(self) -> str:
        shown = self.run(self.first, "pair", "--no-wait", "--json")
        assert shown.exit_code == 0, shown.output
        return str(json.loads(shown.stdout)["code"])

    def join(self, code: str, site: Site | None = None) -> Any:
        return self.run(site or self.second, "pair", "--join", self.url, code)

    def say(self, step: str, **message: Any) -> tuple[int, dict[str, Any]]:
        body = json.dumps({"v": 1, "step": step, **message}).encode()
        answer = HttpClient().ask("POST", self.url, "/ft/node/pair", limit_s=5, body=body, keep=False)
        return answer.status, json.loads(answer.text)

    def keys(self, site: Site) -> list[str]:
        path = site.portal.config.secrets.keys_file
        assert path is not None
        return [line for line in path.read_text().splitlines() if not line.startswith("#")] if path.exists() else []


@contextlib.contextmanager
def listening(application: Any, port: int = 0) -> Iterator[str]:
    """The WSGI application under waitress; its address."""
    server = create_server(application, host="127.0.0.1", port=port, threads=4, ident=None)

    def serve() -> None:
        with contextlib.suppress(OSError):  # its socket is closed under it at the end
            server.run()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.effective_port}"
    finally:
        server.close()
        server.task_dispatcher.shutdown()


@pytest.fixture(name="two")
def two_servers(make_site: MakeSite, tmp_path: pathlib.Path) -> Iterator[Two]:
    second_redis = RedisProcess(tmp_path)
    port = free_port()
    own, other = f"127.0.0.1:{port}", f"127.0.0.12:{free_port()}"
    of_first = {
        "FT_INSTANCE_DIR": str(tmp_path / "first"),
        "FT_SECRET_KEYS_FILE": str(tmp_path / "away" / "secret.keys"),
    }
    first = make_site(FT_SECRET_KEYS=[], FT_OWN_ADDRESS=own, **of_first)
    place = {"FT_OWN_ADDRESS": other, "FT_INSTANCE_DIR": str(tmp_path / "second"), "FT_REDIS_URL": second_redis.url}
    second = make_site(FT_SECRET_KEYS=[], **place)
    recorded: list[bytes] = []
    cut: list[bytes] = []
    lost: list[bytes] = []

    def recording(environ: Any, start: Any) -> Any:
        data = environ["wsgi.input"].read()
        if any(part in data for part in lost):
            start("200 OK", [("Content-Length", "100")])
            return [b"cut"]
        answer = b"".join(first.app({**environ, "wsgi.input": io.BytesIO(data)}, start))
        recorded.extend((data, answer))
        if cut and cut[0] in data:
            cut.pop()
            return [answer[:-5]]
        return [answer]

    for site in (first, second):
        site.configure(server1_address=own, server2_address=other)
    try:
        with listening(recording, port) as address:
            yield Two(first, second, f"http://{address}", recorded, cut, lost)
    finally:
        second_redis.kill()
