"""The demo portal's page for the operator: it runs on the active server, whichever of the two is asked."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

import pytest
import requests

from demo import portal
from tests.integration.standby.conftest import serve
from tests.integration.standby.pair import KEY, Pair, Pen
from tests.integration.web.conftest import RedisProcess, free_port

PASSWORD = "open sesame"


@pytest.fixture
def pair(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    redis, closers, pens = RedisProcess(tmp_path), [], []
    addresses = [f"127.0.0.{number}:{free_port()}" for number in (1, 2)]
    for number, address in enumerate(addresses, start=1):
        config = {
            "FT_OWN_ADDRESS": address,
            "FT_REDIS_URL": f"redis://127.0.0.1:{redis.port}/{number}",
            "FT_INSTANCE_DIR": str(tmp_path / f"node{number}"),
            "FT_SECRET_KEYS": [KEY],
        }
        folder = tmp_path / f"node{number}"
        folder.mkdir()
        lines = [f"{name} = {value!r}".replace("'", '"') for name, value in config.items()]
        lines += ['PORTAL_SECRET_KEY = "portal-secret"', f'PORTAL_PASSWORD = "{PASSWORD}"']
        (folder / "node.toml").write_text("\n".join(lines) + "\n")
        pens.append(Pen(number, config))
        pens[-1].settings(*addresses)
        monkeypatch.setenv("FT_CONFIG_FILE", str(folder / "node.toml"))
        app = portal.create_app()
        server = serve(app, address)
        closers += [server.close, app.extensions["ftplugin"].close]
    made = Pair(addresses[0], addresses[1], pens[0], pens[1])
    made.one_is_active()
    yield made
    for close in closers:
        close()
    redis.kill()


def token(page: requests.Response) -> str:
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]


def test_a_user_of_the_standby_server_works_on_the_active_one(pair: Pair) -> None:
    """Log-in and form tokens hold on both, since both portals have one SECRET_KEY."""
    user, base = requests.Session(), f"http://{pair.two}"
    user.trust_env = False
    sent_away = user.get(base + "/operator", timeout=30)
    assert sent_away.url == base + "/login?next=%2Foperator", "the active server does not know the user yet"
    data = {"user": "operator", "password": PASSWORD, "csrf_token": token(sent_away)}
    page = user.post(sent_away.url, data=data, timeout=30)
    assert page.url == base + "/operator"
    assert f"on the server at <strong>{pair.one}</strong>" in page.text
    assert f"You asked {pair.two}, from 127.0.0.1" in page.text
    rung = user.post(base + "/operator", data={"number": "2001", "csrf_token": token(page)}, timeout=30)
    assert rung.url == base + "/operator" and f"Test call to 2001 from the server at {pair.one}." in rung.text
    refused = user.post(base + "/operator", data={"number": "2001", "csrf_token": "forged"}, timeout=30)
    assert "Test call to" not in refused.text
