"""GET /metrics: who may read it, what it says, and what it does not say when that is old."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.futures import Now
from ftplugin.core.terms import Role
from ftplugin.status import status_of
from tests.core.ticks import S2, A, S, Ticks, settings
from workers.page_feed import PageFeed

from tests.integration.celery.node_process import wait_for

from .conftest import KEY, MakeSite, Site
from .metrics_site import ALLOWED, Scrape, scrape, scraped, ticked, watched
from .status_site import fullest, view_of

__all__ = ["watched"]
# what only the agent knows: absent when it is silent
OF_THE_AGENT = {"ft_peer_up", "ft_bad_streak", "ft_clock_skew_seconds", "ft_service_state", "ft_lan_up", "ft_frozen"}
OF_THE_AGENT |= {"ft_peer_age_seconds", "ft_peer_role", "ft_voter_up", "ft_alarms", "ft_service_given_up"}


def statuses(site: Site, remotes: tuple[str, ...], **headers: str) -> list[int]:
    return [scraped(site, remote, **headers).status_code for remote in remotes]


# --- who may read it


def test_there_is_no_such_page_unless_somebody_is_named(site: Site) -> None:
    assert scraped(site, "127.0.0.1").status_code == 404


def test_those_who_are_named_may_read_and_nobody_else(watched: Site) -> None:
    assert statuses(watched, (ALLOWED, "::ffff:10.9.8.7", "2001:db8::1")) == [200] * 3
    others = ("127.0.0.1", "127.0.0.11", "10.9.8.8", "::1", "", "unix:")
    assert (
        statuses(watched, others) == [403] * 6
    ), "not this host, not the servers: a proxy there would let in everybody"
    assert "127.0.0.1 may not read the metrics (FT_METRICS_ALLOW)" in watched.log()
    assert watched.portal.runtime.refused()["metrics address"] == 6


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_what_comes_through_a_proxy_is_not_taken_for_the_proxy_itself(watched: Site, header: str) -> None:
    assert scraped(watched, ALLOWED, **{header: "203.0.113.9"}).status_code == 403


def test_behind_a_proxy_that_the_portal_knows_the_client_counts(watched: Site) -> None:
    watched.app.wsgi_app = ProxyFix(watched.app.wsgi_app)  # type: ignore[method-assign]
    found = [scraped(watched, "127.0.0.1", **{"X-Forwarded-For": who}).status_code for who in (ALLOWED, "203.0.113.9")]
    assert found == [200, 403]


def test_an_entry_that_is_no_network_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"FT_METRICS_ALLOW\[2\].*10.0.0.0/24.*'prometheus'"):
        NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_METRICS_ALLOW": ["10.0.0.1", "prometheus"]})


def test_without_the_library_the_portal_says_what_to_install(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("ftplugin.metrics.", "prometheus_client"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"FT_METRICS_ALLOW.*ftplugin\[metrics\]"):
        make_site(FT_METRICS_ALLOW=[ALLOWED])


def test_a_portal_without_metrics_loads_nothing_of_prometheus() -> None:
    code = "import ftplugin.extension, ftplugin.web.admin, workers.build, workers.guard, workers.page_feed, sys;"
    code += "print([n for n in sys.modules if n.startswith(('prometheus_client', 'structlog'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "[]", done.stderr


# --- what it says


def test_the_active_server_says_what_its_status_page_says(watched: Site) -> None:
    ticked(watched, epoch=8, bad_streak=2)
    assert watched.portal.journal.begin(switch_id="1", kind="promote", rule="F1", reason="r", epoch=6, actor="")
    assert watched.portal.journal.end("1", "done", Role.ACTIVE, "")
    assert watched.portal.journal.begin(switch_id="2", kind="demote", rule="fence", reason="r", epoch=7, actor="")
    watched.portal.runtime.count_refused("unsigned")
    found, page = scrape(watched), status_of(watched.portal)
    assert found.now("ft_role", "role") == [page["servers"][0]["word"]] == ["active"]
    assert found("ft_active") == 1 and watched.client.get("/ft/monitor?mod=FT").text == "ACTIVE"
    assert (found("ft_epoch"), found("ft_peer_epoch"), found("ft_bad_streak")) == (6, 8, 2)
    left_s = found("ft_lease_left_seconds")
    assert left_s is not None and 0 <= left_s - page["lease_left_s"] < 20 and found("ft_lease_seconds") == 113
    assert 3 <= (found("ft_peer_age_seconds") or 0) < 30 and found("ft_clock_skew_seconds") == 0.42
    assert found.now("ft_service_state", "state", service="cti") == ["starting"]
    assert (found("ft_service_given_up", service="asterisk"), found("ft_service_given_up", service="cti")) == (1, 0)
    assert found("ft_switches_total", kind="promote", rule="F1", outcome="done") == 1
    assert found("ft_switches_total", kind="promote", rule="B1", outcome="done") == 0, "told before it first happens"
    assert found("ft_switches_total", kind="demote", rule="fence", outcome="failed") == 0
    assert found("ft_switches_total", kind="demote", rule="fence", outcome="") is None, "it runs still"
    assert abs((found("ft_last_promotion_timestamp_seconds") or 0) - time.time()) < 60
    assert found("ft_none_active_seconds_total", evidence="signed") == 12.5
    assert found("ft_two_active_seconds_total") == 1.5 and found("ft_refused_messages_total", cause="unsigned") == 1
    assert found("ft_probe_latency_seconds_bucket", le="0.01") == 30
    assert found("ft_probe_latency_seconds_count") == 38 and found("ft_probes_total", cause="timeout") == 2
    assert found("ft_expected_failover_seconds") == page["expected_failover_s"]
    assert found("ft_build_info", version=watched.portal.version, server="server1", prefix="") == 1


def test_every_role_is_the_word_of_the_status_page(watched: Site) -> None:
    def words() -> tuple[list[str], str]:
        return scrape(watched).now("ft_role", "role"), status_of(watched.portal)["servers"][0]["word"]

    assert words() == (["error"], "error"), "nothing has ticked"
    ticked(watched, role=Role.STANDBY)
    assert words() == (["standby"], "standby")
    ticked(watched, role=Role.STANDBY, age_s=500)
    assert words() == (["error"], "error"), "the agent is silent"
    ticked(watched)
    assert words() == (["active"], "active")
    watched.role(Role.ACTIVE, epoch=6, lease_s=-1.0)
    assert words() == (["standby"], "standby"), "its lease has run out"
    assert scrape(watched)("ft_lease_left_seconds") == 0


def test_a_silent_agent_leaves_nothing_of_what_it_saw(watched: Site) -> None:
    ticked(watched)
    assert OF_THE_AGENT <= scrape(watched).names
    ticked(watched, age_s=61.0)  # 2 T is 60 s
    found = scrape(watched)
    assert not OF_THE_AGENT & found.names
    assert found("ft_agent_up") == 0 and 61 <= (found("ft_agent_age_seconds") or 0) < 90
    assert found("ft_active") == 1, "the lease holds on its own"
    assert found("ft_two_active_seconds_total") == 1.5, "a sum does not grow old"


def test_documents_of_an_earlier_boot_are_not_shown(watched: Site) -> None:
    ticked(watched)
    watched.agent(boot_id="another boot")
    found = scrape(watched)
    assert not OF_THE_AGENT & found.names and found("ft_agent_age_seconds") is None and found("ft_agent_up") == 0


def test_a_frozen_redis_is_told_as_down_and_holds_the_answer_only_for_its_limit(watched: Site) -> None:
    ticked(watched)
    watched.redis.freeze()
    try:
        began_s = time.monotonic()
        found = scrape(watched)
        took_s = time.monotonic() - began_s
    finally:
        watched.redis.thaw()
    assert (found("ft_redis_up"), found("ft_active"), found("ft_database_up")) == (0, 0, 1)
    assert found.now("ft_role", "role") == ["error"] and "ft_epoch" not in found.names
    assert not OF_THE_AGENT & found.names and "ft_heartbeats_total" not in found.names
    assert took_s < 5


def test_a_wiped_redis_makes_sums_absent_rather_than_zero(watched: Site) -> None:
    ticked(watched)
    watched.portal.runtime.client.flushall()
    found = scrape(watched)
    assert found("ft_redis_up") == 1 and found("ft_none_active_seconds_total", evidence="signed") is None
    assert found("ft_probe_latency_seconds_count") is None, "0 and then 38 again would be counted twice"


def test_a_database_that_cannot_be_read_is_told_and_the_rest_is_there(watched: Site) -> None:
    ticked(watched)
    with watched.portal.database.transaction() as connection:
        connection.exec_driver_sql("ALTER TABLE ft_switch RENAME TO ft_switch_away")
    found = scrape(watched)
    assert found("ft_database_up") == 0 and "ft_switches_total" not in found.names
    assert found("ft_epoch") == 6


def test_pause_drain_and_freeze_are_told_and_an_acknowledged_freeze_is_over(watched: Site) -> None:
    ticked(watched)
    watched.agent(frozen=True)
    assert watched.portal.pause("ann", "rack", None) and watched.portal.drain("ann", "rack")
    found = scrape(watched)
    assert (found("ft_paused"), found("ft_drained"), found("ft_frozen")) == (1, 1, 1)
    clock = watched.portal.clock
    watched.portal.runtime.publish("ack_freeze", {"at_s": clock.now_s(), "boot_id": clock.boot_id})
    assert watched.portal.end("pause") and watched.portal.end("drain")
    found = scrape(watched)
    assert (found("ft_paused"), found("ft_drained"), found("ft_frozen")) == (0, 0, 0)


def test_settings_that_are_still_to_come_are_counted(watched: Site) -> None:
    ticked(watched, settings_revision=4)
    assert scrape(watched)("ft_replication_lag_revisions") == 3


def test_a_lease_is_as_long_as_the_shorter_settings_say_until_both_servers_have_the_new_ones(watched: Site) -> None:
    watched.portal.settings.acknowledged(1)
    revision = watched.configure(interval_s=60.0)
    ticked(watched)
    found = scrape(watched)
    assert (found("ft_lease_seconds"), found("ft_heartbeat_interval_seconds")) == (113, 60)
    watched.portal.settings.acknowledged(revision)
    # a look into the database is kept for a moment
    wait_for("the longer lease is told", lambda: (scrape(watched)("ft_lease_seconds") or 0) > 200, 10)


def test_a_process_that_was_asked_nothing_for_long_tells_the_settings_of_now(
    watched: Site, make_site: MakeSite
) -> None:
    other = make_site(FT_METRICS_ALLOW=[ALLOWED])
    assert scrape(other)("ft_settings_revision") == 1
    watched.configure(interval_s=60.0)
    sites = (watched, other)
    wait_for("both tell revision 2", lambda: [scrape(s)("ft_settings_revision") for s in sites] == [2, 2], 10)


def test_a_health_check_is_told_until_it_is_too_old(watched: Site) -> None:
    clock = watched.portal.clock

    def checked(age_s: float) -> Scrape:
        row = {"name": "axl", "state": "degraded", "detail": "slow", "checked_s": clock.now_s() - age_s}
        row |= {"duration_s": 0.1, "timeout_s": 3.0, "shared": False}
        document = {"ok": True, "checked_s": clock.now_s() - age_s, "boot_id": clock.boot_id, "failed": []}
        assert watched.portal.runtime.publish("health", {**document, "checks": [row]})
        return scrape(watched)

    fresh, old = checked(0.0), checked(500.0)
    assert fresh.now("ft_health_check", "state", name="axl") == ["degraded"] and fresh("ft_health_ok") == 1
    assert "ft_health_check" not in old.names and old("ft_health_ok") == 0


def test_a_balancer_that_asks_too_often_has_drifted(watched: Site) -> None:
    clock = watched.portal.clock
    moments = [clock.now_s() - 5.0 * i for i in range(8, 0, -1)]
    rows = [["10.0.0.9", "monitor?mod=NONE", moments, ""], ["10.0.0.10", "active", moments, ""]]
    assert watched.portal.runtime.publish("probers-1", {"boot_id": clock.boot_id, "rows": rows})
    found = scrape(watched)
    leads = {"address": "10.0.0.9", "question": "monitor?mod=NONE"}
    follows = {"address": "10.0.0.10", "question": "active"}
    assert found("ft_prober_interval_seconds", **leads) == pytest.approx(5.0)
    assert found("ft_balancer_drifted", **leads) == 1 and (found("ft_balancer_drift_seconds", **leads) or 0) > 60
    assert found("ft_balancer_drifted", **follows) == 0, "who follows the role may ask as often as it likes"


def test_hostile_names_stay_inside_their_labels(watched: Site) -> None:
    ticked(watched)
    name = 'a"} 1\nft_active{x="\\' + "y" * 500
    assert watched.portal.runtime.publish("services", {name: {"state": "no such state"}})
    found = scrape(watched)
    shown = [dict(labels)["service"] for (sample, labels) in found.samples if sample == "ft_service_state"]
    assert shown and all(len(text) <= 200 and "\n" not in text for text in shown)
    assert found("ft_active") == 1 and found.now("ft_service_state", "state", service=shown[0]) == ["unknown"]


def test_openmetrics_is_spoken_where_the_scraper_asks_for_it(watched: Site) -> None:
    ticked(watched)
    answer = scraped(watched, Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n") and "ft_heartbeats_total 40" in answer.text


# --- what the agent counts


def test_what_the_agent_counts_arrives_and_survives_its_restart(watched: Site) -> None:
    chosen = settings(interval_s=1.0, timeout_s=1.0)

    def worker(beats: int, role: Role) -> None:
        clock = watched.portal.clock
        feed = PageFeed(runtime=watched.portal.runtime, settings=lambda: chosen, ask=None, clock=clock)
        t = Ticks(S2, S, chosen)
        for index in range(beats):
            t.now_s = 50.0 + index
            view = t.view(peer=t.good(role))
            decision = t.tick(peer=t.good(role))
            feed.ticked(Now(view=view, decision=decision, settings=chosen, stop_by=t.timing, wait_by=t.timing))
        feed.turn()

    ticked(watched, role=Role.STANDBY)
    watched.portal.runtime.forget("metrics")
    worker(4, A)
    worker(3, S)  # another process: it goes on where the first one stopped
    found = scrape(watched)
    assert found("ft_heartbeats_total") == 7 and found("ft_probes_total", cause="ok") == 7
    assert found("ft_none_active_seconds_total", evidence="signed") == 2
    assert found("ft_probe_latency_seconds_count") == 7


# --- what it costs


def test_a_scrape_costs_no_more_than_the_status_page(watched: Site) -> None:
    fullest(watched)
    ticked(watched)
    view_of(watched, Role.STANDBY)
    client = watched.client

    def page() -> int:
        return int(client.get("/ft/admin/status").status_code)

    def metrics() -> int:
        return int(client.get("/ft/metrics", environ_overrides={"REMOTE_ADDR": ALLOWED}).status_code)

    def took_s(ask: Callable[[], int]) -> float:
        began_s = time.thread_time()
        assert ask() == 200
        return time.thread_time() - began_s

    for ask in (page, metrics):  # templates and statements are made at the first call
        assert ask() == 200
    both = [(took_s(metrics), took_s(page)) for _ in range(30)]  # in turns: what else the machine does hits both
    ratio = statistics.median(m for m, _ in both) / statistics.median(p for _, p in both)
    print(f"a scrape costs {ratio:.2f} of the status page's time")
    assert ratio < 1.0


@pytest.mark.parametrize(
    ("content", "works"),
    [
        ({"things": {"users": {"behind": 3}}}, 1),
        ({"things": {"users": {}}, "error": "server1 cannot be asked"}, 0),
        ({"things": {"users": {}, "files": {"error": "the disk is full"}}}, 0),
        ({"things": {"users": {"gone": 40}}}, 0),
        ({"things": {"users": {}}, "at_s": 0.0}, 0),  # its thread is silent
        ({"things": {"odd": 5, "users": {"behind": "many"}}}, 1),
        ({}, None),
    ],
)
def test_replication_that_stands_still_is_told(watched: Site, content: dict[str, Any], works: int | None) -> None:
    clock = watched.portal.clock
    document = {"boot_id": clock.boot_id, "at_s": clock.now_s(), **content}
    assert watched.portal.runtime.publish("content", document)
    assert scrape(watched)("ft_replication_ok") == works
