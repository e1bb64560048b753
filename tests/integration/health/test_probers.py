"""Kind "probers": the balancer has stopped asking, as a node's Redis tells it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ftplugin.balancer.probers import PROCESSES, Probers
from ftplugin.clock import SystemClock
from ftplugin.health.checks import Degraded
from ftplugin.health.tables import HealthTableError, read_tables
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from tests.integration.celery.node_process import wait_for
from tests.integration.web.conftest import RedisProcess
from workers.adapters.checks import build

BALANCER, OTHER = "10.0.0.9", "10.0.0.10"
NAMES = [f"probers-{number}" for number in range(PROCESSES)]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    yield process
    process.kill()


@pytest.fixture
def runtime(redis: RedisProcess) -> RuntimeStore:
    """As a node's that has an agent and was asked by nobody."""
    store = RuntimeStore(connect(redis.url), Keys(""))
    store.client.flushall()
    store.publish("agent", {"tick_s": 1.0})
    return store


def check(runtime: RuntimeStore, *addresses: str, silent_s: float = 30.0) -> Any:
    table = {"name": "balancer", "kind": "probers", "addresses": list(addresses), "silent_s": silent_s}
    (made,) = build(read_tables([table]), runtime.fetch_many)
    assert made.shared, "silence on both servers is the balancer's own, and must switch nothing"
    return made.call()


def asked(runtime: RuntimeStore, address: str, ago_s: float) -> None:
    """A portal of this node was asked so long ago, and has written it."""
    clock = SystemClock()
    probers = Probers(runtime.publish, clock.boot_id)
    probers.note(address, "active", clock.now_s() - ago_s)
    wait_for("who asked is written", lambda: any(address in str(d) for d in runtime.fetch_many(NAMES).values()), 10)
    probers.close()


@pytest.mark.parametrize("address", [BALANCER, f"::ffff:{BALANCER}"])
def test_a_balancer_that_asks_is_well(runtime: RuntimeStore, address: str) -> None:
    asked(runtime, address, 1.0)
    assert check(runtime, BALANCER) == ""


def test_a_balancer_that_has_stopped_asking_fails_and_is_named(runtime: RuntimeStore) -> None:
    asked(runtime, BALANCER, 40.0)
    found = check(runtime, BALANCER)
    assert found == "10.0.0.9 has not asked for 40 s" and not isinstance(found, Degraded)


def test_one_of_two_that_still_asks_is_enough(runtime: RuntimeStore) -> None:
    asked(runtime, BALANCER, 1.0)
    found = check(runtime, BALANCER, OTHER)
    assert isinstance(found, Degraded) and str(found) == "10.0.0.10 has not asked so far"


def test_who_has_not_asked_yet_has_its_time_from_the_start_of_the_check(runtime: RuntimeStore) -> None:
    asked(runtime, "10.0.0.77", 1.0)  # a browser is no balancer
    assert isinstance(check(runtime, BALANCER), Degraded)


def test_a_redis_that_does_not_answer_says_nothing_about_the_balancer(runtime: RuntimeStore) -> None:
    asked(runtime, BALANCER, 40.0)
    runtime.client.delete(runtime.keys.document("agent"))
    assert isinstance(check(runtime, BALANCER), Degraded)


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({}, "addresses: is missing"),
        ({"addresses": ["lb.example"]}, "must be a list of 1 to 16 IP addresses"),
        ({"addresses": "10.0.0.9"}, "must be a list of 1 to 16 IP addresses"),
        ({"addresses": ["10.0.0.9"], "silent_s": 1}, "silent_s: must be 2 to 3600 seconds"),
    ],
)
def test_a_wrong_table_is_refused_by_field(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(HealthTableError) as error:
        read_tables([{"name": "balancer", "kind": "probers"} | wrong])
    assert told in str(error.value)
