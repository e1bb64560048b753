"""One cluster for all tests of this directory; between them it is brought back to "server1 active, both healthy"."""

from __future__ import annotations

import pathlib
import time
from typing import Iterator

import pytest

from demo.cluster import Cluster

from .harness import Pair, quick_config


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The cluster of all tests here."""
    folder = tmp_path_factory.mktemp("cluster")
    keys = {"FT_METRICS_ALLOW": ["127.0.0.0/8"], "FT_LOG_JSON": str(folder / "both.jsonl")}
    with Cluster(quick_config(folder, node_keys=keys)) as cluster:
        pair = Pair(cluster)
        try:
            yield pair
        finally:
            pair.watcher.stop()


@pytest.fixture
def pair(running: Pair) -> Iterator[Pair]:
    """Server1 active, both healthy, at the start; after the test nobody was ever active twice."""
    running.bring_back()
    started_s = time.monotonic()
    yield running
    doubles = running.watcher.doubles(started_s)
    assert not doubles, f"both servers said ACTIVE: {doubles[:3]}\n{running.story()}"
    found = running.overlaps()
    assert not found, f"two owners at the call manager: {found}\n{running.story()}"
