"""A standby server that sees the checks of the other one fail looks again at once at its own: what both miss causes no switch."""

from __future__ import annotations

import pathlib
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ftplugin.clock import SystemClock
from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.settings import Settings
from ftplugin.core.terms import ProbeCause, ServiceState
from tests.integration.web.conftest import free_port
from tests.parts import eventually
from workers.background import Periodic
from workers.health import Health

DEADLINE_S = 10.0


class Documents:
    """RuntimePort's part that Health uses; keeps what is published."""

    def __init__(self) -> None:
        self.health: dict[str, Any] = {}
        self.portal: dict[str, Any] | None = None

    def fetch(self, name: str) -> dict[str, Any] | None:
        return self.portal

    def fetch_many(self, names: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        return {name: self.fetch(name) for name in names}

    def publish(self, name: str, value: dict[str, Any]) -> bool:
        self.health = value
        return True


class Agent:
    """Health in its thread, of a node with T = 30 s (so the checks run every 15 s) and one call manager that is gone."""

    def __init__(self, folder: pathlib.Path, services: tuple[Any, ...] = ()) -> None:
        table = {"name": "cucm", "kind": "tcp", "addresses": [f"127.0.0.1:{free_port()}"]}
        config = NodeConfig.of(
            {"FT_SECRET_KEYS": ["a key of the pair, long enough"], "FT_HEALTH": [table], "FT_INSTANCE_DIR": str(folder)}
        )
        self.runtime, self.said = Documents(), []
        log = SimpleNamespace(report=lambda source, text: self.said.append(text))
        parts = SimpleNamespace(runtime=self.runtime, check_database=lambda: "", services=services, log=log)
        node: Any = SimpleNamespace(parts=parts, config=config, settings=lambda: Settings(interval_s=30.0))
        self.health = Health(node)
        self.thread = Periodic("health", self.health.turn, self.health.wait_s)
        self.health.wake = self.thread.wake
        self.thread.start()

    def checked_s(self) -> float:
        rows = self.runtime.health.get("checks", [])
        return float(next((row["checked_s"] for row in rows if row["name"] == "cucm"), 0.0))

    def tick(self, cause: ProbeCause) -> float:
        """A tick whose probe of the peer ended so; when it began."""
        now_s = SystemClock().now_s()
        last: Any = SimpleNamespace(view=SimpleNamespace(peer=SimpleNamespace(cause=cause, started_s=now_s)))
        self.health.ticked(last)
        return now_s

    def wait_checked_since(self, moment_s: float) -> None:
        eventually(lambda: self.checked_s() >= moment_s, DEADLINE_S, lambda: self.runtime.health)


@pytest.fixture
def agent(tmp_path: pathlib.Path) -> Any:
    tmp_path.mkdir(exist_ok=True)
    made = Agent(tmp_path)
    yield made
    made.thread.stop()


def test_the_own_checks_are_made_again_at_once_when_the_others_fail(agent: Agent) -> None:
    agent.wait_checked_since(1.0)
    agent.wait_checked_since(agent.tick(ProbeCause.BODY))
    assert agent.runtime.health["shared_failed"] == ["cucm"]


def test_a_peer_that_is_dead_is_no_reason_to_hurry(agent: Agent) -> None:
    agent.wait_checked_since(1.0)
    before_s = agent.checked_s()
    agent.tick(ProbeCause.TIMEOUT)
    agent.health.wake()
    time.sleep(0.5)  # a check that was started would have ended long ago: nobody listens there
    assert agent.checked_s() == before_s


def test_what_the_portal_shares_and_misses_is_told_with_the_agents_own(agent: Agent) -> None:
    clock = SystemClock()
    row = {"name": "billing", "state": "failed", "detail": "", "duration_s": 1.0, "timeout_s": 3.0, "shared": True}
    rows = [row | {"checked_s": clock.now_s()}, row | {"name": "old one", "checked_s": clock.now_s() - 500}]
    agent.runtime.portal = {"boot_id": clock.boot_id, "checks": rows}
    agent.wait_checked_since(1.0)
    agent.wait_checked_since(agent.tick(ProbeCause.BODY))
    assert agent.runtime.health["shared_failed"] == ["billing", "cucm"]


def test_a_service_that_answers_within_its_own_limit_is_no_failure_however_slow(tmp_path: pathlib.Path) -> None:
    """OCF's monitor may take longer than the 3 s that a check has else: a KO for that would make the pair switch."""
    released = threading.Event()

    def status() -> Any:
        released.wait(3.4)
        return SimpleNamespace(state=ServiceState.STANDBY, detail="")

    slow = SimpleNamespace(name="pbx", status_limit_s=10.0, status=status)
    agent = Agent(tmp_path, (slow,))
    try:
        agent.wait_checked_since(1.0)
        found = next(row for row in agent.runtime.health["checks"] if row["name"] == "service pbx")
        assert (found["state"], found["timeout_s"]) == ("ok", 11.0)
    finally:
        released.set()
        agent.thread.stop()


def test_the_limit_of_a_slow_service_is_part_of_the_warning_about_t() -> None:
    table = {"name": "pbx", "kind": "ocf", "agent": "heartbeat:Dummy", "status_limit_s": 12}
    given = {"FT_SECRET_KEYS": ["a key of the pair, long enough"], "FT_SERVICES": [table]}
    assert NodeConfig.of(given).slowest_check_s == 13.0
    with pytest.raises(ConfigError, match=r"FT_SERVICES\[1\].status_limit_s: must be a number of seconds"):
        NodeConfig.of(given | {"FT_SERVICES": [table | {"status_limit_s": "12"}]})
