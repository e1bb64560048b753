"""One cluster and one Chromium for all browser tests; between the tests the cluster is brought back to "server1 active"."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from demo.cluster import Cluster, ClusterConfig, free_config
from tests.integration.cluster.harness import Nodes

from . import chromium as browsers
from .chromium import Administrator

INTERVAL_S = 0.5  # T = t; with N = 5 the lease is 1.5 s: long enough for a machine that others use too
THRESHOLD = 5


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = pathlib.Path(__file__).parent
    names = ", ".join(browsers.PROGRAMS)
    skipped = pytest.mark.skip(reason=f"no Chromium ({names}) on the PATH: install the package chromium")
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if not browsers.program():
                item.add_marker(skipped)


def cluster_config(directory: pathlib.Path) -> ClusterConfig:
    """Short times, and a call manager that grants a second owner silently."""
    return ClusterConfig(
        directory=directory,
        interval_s=INTERVAL_S,
        timeout_s=INTERVAL_S,
        threshold=THRESHOLD,
        cti_ports=3,
        cti_scale=0.5,
        mode="dynamic",
        settings={"flap_budget": 100},
    )


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with Cluster(free_config(cluster_config(tmp_path_factory.mktemp("browser")))) as cluster:
        yield Nodes(cluster)


@pytest.fixture
def pair(running: Nodes) -> Nodes:
    """Server1 active, both healthy, at the start."""
    running.bring_back()
    return running


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with browsers.running() as browser:
        yield browser


Visit = Callable[..., Administrator]


@pytest.fixture
def visit(chromium: Browser, running: Nodes) -> Iterator[Visit]:
    """``visit(1)``: an administrator logged in at that server's portal; further words are those of a browser window.

    At the end nothing may have gone wrong in any page: no script error, nothing that the page's policy forbids.
    """
    made: list[Administrator] = []

    def visit(node: int, *, log_in: bool = True, **window: Any) -> Administrator:
        url = f"http://{running.cluster.address(node)}"
        made.append(Administrator(chromium, url, running.cluster.secrets.password, **window))
        if log_in:
            made[-1].log_in()
        return made[-1]

    yield visit
    problems = [problem for one in made for problem in one.problems]
    for one in made:
        one.close()
    assert not problems, problems
