"""One site for all tests that want the same one; before each test it is "server1 active, both healthy" again.

    @pytest.mark.site(witness=True)          # options of Site; without the mark: T = t = 0.5, N = 3, no witness
    def test_…(site: Site) -> None: …

Tests are ordered by their options, so that each kind of site is started once and no two run at a time.
"""

from __future__ import annotations

import os
import pathlib
import re
import time
from typing import Any, Generator, Iterator

import pytest

from .lan import missing
from .site import Site

TEST_LIMIT_S = 180.0
_FAILED = pytest.StashKey[bool]()
_FILE = pathlib.Path(__file__)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "site(**options): which site of the lab a test wants, see tests.lab.site.Site")


def _options(item: pytest.Item) -> dict[str, Any]:
    mark = item.get_closest_marker("site")
    return dict(mark.kwargs) if mark is not None else {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if _FILE.parent in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.lab)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_LIMIT_S))
    places = [index for index, item in enumerate(items) if item in ours]
    ours.sort(key=lambda item: ("site" in getattr(item, "fixturenames", ()), repr(sorted(_options(item).items()))))
    for index, item in zip(places, ours):
        items[index] = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


class Keeper:
    """The site that runs now. Another kind is started after the one before has ended."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory, self._options = factory, ""
        self.site: Site | None = None

    def get(self, options: dict[str, Any]) -> Site:
        """A running site with these options."""
        wanted = repr(sorted(options.items()))
        if self.site is None or wanted != self._options:
            self.end()
            site = Site(self._factory.mktemp("site"), **options)
            site.__enter__()
            self.site, self._options = site, wanted
        return self.site

    def end(self) -> None:
        site, self.site = self.site, None
        if site is not None:
            site.__exit__(None, None, None)


@pytest.fixture(scope="session")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    if why := missing():
        pytest.skip(why)
    made = Keeper(tmp_path_factory)
    yield made
    made.end()


@pytest.fixture
def site(keeper: Keeper, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Server1 active, both healthy. After the test no port had two owners and no two servers were active, or for no longer
    than the test has declared in ``both_active_bound_s``. The timeline of a failed test is kept, with LAB_KEEP of every test.
    """
    running = keeper.get(_options(request.node))
    name = re.sub(r"\W+", "_", request.node.name)
    file = running.directory / "timelines" / f"{name}.txt"
    began_s = time.monotonic()
    try:
        running.bring_back()
    except BaseException:
        running.timeline.write(file, began_s)
        keeper.end()  # the next test begins with a new one
        raise
    began_s = running.note(f"TEST {name}")
    yield running
    both, bound_s = running.timeline.both_active_s(began_s), running.both_active_bound_s
    doubled = [
        o
        for o in running.timeline.owners_doubled(began_s)
        if bound_s <= 0 or o.to_s is None or o.to_s - o.from_s > bound_s
    ]
    unexplained = both.times > 0 if bound_s <= 0 else both.longest_s > bound_s
    if unexplained or doubled or request.node.stash.get(_FAILED, False) or "LAB_KEEP" in os.environ:
        running.timeline.write(file, began_s)
        request.node.add_report_section("teardown", "timeline", str(file))
    assert not unexplained, f"both servers said ACTIVE: {both}, declared bound {bound_s} s; see {file}"
    assert not doubled, f"two owners at the call manager: {doubled[:3]}; see {file}"
