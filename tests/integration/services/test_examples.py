"""The examples of docs/services.md: each is read as it stands there and, where Debian or PyPI has it, run with other paths."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import sys
import tomllib
from dataclasses import fields
from typing import Any

import pytest

from ftplugin.core.terms import ServiceState as S
from workers.adapters.services import KINDS, Common, build
from workers.adapters.services.foreign import Kind
from workers.adapters.services.portal import build_portal
from workers.adapters.services.supervisord import SupervisordService

from ..adapters.conftest import RedisProcess, free_port, wait_until
from .conftest import alive, becomes, needs_agents
from .real_systemd import started
from .test_daemons_as_command import APP
from .test_ocf_agents import NGINX
from .test_supervisord import Supervisord

DOCS = pathlib.Path(__file__).parents[3] / "docs/services.md"
BLOCKS = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
TABLES = [table for block in BLOCKS for table in tomllib.loads(block).get("FT_SERVICES", [])]
PORTALS = [tomllib.loads(block)["FT_PORTAL"] for block in BLOCKS if "[FT_PORTAL]" in block]
INI = re.findall(r"```ini\n(\[program:.*?)```", DOCS.read_text(), re.DOTALL)
UNIT = re.findall(r"```ini\n(\[Unit\].*?)```", DOCS.read_text(), re.DOTALL)
PYTHON = re.findall(r"```python\n(class .*?)```", DOCS.read_text(), re.DOTALL)


COMMON: dict[str, Any] = {"name": "pbx", "start_limit_s": 5.0, "stop_limit_s": 1.0, "status_limit_s": 1.0}


def example(name: str, places: dict[str, str]) -> dict[str, Any]:
    """The page's table of that service, with other ``places``: each must stand in it."""

    def put(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: put(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [put(inner) for inner in value]
        for old, new in places.items():
            if isinstance(value, str) and old in value:
                used.add(old)
                value = value.replace(old, new)
        return value

    used: set[str] = set()
    found: dict[str, Any] = put(next(table for table in TABLES if table["name"] == name))
    assert used == set(places), "the page has other paths"
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@needs_agents
@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table["name"]))
def test_table_of_the_page_is_accepted(table: dict[str, Any]) -> None:
    """OCF tables are held against the real agents; of systemd and supervisord nothing is asked: they are not there."""
    assert build([table], ask_outside=table["kind"] == "ocf")[0].name == table["name"]


@pytest.mark.parametrize("table", PORTALS, ids=lambda table: str(table["kind"]))
def test_portal_table_of_the_page_is_accepted(table: dict[str, Any]) -> None:
    assert build_portal(table, ask_outside=False) is not None


def test_every_kind_has_a_table_on_the_page() -> None:
    assert {table["kind"] for table in TABLES} == set(KINDS)


def test_redis_of_the_page_owns_only_while_it_is_promoted(tmp_path: pathlib.Path) -> None:
    places = {"/run/shop-redis.pid": f"{tmp_path}/pid", "/etc/shop/redis.conf": f"{tmp_path}/redis.conf"}
    table, port = example("redis", places), free_port()
    for program in (table["start"][0], table["start"][table["start"].index("--exec") + 1]):
        if not pathlib.Path(program).exists():
            pytest.skip(f"needs {program}")
    (tmp_path / "redis.conf").write_text(f'port {port}\nbind 127.0.0.1\nsave ""\ndir {tmp_path}\n')
    service = build([table], tmp_path)[0]
    assert service.status().state is S.STANDBY and not listens(port)
    try:
        service.promote(4, 2.5)
        becomes(service, S.ACTIVE)
        wait_until(lambda: listens(port), 10, "redis listens")
    finally:
        state = service.demote(5).state
    assert state is S.STANDBY and not listens(port)


@needs_agents
def test_nginx_of_the_page_owns_only_while_it_is_promoted(tmp_path: pathlib.Path) -> None:
    port = free_port()
    places = {"/etc/shop/nginx.conf": f"{tmp_path}/nginx.conf", "http://127.0.0.1:8090/": f"http://127.0.0.1:{port}/"}
    table = example("nginx", places)
    if not pathlib.Path(table["params"]["httpd"]).exists():
        pytest.skip("needs Debian's package nginx-light")
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=port))
    service = build([table], tmp_path)[0]
    assert service.validate() == "" and service.status().state is S.STANDBY
    try:
        service.promote(4, 2.5)
        becomes(service, S.ACTIVE, 30)
        assert listens(port)
    finally:
        state = service.demote(5).state
    assert state is S.STANDBY and not listens(port)


@pytest.mark.lab
def test_unit_of_the_page_sends_under_systemd_only_while_it_is_promoted(
    tmp_path: pathlib.Path, redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its ``User =``: a user's systemd has one user."""
    systemd = started(tmp_path / "systemd")
    (tmp_path / "shop.py").write_text(APP.format(url=redis_process.url))
    unit = UNIT[0].replace("/opt/shop/bin/python", sys.executable).replace("/var/lib/shop", str(tmp_path))
    unit = unit.replace("/opt/shop", str(tmp_path)).replace("User = shop\n", "")
    assert unit.count(str(tmp_path)) == 2 and "User" not in unit
    client = redis_process.client()
    monkeypatch.setenv("PATH", f"{systemd.bin}:{os.environ['PATH']}")
    try:
        systemd.add("scheduler.service", unit)
        service = build([example("scheduler", {})], tmp_path)[0]
        assert service.status().state is S.STANDBY
        service.promote(4, 2.5)
        becomes(service, S.ACTIVE)
        wait_until(lambda: client.llen("celery") >= 2, 30, "beat sends")
        pid = systemd.pid("scheduler.service")
        assert service.demote(5).state is S.STANDBY and not alive(pid)
        sent = client.llen("celery")
        assert service.status().state is S.STANDBY and client.llen("celery") == sent
    finally:
        systemd.end()


def test_controller_of_the_page_has_what_a_controller_must_have() -> None:
    names: dict[str, Any] = {}
    exec(PYTHON[0], names)  # the page's own text
    made = Kind("'pbx' (the page)", names["PbxService"])(Common(**COMMON), host="10.0.0.5")
    assert made.name == "pbx" and names["PbxService"].REQUIRED == ("host",)
    told = names["PbxService"].__init__.__doc__.split("Raise")[0]
    assert all(field.name in told for field in fields(Common)), "the page tells of each field of common"


def test_beat_of_the_page_sends_under_supervisord_only_while_it_is_promoted(
    tmp_path: pathlib.Path, redis_process: RedisProcess
) -> None:
    (tmp_path / "shop.py").write_text(APP.format(url=redis_process.url))
    text = INI[0].replace("/opt/shop/bin/python", sys.executable).replace("/var/lib/shop", str(tmp_path))
    environ = f'environment = PYTHONPATH="{tmp_path}"\n'
    supervisord = Supervisord(tmp_path, text + environ)
    client = redis_process.client()
    try:
        table = next(table for table in TABLES if table["name"] == "beat")
        service = build([table | {"url": f"unix://{tmp_path}/s"}], tmp_path)[0]
        assert isinstance(service, SupervisordService) and service.status().state is S.STANDBY
        service.promote(4, 2.5)
        becomes(service, S.ACTIVE)
        wait_until(lambda: client.llen("celery") >= 2, 30, "beat sends")
        pid = supervisord.pid(service)
        os.kill(pid, 9)
        becomes(service, S.DEAD)
        service.restart(True)
        service.promote(4, 2.5)
        becomes(service, S.ACTIVE)
        pid = supervisord.pid(service)
        assert service.demote(5).state is S.STANDBY and not alive(pid)
    finally:
        supervisord.end()
