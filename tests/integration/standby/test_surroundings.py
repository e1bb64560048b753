"""Standby requests behind a proxy with a prefix, and over TLS between the two servers."""

from __future__ import annotations

import json
import pathlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from ftplugin.core.terms import Role
from ftplugin.pairing.certificates import issue, make_ca

from ..web.conftest import RedisProcess, free_port
from .conftest import Portals, serve
from .pair import Pen, ask, portal_config
from .site_app import create_app

OF_THE_PROXY = {"X_Forwarded_For": "203.0.113.7", "X_Forwarded_Proto": "https", "X_Forwarded_Prefix": "/office"}
VIP = "portal.example"


@pytest.fixture(scope="module")
def behind_a_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portals]:
    """Both portals believe one proxy before them, as Werkzeug's ProxyFix has it."""
    made = Portals(tmp_path_factory.mktemp("proxied"))
    for app in made.apps:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_prefix=1)
    made.pair.one_is_active()
    yield made
    made.close()


def test_client_scheme_host_and_prefix_are_those_of_the_proxy(behind_a_proxy: Portals) -> None:
    pair = behind_a_proxy.pair
    direct = json.loads(ask(pair.one, "/echo?a=1", Host=VIP, **OF_THE_PROXY).body)
    there = json.loads(ask(pair.two, "/echo?a=1", Host=VIP, **OF_THE_PROXY).body)
    for seen in (direct, there):
        assert (seen["by"], seen["client"]) == (pair.one, "203.0.113.7")
        assert seen["url"] == f"https://{VIP}/office/echo?a=1"
    chain = there["headers"]["X-Forwarded-For"]
    assert chain == "203.0.113.7, 203.0.113.7", "a portal that reads it by itself finds the client at the end too"


def test_a_redirect_goes_to_the_server_itself_not_through_the_prefix(behind_a_proxy: Portals) -> None:
    pair = behind_a_proxy.pair
    assert (
        ask(pair.two, "/away/x", Host=VIP, **OF_THE_PROXY).headers["Location"] == f"http://{pair.one}/away/x?ft-hop=2"
    )
    pair.pen2.heard(None)
    page = ask(pair.two, "/echo", Host=VIP, Accept="text/html", **OF_THE_PROXY)
    assert page.status == 503 and 'href="/office/echo"' in page.text
    pair.one_is_active()


class TlsUpstream:
    """An active server that answers every request over TLS, at an IPv6 address."""

    def __init__(self, certificate: pathlib.Path, key: pathlib.Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.address = f"https://[::1]:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
                sock.settimeout(10)
                with self.context.wrap_socket(sock, server_side=True) as secure:
                    secure.recv(65536)
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
            except ssl.SSLError:
                continue  # the other end does not trust us
            except OSError:
                return


@pytest.fixture
def over_tls(tmp_path: pathlib.Path) -> Iterator[Any]:
    """A function: starts a standby portal that trusts one CA; its address. The active server has a certificate of "trusted"."""
    pytest.importorskip("cryptography")
    redis, closers = RedisProcess(tmp_path), []
    authorities = {}
    for name in ("trusted", "other"):
        (tmp_path / name).mkdir()
        authorities[name] = make_ca(tmp_path / name)
    upstream = TlsUpstream(*issue(tmp_path / "trusted", ["::1"]))

    def start(ca: str) -> str:
        address = f"127.0.0.2:{free_port()}"
        config = portal_config(2, address, redis.port, tmp_path, FT_TLS_CA=str(authorities[ca]))
        pen = Pen(2, config)
        pen.settings(upstream.address, address)
        app = create_app(config)
        server = serve(app, address)
        closers.extend([server.close, app.extensions["ftplugin"].close])
        pen.role(Role.STANDBY)
        pen.heard(Role.ACTIVE)
        return address

    yield start
    for close in closers:
        close()
    upstream.listener.close()
    redis.kill()


def test_it_is_passed_on_over_tls_to_whom_the_ca_vouches_for(over_tls: Any) -> None:
    address = over_tls("trusted")
    assert ask(address, "/bare").text == "secret"
    assert ask(address, "/away/x").headers["Location"].startswith("https://[::1]:")


def test_nothing_is_passed_on_to_a_server_without_a_trusted_certificate(over_tls: Any) -> None:
    reply = ask(over_tls("other"), "/bare")
    assert reply.status == 503 and "cannot be reached" in reply.text
