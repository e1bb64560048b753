"""A pair whose databases are servers of their own: PostgreSQL on server1, MariaDB on server2. Frozen, they stop nothing but
a promotion, which must be durable before it acts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from demo.cluster import Cluster, ClusterConfig
from tests.integration.database.servers import MariaDb, Postgres, Server

from .harness import SETTLE_S, SLACK_S, Pair, eventually, quick_config

pytestmark = pytest.mark.full
PAGE_S = 3.0
BUSY_S = 1.5


class OnServers(Cluster):
    """The demo's cluster, with a database server for each node."""

    def __init__(self, config: ClusterConfig, urls: dict[int, str]) -> None:
        super().__init__(config)
        self._urls = urls

    def _seed(self) -> None:
        for node, url in self._urls.items():
            file = self.config_file(node)
            file.write_text(f'FT_DATABASE_URL = "{url}"\n{file.read_text()}')
        super()._seed()


@pytest.fixture(scope="module")
def databases() -> Iterator[dict[int, Server]]:
    made: dict[int, Server] = {}
    try:
        made |= {1: Postgres()}
        made |= {2: MariaDb()}
        yield made
    finally:
        for server in made.values():
            server.close()


@pytest.fixture(scope="module")
def started(databases: dict[int, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    urls = {number: server.new_database() for number, server in databases.items()}
    with OnServers(quick_config(tmp_path_factory.mktemp("servers")), urls) as cluster:
        pair = Pair(cluster)
        try:
            yield pair
        finally:
            pair.watcher.stop()


@pytest.fixture
def pair(started: Pair, databases: dict[int, Server]) -> Iterator[Pair]:
    started.bring_back()
    yield started
    for server in databases.values():
        server.thaw()
    assert not started.overlaps(), started.story()


def test_the_active_one_goes_on_with_a_killed_and_a_frozen_database_and_the_other_takes_over_when_it_dies(
    pair: Pair, databases: dict[int, Server]
) -> None:
    began_s, epoch = time.monotonic(), pair.role(1).epoch
    databases[1].kill()
    pair.ticks_pass(pair.timing.threshold)
    databases[1].start()
    pair.ticks_pass(1)
    databases[1].freeze()
    pair.ticks_pass(2 * pair.timing.threshold)
    assert pair.watcher.words(1, began_s) == ["ACTIVE"] and pair.role(1).epoch == epoch, pair.story()
    page_s = time.monotonic()
    assert pair.browser(1).get("/ft/admin/status").status_code == 200
    assert time.monotonic() - page_s < PAGE_S + BUSY_S
    pair.stop_node(1)
    pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    assert pair.status(2)["last_switch"]["rule"] == "F1"
    databases[1].thaw()
    pair.start(1)
    pair.wait_healthy(2)


def test_a_standby_whose_database_is_frozen_is_promoted_as_soon_as_it_can_write(
    pair: Pair, databases: dict[int, Server]
) -> None:
    databases[2].freeze()
    pair.ticks_pass(2)
    pair.stop_node(1)
    said = "the journal cannot be written, so nothing may be promoted"
    eventually(lambda: said in pair.report(2), pair.failover_bound_s() + SLACK_S, pair.story)
    assert not pair.active_on(2)
    databases[2].thaw()
    pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    pair.start(1)
    pair.wait_healthy(2, SETTLE_S)
