"""The thread that tells: a real Redis, a real journal, real receivers; ticks are decided by the real core."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ftplugin.alerts import page
from ftplugin.alerts.kept import FILE
from ftplugin.core.terms import Designation, Role
from ftplugin.licence.keep import ALARM
from ftplugin.state import DAILY
from tests.core.ticks import DEFAULTS
from workers import alerting

from .alert_receivers import Silent, Webhook
from .alert_server import LIMIT_S, Server
from .conftest import RedisProcess, wait_until

SERVER1, SERVER2 = Designation.SERVER1, Designation.SERVER2
NOWHERE = "json://127.0.0.1:1/"

MakeServer = Callable[..., Server]


@pytest.fixture
def make_server(tmp_path: pathlib.Path, redis_process: RedisProcess) -> Iterator[MakeServer]:
    made: list[Server] = []

    def make(me: Designation, *urls: str, **keys: float) -> Server:
        made.append(Server(tmp_path, me, redis_process, *urls, **keys))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def hook() -> Iterator[Webhook]:
    receiver = Webhook()
    yield receiver
    receiver.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process sends: for tests of what is told, which is then what waits."""
    monkeypatch.setattr(alerting, "CHILDREN_MAX", 0)


def titles(*told: Webhook | Server) -> list[str]:
    found = [title for one in told for title in (one.titles if isinstance(one, Webhook) else one.waiting)]
    return sorted(title.removeprefix("[Hot Standby ") for title in found)


def test_a_failover_seen_by_both_servers_is_told_once(make_server: MakeServer, held: None) -> None:
    one, two = make_server(SERVER1, NOWHERE), make_server(SERVER2, NOWHERE)
    one.tick(Role.ACTIVE)
    two.tick(Role.STANDBY, peer=lambda t: t.good())
    for _ in range(3):  # server1 is dead: the streak is full, and stays so
        two.tick(Role.STANDBY, streaks_full=True, peer=lambda t: t.silent())
    two.switch("s1")
    two.tick(Role.ACTIVE, peer=lambda t: t.silent())
    one.switch("s2", kind="demote", rule="fence")  # server1 is back, and carries out the fence
    two.tick(Role.ACTIVE, peer=lambda t: t.good(Role.STANDBY))
    one.tick(Role.STANDBY, peer=lambda t: t.good(Role.ACTIVE))
    for server in (one, two, one, two):
        server.alerting.turn()
    assert titles(one, two) == ["server2] Failover: server2 is active", "server2] server1 does not answer"]
    assert [o.title for o in two.alerting.incidents.open.values()] == ["server1 does not answer"]


def test_clocks_apart_and_a_conflict_are_told_by_the_active_server_alone(make_server: MakeServer, held: None) -> None:
    one, two = make_server(SERVER1, NOWHERE), make_server(SERVER2, NOWHERE)
    for server, role, peer_role, skew_s in (
        (two, Role.STANDBY, Role.ACTIVE, -45.0),
        (one, Role.ACTIVE, Role.STANDBY, 45.0),
    ):
        assert server.runtime.publish("conflicts", {"open": 2})
        for _ in range(2):
            server.tick(role, peer=lambda t, r=peer_role, s=skew_s: replace(t.good(r), skew_s=s))
    assert titles(one, two) == [
        "server1] The clocks of the two servers differ",
        "server1] The configuration was edited on both servers",
    ]
    known = page.shown(two.runtime, two.clock.boot_id, two.clock.now_s()).open
    assert {row["told"] for row in known} == {False} and len(known) == 2, "the standby server knows, and keeps quiet"


def test_the_end_of_a_loss_is_told_after_it_has_lasted(make_server: MakeServer, held: None) -> None:
    one = make_server(SERVER1, NOWHERE)
    one.tick(Role.ACTIVE)
    one.tick(Role.ACTIVE, streaks_full=True, peer=lambda t: t.silent())
    one.tick(Role.ACTIVE, peer=lambda t: t.good(Role.STANDBY))
    assert titles(one) == ["server1] server2 does not answer"]
    one.alerting.outbox.waiting.clear()  # as if it had been sent
    one.clock.ahead_s += 31
    one.tick(Role.ACTIVE, peer=lambda t: t.good(Role.STANDBY))
    assert titles(one) == ["server1] Over: server2 does not answer"]


@pytest.mark.parametrize(("repeat_s", "told"), [(60.0, 1), (600.0, 0), (0.0, 0)])
def test_what_lasts_is_told_again_after_the_time_of_the_configuration(
    make_server: MakeServer, held: None, repeat_s: float, told: int
) -> None:
    one = make_server(SERVER1, NOWHERE, FT_ALERT_REPEAT_S=repeat_s)
    one.tick(Role.ACTIVE)
    one.tick(Role.ACTIVE, streaks_full=True, peer=lambda t: t.silent())
    one.alerting.outbox.waiting.clear()  # as if it had been sent
    one.clock.ahead_s += 61
    one.tick(Role.ACTIVE, streaks_full=True, peer=lambda t: t.silent())
    assert len(titles(one)) == told, titles(one)


def test_what_the_watchdog_the_owners_the_licence_and_the_daily_restart_say_is_told(
    make_server: MakeServer, held: None
) -> None:
    one = make_server(SERVER1, NOWHERE)
    one.tick(Role.ACTIVE)
    today = time.strftime("%Y-%m-%d")
    (one.folder / ALARM).write_text(f"{today} The licence of this server expires on 2030-01-01.")
    dual = {"boot_id": one.clock.boot_id, "also_owned": [["port 7101", "server2"]]}
    assert one.runtime.publish("services", {"cti": {"dual": dual}})
    result = {"part": "portal", "ok": False, "detail": "exit code 1", "at_wall_s": time.time()}
    assert one.runtime.publish(DAILY, {"boot_id": one.clock.boot_id, "result": result})
    one.clock.ahead_s += 30
    one.tick(Role.ACTIVE, given_up=("cti",))
    one.alerting.turn()
    assert titles(one) == [
        "server1] Service cti has two owners",
        "server1] Service cti was given up on server1",
        "server1] The daily restart of the portal failed",
        "server1] The licence of server1 needs attention",
    ]


def asked(server: Server, *rows: tuple[str, str, float]) -> None:
    """As the portal notes it: address, question, every so many seconds, eight times until now."""
    now_s = server.clock.now_s()
    noted = [[who, what, [now_s - every_s * n for n in range(7, -1, -1)], ""] for who, what, every_s in rows]
    assert server.runtime.publish("probers-7", {"boot_id": server.clock.boot_id, "rows": noted})


def test_a_balancer_that_asks_in_another_interval_for_a_minute_is_told(make_server: MakeServer, held: None) -> None:
    one = make_server(SERVER1, NOWHERE)

    for step in range(4):
        rows = [("10.0.0.50", "monitor?mod=NONE", 5.0), ("10.0.0.51", "monitor?mod=NONE", DEFAULTS.interval_s)]
        asked(one, *rows)
        one.tick(Role.ACTIVE)
        assert bool(one.waiting) is (step >= 2), "after 60 s of it"
        one.clock.ahead_s += 30
    assert titles(one) == ["server1] Balancer 10.0.0.50 does not fit the settings"]
    assert "every 5 s; by the settings it should be 1 s" in one.alerting.outbox.waiting[0].message.text


def test_a_switch_that_fails_at_each_tick_is_told_once_until_one_is_done(make_server: MakeServer, held: None) -> None:
    two = make_server(SERVER2, NOWHERE)
    two.tick(Role.STANDBY)
    for n in range(5):
        two.switch(f"s{n}", outcome="aborted")
        two.tick(Role.STANDBY)
    two.switch("s9")
    two.tick(Role.ACTIVE)
    two.switch("s10", outcome="failed")
    two.tick(Role.STANDBY)
    assert titles(two) == [
        "server2] Failover aborted on server2",
        "server2] Failover failed on server2",
        "server2] Failover: server2 is active",
    ]


def test_what_was_before_the_first_start_is_not_told_and_what_was_while_the_worker_was_away_is(
    make_server: MakeServer, held: None
) -> None:
    one = make_server(SERVER1, NOWHERE)
    one.switch("long before", rule="B1")
    one.switch("before")
    one.clock.wall_ahead_s = -86_400.0  # started before NTP has set it
    one.tick(Role.ACTIVE)
    assert one.waiting == []
    one.alerting.stop()
    one.switch("away-1", rule="I1", kind="demote")
    one.switch("away-2", rule="B1")
    for _ in range(2):
        one.worker()
        one.alerting.turn()
        assert titles(one) == ["server1] Failback: server1 is active", "server1] server1 is no longer active"]


def test_a_target_that_is_down_gets_it_when_it_is_back_also_after_a_restart_and_nothing_twice(
    make_server: MakeServer, hook: Webhook
) -> None:
    down = Webhook(status=503)
    try:
        one = make_server(SERVER1, hook.url, down.url)
        one.tick(Role.ACTIVE)
        one.switch("s1")
        one.turns_until(lambda: [t.tries for w in one.alerting.outbox.waiting for t in w.left.values()] == [1])
        assert len(hook.got) == 1, "the other target has it"
        shown = page.shown(one.runtime, one.clock.boot_id, one.clock.now_s())
        row = shown.waiting[0]
        assert row["target"] == "2 json 127.0.0.1" and row["tries"] == 1 and 0 < row["next_in_s"] <= 10
        assert "503" in row["detail"] and "hook-secret" not in json.dumps(shown.waiting)
        assert any("not delivered to target 2 json 127.0.0.1" in line for line in one.log.lines)
        file = one.folder / FILE
        assert file.stat().st_mode & 0o777 == 0o600 and "hook-secret" not in file.read_text()
        one.alerting.stop()
        down.status = 200
        one.worker()
        one.alerting.turn()
        assert not one.alerting._children, "its gap is not over"
        one.clock.ahead_s += 10
        one.turns_until(lambda: down.got and one.idle())
        assert titles(down) == titles(hook) == ["server1] Failover: server1 is active"]
    finally:
        down.close()


def test_a_file_that_cannot_be_read_begins_anew_and_says_so(make_server: MakeServer, held: None) -> None:
    one = make_server(SERVER1, NOWHERE)
    for text in ("", "{", "[]", '{"version": 9}', '{"version": 1, "open": 5}', "\xff"):
        (one.folder / FILE).write_bytes(text.encode("latin-1"))
        one.worker()
        one.log.lines.clear()
        one.tick(Role.ACTIVE)
        assert any(FILE in line and "alerts begin anew" in line for line in one.log.lines), text
        one.tick(Role.ACTIVE, given_up=("cti",))
        assert titles(one) == ["server1] Service cti was given up on server1"]
        assert json.loads((one.folder / FILE).read_text())["version"] == 1


def test_a_target_that_hangs_costs_no_turn_and_no_other_target_anything(make_server: MakeServer, hook: Webhook) -> None:
    silent = Silent()
    try:
        one = make_server(SERVER1, silent.url, hook.url)
        one.tick(Role.ACTIVE)
        one.switch("s1")
        longest_s = 0.0

        def turn() -> bool:
            began_s = time.thread_time()
            one.alerting.turn()
            nonlocal longest_s
            longest_s = max(longest_s, time.thread_time() - began_s)
            return len(one.alerting.outbox.history) == 1

        wait_until(turn, LIMIT_S)
        assert longest_s < 0.5 and len(one.alerting._children) == 1, "the one that hangs is still being asked"
        assert titles(hook) == ["server1] Failover: server1 is active"]
    finally:
        silent.close()


def test_no_delivery_begins_while_a_switch_runs_here_unless_it_has_said_nothing_for_a_minute(
    make_server: MakeServer, hook: Webhook, redis_process: RedisProcess
) -> None:
    one = make_server(SERVER1, hook.url)
    one.tick(Role.ACTIVE)
    one.publish_switch("s2", "running")
    one.tick(Role.ACTIVE, given_up=("cti",))
    for silent in (False, True):
        if silent:
            redis_process.freeze()
        try:
            one.alerting.turn()
        finally:
            redis_process.thaw()
        assert not one.alerting._children and len(one.alerting.outbox.waiting) == 1
    one.publish_switch("s2", "running", updated_s=one.clock.now_s() - 61)
    one.turns_until(lambda: len(hook.got) == 1 and one.idle())


def test_the_test_button_reaches_every_target_once_and_its_result_is_shown(
    make_server: MakeServer, hook: Webhook
) -> None:
    one = make_server(SERVER1, hook.url, "json://127.0.0.1:1/hook-secret")
    one.alerting.turn()
    assert page.ask_for_test(one.runtime, one.clock.boot_id, one.clock.now_s(), "anna")
    one.turns_until(lambda: len(one.alerting.outbox.history) == 2 and one.idle())
    for _ in range(3):
        one.alerting.turn()
    assert titles(hook) == ["server1] Test of the alerts"] and "asked for by anna" in hook.got[0]["message"]
    shown = page.shown(one.runtime, one.clock.boot_id, one.clock.now_s())
    assert {(row["target"], row["word"]) for row in shown.history} == {
        ("1 json 127.0.0.1", "delivered"),
        ("2 json 127.0.0.1", "given up"),
    }


def test_a_silent_redis_ends_nothing_and_a_full_disk_is_shown(
    make_server: MakeServer, held: None, redis_process: RedisProcess
) -> None:
    one = make_server(SERVER1, NOWHERE)
    dual = {"boot_id": one.clock.boot_id, "also_owned": [["port 7101", "server2"]]}
    one.tick(Role.ACTIVE)
    assert one.runtime.publish("services", {"cti": {"dual": dual}})
    for _ in range(3):
        one.clock.ahead_s += 30
        asked(one, ("10.0.0.50", "monitor?mod=NONE", 5.0))
        one.tick(Role.ACTIVE)
    assert len(one.waiting) == 2
    redis_process.freeze()
    try:
        for _ in range(2):
            one.clock.ahead_s += 31
            one.alerting.turn()
        found = [(o.cause, o.gone_s) for o in one.alerting.incidents.open.values()]
        assert found == [("two_owners", None), ("balancer_drift", None)], "what Redis does not say is not over"
    finally:
        redis_process.thaw()
    (one.folder / FILE).unlink()
    (one.folder / FILE).mkdir()  # nothing can be put in its place
    one.switch("s1")
    one.turns_until(lambda: len(one.waiting) == 3, "alerts go on")
    shown = page.shown(one.runtime, one.clock.boot_id, one.clock.now_s())
    assert FILE in shown.problem and any("would not outlive a restart" in line for line in one.log.lines)
