"""The demo's portals: their own pages, and what the plugin costs them."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from demo import flask_admin_portal, portal
from tests.integration.web.conftest import free_port

FOLDER = pathlib.Path(portal.__file__).parent
OF_THE_PLUGIN = re.compile(r"ftplugin|FaultTolerance|\bft_|\bFT_")


@pytest.fixture
def make(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Flask]]:
    file = tmp_path / "node.toml"
    file.write_text(
        'PORTAL_SECRET_KEY = "portal-secret"\nPORTAL_PASSWORD = "open sesame"\nFT_OWN_ADDRESS = "127.0.0.11:8080"\n'
        f'FT_REDIS_URL = "redis://127.0.0.1:{free_port()}/0"\nFT_INSTANCE_DIR = "{tmp_path / "instance"}"\n'
        'FT_SECRET_KEYS = ["test-key-of-32-characters-long-ok"]\n'
    )
    monkeypatch.setenv("FT_CONFIG_FILE", str(file))
    made: list[Flask] = []

    def made_by(module: Any) -> Flask:
        made.append(module.create_app())
        return made[-1]

    yield made_by
    for app in made:
        app.extensions["ftplugin"].close()


def log_in(client: Any, user: str, password: str = "open sesame", path: str = "/login") -> Any:
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(path).text)[1]
    data = {"user": user, "password": password, "csrf_token": token}
    return client.post(path, data=data, follow_redirects=True)


def code_lines(path: pathlib.Path) -> list[str]:
    """Lines without comments and without the module's docstring."""
    text = re.sub(r'\A""".*?"""', "", path.read_text(), flags=re.S)
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("parts", [("portal.py", "portal_pages.py", "templates/portal"), ("flask_admin_portal.py",)])
def test_the_plugin_costs_a_portal_fewer_than_ten_lines(parts: tuple[str, ...]) -> None:
    files = [
        file for part in parts for file in ([FOLDER / part] if part.endswith(".py") else (FOLDER / part).iterdir())
    ]
    lines = [f"{file.name}: {line}" for file in files for line in code_lines(file) if OF_THE_PLUGIN.search(line)]
    assert any("FaultTolerance(app" in line for line in lines)
    assert len(lines) < 10, "\n".join(lines)


def test_the_portal_has_pages_of_its_own_for_those_who_are_logged_in(make: Callable[[Any], Flask]) -> None:
    client = make(portal).test_client()
    assert client.get("/directory").location.startswith("/login")
    assert "User or password is wrong" in log_in(client, "admin", "guess").text
    assert "User or password is wrong" in log_in(client, "nobody").text
    assert "Logged in as admin" in log_in(client, "admin").text
    found = client.get("/directory?q=dub").text
    assert "Marc Dubois" in found and "Anna Berger" not in found
    assert "Nobody found" in client.get("/directory?q=%25%25").text, "a percent sign is no wildcard"
    assert "Operator on duty" in client.get("/users").text
    client.get("/logout")
    assert client.get("/users").status_code == 302


def test_the_plugins_pages_stand_in_the_portals_frame_with_its_navigation(make: Callable[[Any], Flask]) -> None:
    client = make(portal).test_client()
    assert client.get("/ft/admin/").location.startswith("/login"), "a stranger gets the portal's own log-in page"
    assert "Logged in as admin" in log_in(client, "admin").text
    page = client.get("/ft/", follow_redirects=True)
    assert page.status_code == 200
    for part in ('href="/directory"', "Demo portal</title>", "portal.css", "ft.css", 'id="ft-status"', "Logged in as"):
        assert part in page.text, part
    assert page.text.count("<html") == 1 and page.text.count("<main") == 1
    assert 'href="/ft/"' in client.get("/").text, "the portal's navigation leads to it"


@pytest.mark.parametrize(("user", "rights"), [("admin", "vco"), ("operator", "vo"), ("guest", "v")])
def test_the_portals_users_have_different_rights(make: Callable[[Any], Flask], user: str, rights: str) -> None:
    client = make(portal).test_client()
    log_in(client, user)
    assert (client.get("/ft/admin/").status_code == 200) == ("v" in rights)
    assert (client.post("/ft/admin/pause").status_code == 403) == ("o" not in rights)
    assert (client.post("/ft/admin/settings").status_code == 403) == ("c" not in rights)


def test_a_link_to_another_site_is_not_followed_after_the_log_in(make: Callable[[Any], Flask]) -> None:
    for target in ("//evil.example/", "/\\evil.example", "https://evil.example/"):
        page = log_in(make(portal).test_client(), "admin", path=f"/login?next={target}")
        assert page.request.path == "/" and page.status_code == 200


def test_the_portals_database_is_its_own_and_is_filled_once(
    make: Callable[[Any], Flask], tmp_path: pathlib.Path
) -> None:
    for _ in range(2):
        assert "Logged in as guest" in log_in(make(portal).test_client(), "guest").text
    assert (tmp_path / "portal.sqlite3").exists() and (tmp_path / "instance" / "ft.sqlite3").exists()


def test_flask_admin_has_one_more_entry_and_the_pages_stand_in_its_frame(make: Callable[[Any], Flask]) -> None:
    client = make(flask_admin_portal).test_client()
    assert client.get("/ft/admin/").location.startswith("/login/")
    assert client.get("/people/").location == "/login/"
    home = log_in(client, "admin", path="/login/")
    assert 'href="/ft/"' in home.text and home.request.path == "/"
    assert "Nobody yet" in client.get("/people/").text
    for path in ("/ft/admin/", "/ft/admin/settings", "/ft/admin/licence"):
        page = client.get(path)
        assert page.status_code == 200
        assert page.text.count("<html") == 1 and "navbar" in page.text and "ft.css" in page.text, path
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert client.post("/ft/admin/pause", data={"reason": "x"}).status_code == 400, token


@pytest.mark.parametrize("name", ["portal", "flask_admin_portal"])
def test_the_program_serves(make: Callable[[Any], Flask], name: str) -> None:
    port = free_port()
    command = [sys.executable, "-m", f"demo.{name}", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, cwd=FOLDER.parent, env=os.environ.copy(), stdout=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ft/monitor?mod=FT", timeout=2) as answer:
                    assert answer.read() == b"STANDBY"
                break
            except OSError:
                assert time.monotonic() < end_s and process.poll() is None
                time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
