"""A call manager that the health checks of both servers ask (spec 9): gone for both it is no reason to switch, for one it is."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator

import pytest

from demo.layout import toml
from ftplugin.core.terms import ProbeCause
from tests.integration.health.conftest import PASSWORD, AxlProcess

from .harness import SLACK_S, Pair, eventually

CHECK_S = 2.0 + 3.0  # until a failed check is published, at the latest: period and limit
USERS = {1: "server1", 2: "server2"}


@pytest.fixture
def axl(pair: Pair, tmp_path: pathlib.Path) -> Iterator[AxlProcess]:
    """The stand-in, asked by both servers, each with its own user; servers switch on an application error."""
    server = AxlProcess(tmp_path / "axl", users=list(USERS.values()))
    files = {node: pair.cluster.config.node_directory(node) / "node.toml" for node in USERS}
    before = {node: file.read_text() for node, file in files.items()}
    for node, user in USERS.items():
        table = {"name": "cucm", "kind": "axl", "url": server.url, "user": user, "password": PASSWORD}
        table |= {"ca_file": str(server.ca_file), "timeout_s": 3.0}
        files[node].write_text(before[node] + toml({"FT_HEALTH": [table]}))
        pair.kill_and_wait(node, "tick")
        eventually(lambda: "cucm" in checks(pair, node), 30, pair.story)  # noqa: B023
    pair.bring_back()
    pair.wait_live(pair.save(1, {"application_error": True}))
    yield server
    server.set(mode="ok", forbidden=[])
    for node in USERS:
        files[node].write_text(before[node])
        pair.kill_and_wait(node, "tick")
        eventually(lambda: "cucm" not in checks(pair, node), 30, pair.story)  # noqa: B023
    server.close()


def checks(pair: Pair, node: int) -> list[str]:
    return [check["name"] for check in pair.document(node, "health").get("checks", [])]


@pytest.mark.full  # the simulator's third_party_*.txt tell the same in each run
def test_a_call_manager_that_both_miss_causes_no_switch_and_one_that_the_active_server_misses_does(
    pair: Pair, axl: AxlProcess
) -> None:
    began_s, epoch = time.monotonic(), pair.status(1)["epoch"]
    axl.set(mode="garbage")
    for node in USERS:
        eventually(
            lambda: "cucm: answers HTTP 200" in pair.cluster.monitor(node, "IPSWS"), 20, pair.story
        )  # noqa: B023
        assert pair.document(node, "health")["shared_failed"] == ["cucm"]
    eventually(lambda: "the own check fails as well" in str(pair.document(2, "decision")), 20, pair.story)
    pair.watch()
    axl.set(mode="ok")
    pair.wait_healthy(1)
    assert pair.status(1)["epoch"] == epoch and pair.watcher.words(2, began_s) == ["STANDBY"]

    axl.set(forbidden=[USERS[1]])
    pair.wait_active(2, pair.failover_bound_s() + CHECK_S + SLACK_S)
    assert "cucm: the user may not use AXL (HTTP 403)" in pair.cluster.monitor(1, "IPSWS")
    assert pair.cluster.monitor(2, "IPSWS") == "IPSWS=OK"
    assert str(ProbeCause.BODY) in pair.report(2) and pair.journal(2, 1)[0]["rule"] == "F1"
    axl.set(forbidden=[])
    pair.wait_healthy(2)
