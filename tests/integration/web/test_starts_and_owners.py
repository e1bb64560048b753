"""Starts as an administrator reads them: expected, measured, too slow, running now; and the alarm that two own the same."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.terms import Role, ServiceState
from ftplugin.core.view import ServiceReading
from ftplugin.history.records import MEASURED
from ftplugin.status import status_of
from ftplugin.store.events import EventStore
from tests.parts import eventually
from workers.adapters.services import ServiceError, build
from workers.node_log import NodeLog
from workers.ownership import OwnershipAlarm, services_document

from .conftest import MakeSite, Site
from .status_site import peer_status, view_of
from .test_admin import Browser, server
from .test_chronicle import kept
from .test_status_page import text_of

CTI = {
    "name": "cti",
    "kind": "http",
    "url": "http://127.0.0.1:9",
    "cti_connect_s": 2.4,
    "cti_ports": 40,
    "cti_devices": 10,
}
RUNNING = {"state": "active", "progress": 50, "total": 50, "detail": ""}
DAY = "2026-11-20 03:12"
NIGHT_S = time.mktime(time.strptime(DAY, "%Y-%m-%d %H:%M"))


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    found = make_site(FT_SERVICES=[CTI])
    found.configure(interval_s=30, timeout_s=10, threshold=5)
    found.role(Role.ACTIVE)
    found.agent()
    view_of(found)
    found.portal.runtime.publish("services", {"cti": RUNNING})
    return found


def measured(
    site: Site, took_s: float, *, rule: str = "F1", delay_s: float | None = 158.2, waited_s: float = 0.0
) -> None:
    """As the switch worker keeps it at the end of a promotion."""
    facts = {"switch_id": "1", "rule": rule, "wall_s": NIGHT_S, "switch_s": took_s + 3.0, "delay_s": delay_s}
    assert EventStore(site.portal.database, 30).record(MEASURED, {**facts, "starts": {"cti": [took_s, waited_s]}})


def page(site: Site) -> str:
    return text_of(Browser(site).page())


def lines(site: Site) -> str:
    return str(site.app.test_cli_runner().invoke(args=["ft", "status"]).output)


# --- expected and measured -----------------------------------------------------------------------------------------


def test_the_expected_delay_counts_the_start_that_the_tables_say(site: Site) -> None:
    found = status_of(site.portal)
    assert found["expected_failover_s"] == pytest.approx(5 * 30 + 10 + 12.4)
    assert found["worst_failover_s"] == pytest.approx(5 * 30 + 2 * 10 + 2 + 12.4)
    assert "Expected failover 172.4 s, at worst 184.4 s" in page(site)
    assert "Start of the services in it 12.4 s (FT_SERVICES)" in page(site)
    assert "expected failover 172.4 s, at worst 184.4 s; 12.4 s of it the start of the services (FT_SERVICES)" in lines(
        site
    )
    preview = site.app.test_cli_runner().invoke(args=["ft", "settings", "preview", "threshold=4"]).output
    assert "expected_failover_s: 172.4 s -> 142.4 s" in preview


def test_where_no_table_says_it_the_settings_are_named_as_the_source(make_site: MakeSite) -> None:
    site = make_site(FT_SERVICES=[{key: CTI[key] for key in ("name", "kind", "url")}])
    site.configure(cti_connect_s=1, cti_ports=10)
    site.role(Role.STANDBY)
    site.agent()
    site.portal.runtime.publish("services", {"cti": RUNNING})
    assert "Start of the services in it 3.0 s (CTI settings)" in page(site) and "start expected 3.0 s" in page(site)


def test_a_measured_start_stands_beside_the_expected_one(site: Site) -> None:
    assert "start expected 12.4 s" in page(site) and "Measured at the last switch not yet" in page(site)
    measured(site, 11.9)
    text = page(site)
    assert f"start expected 12.4 s, last measured 11.9 s on {DAY} (failover)" in text
    assert (
        "Measured at the last switch 158.2 s since the other one was last heard active, 14.9 s of it the switch "
        f"(failover to Server #1, {DAY}:00)" in text
    )
    assert "slow" not in text
    assert f"start expected 12.4 s, last measured 11.9 s on {DAY} (failover)" in lines(site)
    assert (
        "measured at the last switch: 158.2 s since the other one was last heard active, 14.9 s of switch "
        f"(failover to Server #1, {DAY})" in lines(site)
    )
    measured(site, 12.0, rule="M1", delay_s=None)
    assert f"Measured at the last switch 15.0 s (switchover to Server #1, {DAY}:00)" in page(site)


def test_a_start_much_slower_than_expected_is_warned_of(site: Site) -> None:
    measured(site, 18.5)
    assert "more than 1.5 times" not in page(site)
    measured(site, 18.7)
    warning = "cti took 18.7 s to start on Server #1, more than 1.5 times the expected 12.4 s"
    assert warning in page(site) and f"Warning: {warning}" in lines(site) and ": slow" in page(site)
    measured(site, 42.0, waited_s=30.0)
    assert "30.0 s of it waiting" in page(site) and "more than 1.5 times" not in page(
        site
    ), "a release is no slow start"


def test_a_failover_longer_than_the_settings_assume_is_warned_of(site: Site) -> None:
    measured(site, 12.0, delay_s=184.3)
    assert "longer than the worst" not in page(site)
    measured(site, 12.0, delay_s=190.0)
    assert "The last failover took 190.0 s, longer than the worst of 184.4 s that the settings assume" in page(site)
    measured(site, 12.0, rule="C2", delay_s=9999.0)
    assert "longer than the worst" not in page(site), "a start of the servers is no failover"


def test_what_the_other_server_measured_is_shown_with_the_time_of_this_one(site: Site) -> None:
    site.portal.runtime.publish("services", {"cti": RUNNING})
    view_of(site)
    peer_status(
        site, measured={"rule": "B1", "switch_s": 4.0, "delay_s": None, "age_s": 60, "starts": {"cti": [2.5, 0]}}
    )
    other = text_of(server(Browser(site).page(), 2))
    assert "last measured 2.5 s on" in other and "(failback)" in other
    assert "4.0 s (failback to Server #2" in page(site)


def test_what_was_measured_outlives_the_days_of_the_log(site: Site) -> None:
    measured(site, 11.9)
    events = EventStore(site.portal.database, 1, wall_s=lambda: time.time() + 90 * 86_400)
    assert events.forget_old() and "last measured 11.9 s" in page(site)


NAN = float("nan")


@pytest.mark.parametrize(
    "word",
    [
        {"measured": {"age_s": NAN, "switch_s": 1.0, "delay_s": 1.0, "rule": "F1", "starts": {"cti": [1.0, 0]}}},
        {"measured": {"age_s": -1e300, "switch_s": 1.0, "delay_s": 1.0, "rule": "F1", "starts": {"cti": [1.0, 0]}}},
        {"measured": {"age_s": 60, "switch_s": NAN, "delay_s": NAN, "rule": "F1", "starts": {"cti": [NAN, 0]}}},
        {"measured": 5, "switch": {"rule": "F1", "step": "service cti", "elapsed_s": 1e300, "expected_s": NAN}},
        {"services": {"cti": {"state": "active", "progress": 10**400, "total": 5, "owners": [1, "x" * 1000]}}},
    ],
)
def test_figures_of_the_other_server_that_make_no_sense_cost_no_page(site: Site, word: dict[str, Any]) -> None:
    peer_status(site, **word)
    assert "Start of the services in it 12.4 s" in page(site)
    assert "start of the services (FT_SERVICES)" in lines(site)


# --- while it starts -----------------------------------------------------------------------------------------------


def test_a_running_start_shows_progress_elapsed_and_expected_time(site: Site) -> None:
    clock = site.portal.clock
    running = {
        "switch_id": "1",
        "kind": "promote",
        "rule": "F1",
        "epoch": 2,
        "outcome": "running",
        "step": "service cti",
    }
    running |= {"detail": "2/50 waiting for release of port 7103 (held by server2, 12 s)", "boot_id": clock.boot_id}
    running |= {"began_s": clock.now_s() - 65.0}
    running |= {"step_began_s": clock.now_s() - 4.0, "updated_s": clock.now_s(), "at_wall_s": time.time()}
    running |= {"steps": [{"step": "service cti", "outcome": "running", "duration_s": 0, "detail": ""}]}
    site.portal.runtime.publish("switch", running)
    told = re.escape("service cti 2/50 waiting for release of port 7103 (held by server2, 12 s) ")
    since = re.search(told + r"\(since ([\d: -]+)\) \([4-9] s, expected 12.4 s\)", page(site))
    assert since is not None and 64 <= time.time() - time.mktime(time.strptime(since[1], "%Y-%m-%d %H:%M:%S")) < 75
    assert re.search(told + r"\([4-9]\.\d s, expected 12.4 s\)", lines(site))
    assert re.search(r"a switch is running \(F1, for (6[5-9]|7\d) s\): service cti", lines(site))
    steps = text_of(Browser(site).page("/ft/admin/switch/1"))
    assert re.search(r"\([4-9] s, expected 12.4 s\)", steps) and "waiting for release of port 7103" in steps


# --- two owners ----------------------------------------------------------------------------------------------------


@dataclass
class Watchdog:
    """The tick worker's look at the services, with the real Redis, log and database."""

    site: Site
    now_s: float = 1000.0
    boot_id: str = "boot"
    log: NodeLog = field(init=False)
    alarm: OwnershipAlarm = field(init=False)

    def __post_init__(self) -> None:
        portal = self.site.portal
        self.clock, self.runtime = portal.clock, portal.runtime
        self.log = NodeLog(portal.report, portal.runtime.count_refused, EventStore(portal.database, 30).record)
        self.alarm = OwnershipAlarm(self)  # type: ignore[arg-type]

    def look(
        self, *ports: int, owner: str = "server2", state: ServiceState = ServiceState.ACTIVE, told: bool = True
    ) -> None:
        owned = tuple((f"port {port}", owner) for port in ports) if told else None
        readings = [ServiceReading(name="cti", state=state, also_owned=owned)]
        self.runtime.publish("services", services_document(readings, self.alarm.look(readings)))


@pytest.fixture
def watchdog(site: Site) -> Iterator[Watchdog]:
    yield Watchdog(site)


def test_two_owners_raise_an_alarm_on_page_command_line_log_and_history(watchdog: Watchdog) -> None:
    site = watchdog.site
    watchdog.look()
    assert "Alarm" not in page(site)
    watchdog.look(7101, 7102, 7103, 7104, 7105)
    told = "port 7101, port 7102, port 7103 and 2 more: also owned by server2"
    source = Browser(site).page()
    assert f"Alarm: two owners. Service cti: {told}" in text_of(
        source
    ) and "Both servers active: restore the link" in text_of(source)
    assert 'class="ft-note ft-bad"' in source[source.index("ft-dual-1") :][:60]
    assert "Alarm: two owners. cti." in source[source.index('id="ft-roles"') :][:300], "a screen reader says it"
    assert f"ALARM, two owners: service cti: {told}" in lines(site) and "ALSO OWNED BY server2" in lines(site)
    assert f"ALARM: service cti: {told}" in site.log()
    watchdog.look(7101, 7102, 7103, 7104, 7105)
    assert site.log().count("ALARM") == 1, "said once"
    watchdog.look()
    assert "two owners" not in page(site) and "is not owned twice any more" in site.log()
    eventually(lambda: len(kept(site)) == 2)
    history = text_of(Browser(site).page("/ft/admin/history"))
    assert "Two owners" in history and "Two owners: over" in history
    found = json.loads(site.app.test_client().get("/ft/admin/history.json").text)["incidents"]
    said = [text for incident in found for text in incident["evidence"]]
    assert "service cti of server1 was also owned by server2 (5 of what it owns)" in said


def test_a_service_that_cannot_tell_neither_raises_nor_ends_the_alarm(watchdog: Watchdog) -> None:
    watchdog.look(told=False)
    assert "two owners" not in page(watchdog.site)
    watchdog.look(7101)
    watchdog.look(told=False, state=ServiceState.UNKNOWN)
    assert "port 7101: also owned by server2" in page(watchdog.site), "unknown is not over"
    watchdog.look(told=False, state=ServiceState.DEAD)
    assert "two owners" not in page(watchdog.site), "a dead one owns nothing"


def test_an_alarm_goes_on_in_a_restarted_worker_and_ends_there(watchdog: Watchdog) -> None:
    watchdog.look(7101)
    again = Watchdog(watchdog.site)
    again.look(7101)
    assert watchdog.site.log().count("ALARM") == 1, "it is the same alarm"
    again.look()
    assert "is not owned twice any more" in watchdog.site.log() and "two owners" not in page(watchdog.site)


@pytest.mark.parametrize(
    "left", [{"also_owned": [["a"]]}, {"also_owned": [["a", "b"]], "since_s": 1}, {"also_owned": 7, "since_s": "x"}]
)
def test_an_alarm_that_another_version_left_does_not_stop_the_watchdog(site: Site, left: dict[str, Any]) -> None:
    dual = {"boot_id": site.portal.clock.boot_id, "since_wall_s": 1.0, **left}
    site.portal.runtime.publish("services", {"cti": {**RUNNING, "dual": dual}})
    watchdog = Watchdog(site)
    watchdog.look(7101)
    assert "port 7101: also owned by server2" in page(site)


def test_the_alarm_switches_nothing_and_is_no_bad_health(watchdog: Watchdog) -> None:
    watchdog.site.health()
    watchdog.look(7101)
    assert watchdog.site.client.get("/ft/monitor?mod=IPSWS").text.startswith("IPSWS=OK")
    assert watchdog.site.orders() == 0


def test_an_alarm_of_the_other_server_is_shown_until_its_word_is_old(watchdog: Watchdog) -> None:
    site = watchdog.site
    watchdog.look(7101, owner="server1")
    peer_status(site)
    watchdog.look()
    told = "Service cti: as Server #2 sees it, also owned by server1"
    assert told in page(site) and "also owned by server1" in text_of(server(Browser(site).page(), 2))
    stored: dict[str, Any] = site.portal.runtime.fetch("peer_status") or {}
    site.portal.runtime.publish("peer_status", stored | {"at_s": stored["at_s"] - 120})
    assert told not in page(site), "old is not shown as new"


def test_an_alarm_that_a_dead_agent_left_is_not_shown_as_new(watchdog: Watchdog) -> None:
    watchdog.look(7101)
    watchdog.site.agent(age_s=500)
    assert "Alarm: two owners" not in page(watchdog.site)


# --- the tables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cti_ports": -1}, "FT_SERVICES[1].cti_ports: must be a whole number"),
        ({"start_expected_s": 4}, "FT_SERVICES[1].cti_connect_s: start_expected_s says the same already"),
    ],
)
def test_a_wrong_expected_start_is_refused_by_portal_and_workers(change: dict[str, Any], said: str) -> None:
    for error, make in ((ConfigError, lambda t: NodeConfig.of({"FT_SERVICES": t})), (ServiceError, build)):
        with pytest.raises(error) as caught:
            make([CTI | change])  # type: ignore[operator]
        assert str(caught.value).startswith(said)


def test_a_start_that_is_expected_to_outlast_its_limit_is_refused(tmp_path: Any) -> None:
    with pytest.raises(
        ServiceError, match=r"start_limit_s: must be above the expected start of 122.4 s \(got 60, service cti\)"
    ):
        build([CTI | {"cti_ports": 590}])
    assert build([CTI | {"cti_ports": 590, "start_limit_s": 240}])[0].start_limit_s == 240
