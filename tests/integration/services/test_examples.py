"""The tables of docs/services.md are read as they stand there; and what it says of Celery beat is run under supervisord."""

from __future__ import annotations

import os
import pathlib
import re
import sys
import tomllib
from typing import Any

import pytest

from ftplugin.core.terms import ServiceState as S
from workers.adapters.services import KINDS, build
from workers.adapters.services.supervisord import SupervisordService

from ..adapters.conftest import RedisProcess, wait_until
from .conftest import alive, becomes, needs_agents
from .test_daemons_as_command import APP
from .test_supervisord import Supervisord

DOCS = pathlib.Path(__file__).parents[3] / "docs/services.md"
BLOCKS = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
TABLES = [table for block in BLOCKS for table in tomllib.loads(block)["FT_SERVICES"]]
INI = re.findall(r"```ini\n(\[program:.*?)```", DOCS.read_text(), re.DOTALL)


@needs_agents
@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table["name"]))
def test_table_of_the_page_is_accepted(table: dict[str, Any]) -> None:
    """OCF tables are held against the real agents; of systemd and supervisord nothing is asked: they are not there."""
    assert build([table], ask_outside=table["kind"] == "ocf")[0].name == table["name"]


def test_every_kind_but_http_has_a_table_on_the_page() -> None:
    assert {table["kind"] for table in TABLES} == set(KINDS) - {"http"}


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
