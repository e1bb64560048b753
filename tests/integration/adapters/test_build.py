"""The real node, built by ``workers/build.py`` from its configuration: the keys that are handed on there alone."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from ftplugin.config import NodeConfig
from ftplugin.core.terms import Designation
from ftplugin.store.database import Database
from ftplugin.store.settings_store import SettingsStore
from ftplugin.store.tables import EVENT
from workers.build import build_parts

from .conftest import KEYS, RedisProcess, Server, answer, signed, wait_until

DAY_S = 86_400.0
PEER_HOST = "127.0.0.2"
Build = Callable[..., Any]


class NoDispatch:
    """Nothing is switched here."""

    def switch(self, order: Any) -> bool:
        return False

    def progress(self, step: str, detail: str) -> None:
        pass


def build(config: NodeConfig, **settings: Any) -> Any:
    """What a switch worker has, on a pair with these settings."""
    database = Database(config.database_url)
    database.prepare()
    addresses = {"server1_address": config.own_address, "server2_address": PEER_HOST}
    SettingsStore(database, config.own_address).save(addresses | settings, "ann", override_reason="a test")
    database.close()
    return build_parts(config, "switch", NoDispatch())


@pytest.fixture
def built(tmp_path: pathlib.Path, redis_process: RedisProcess) -> Iterator[Build]:
    made = []

    def make(keys: dict[str, Any], **settings: Any) -> Any:
        places = {"FT_REDIS_URL": redis_process.url, "FT_INSTANCE_DIR": str(tmp_path), "FT_OWN_ADDRESS": "127.0.0.1:81"}
        made.append(build(NodeConfig.of({"FT_SECRET_KEYS": list(KEYS), **places, **keys}), **settings))
        return made[-1]

    yield make
    for parts in made:
        parts.stop()


def test_the_peer_is_asked_below_the_url_prefix_of_the_portals(built: Build, serve: Callable[..., Server]) -> None:
    server = serve(lambda c, r, n: bool(c.sendall(answer(headers=signed(r)))) or True, host=PEER_HOST)
    parts = built({"FT_URL_PREFIX": "/amt/standby"}, server2_address=f"{PEER_HOST}:{server.port}")
    assert parts.agent.ports.peer.probe(5.0, check_body=False).good
    assert server.requests[0].startswith(b"GET /amt/standby/monitor?mod=IPSWS")


def test_the_fence_command_ends_at_its_limit_and_without_one_there_is_none(built: Build) -> None:
    fence = built({"FT_FENCE_COMMAND": ["sleep", "60"], "FT_FENCE_LIMIT_S": 0.3}).agent.ports.fence
    fenced = fence.fence(Designation.SERVER2, PEER_HOST, 4, "it did not stop", lambda said: None)
    assert not fenced.done and "killed after its limit of 0.3 s" in fenced.detail
    assert built({}).agent.ports.fence is None


@pytest.mark.parametrize(("days", "kept"), [(2, ["new"]), (4, ["old", "new"])])
def test_events_are_kept_as_many_days_as_the_log(
    built: Build, tmp_path: pathlib.Path, days: int, kept: list[str]
) -> None:
    parts, database = built({"FT_LOG_DAYS": days}), Database(f"sqlite:///{tmp_path / 'ft.sqlite3'}")
    with database.transaction() as connection:
        connection.execute(EVENT.insert().values(name="old", at_wall_s=time.time() - 3 * DAY_S, facts={}))
    parts.log.event("new")

    query = select(EVENT.c.name).where(EVENT.c.name.in_(("old", "new"))).order_by(EVENT.c.id)

    def names() -> list[str]:
        with database.transaction() as connection:
            return list(connection.scalars(query))

    wait_until(lambda: names() == kept, 10, names)
    database.close()
