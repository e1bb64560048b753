"""The daily restart's planner: when each part has its turn, what hinders it, and that no clock makes it happen twice."""

from __future__ import annotations

import datetime
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from ftplugin.core.daily import (
    Do,
    Memory,
    Moment,
    Part,
    Times,
    minutes_of,
    next_round,
    occurrence_s,
    plan,
    round_at,
)
from ftplugin.core.handover import offered, why_not_offered
from ftplugin.core.hysteresis import Memory as Streaks
from ftplugin.core.settings import Settings, parse
from ftplugin.core.terms import Designation, Phase, ProbeCause, Role
from ftplugin.core.view import ClusterView, NodeState, Pause, Probe

BERLIN, LORD_HOWE, UTC = ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe"), datetime.UTC
PAIR = {"server1_address": "10.0.0.1", "server2_address": "10.0.0.2", "enabled": True, "daily_restart": "03:30"}
SETTINGS = parse(PAIR)
BOTH = (Part.PORTAL, Part.SERVICES)
DAY_S = 86_400.0


def wall_s(text: str, zone: datetime.tzinfo = UTC) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def local(moment_s: float | None, zone: datetime.tzinfo) -> str:
    assert moment_s is not None
    return datetime.datetime.fromtimestamp(moment_s, zone).strftime("%Y-%m-%d %H:%M %z")


# --- the set time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("00:00", 0), ("03:30", 210), ("23:59", 1439), ("24:00", None), ("3:30", None), ("03:60", None), ("", None)]
    + [("٠٣:٣٠", None), (" 03:30", None), ("03:30\n", None)],
)
def test_the_time_is_hours_and_minutes(text: str, minutes: int | None) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    ("zone", "day", "text", "comes"),
    [
        (BERLIN, "2026-03-28", "02:30", "2026-03-28 02:30 +0100"),
        (BERLIN, "2026-03-29", "01:59", "2026-03-29 01:59 +0100"),
        (BERLIN, "2026-03-29", "02:00", "2026-03-29 03:00 +0200"),  # from 02:00 to 03:00 there is no time
        (BERLIN, "2026-03-29", "02:30", "2026-03-29 03:00 +0200"),
        (BERLIN, "2026-03-29", "03:00", "2026-03-29 03:00 +0200"),
        (BERLIN, "2026-10-25", "02:30", "2026-10-25 02:30 +0200"),  # comes twice: the first
        (BERLIN, "2026-10-25", "03:00", "2026-10-25 03:00 +0100"),
        (LORD_HOWE, "2026-10-04", "02:15", "2026-10-04 02:30 +1100"),  # half an hour is left out
        (LORD_HOWE, "2026-04-05", "01:45", "2026-04-05 01:45 +1100"),  # half an hour comes twice
        (ZoneInfo("America/Santiago"), "2026-09-06", "00:10", "2026-09-06 01:00 -0300"),  # no midnight that day
    ],
)
def test_a_time_left_out_comes_at_the_next_minute_and_a_double_one_once(
    zone: ZoneInfo, day: str, text: str, comes: str
) -> None:
    assert local(occurrence_s(datetime.date.fromisoformat(day), text, zone), zone) == comes


def test_a_day_that_a_zone_left_out_has_no_restart() -> None:
    apia = ZoneInfo("Pacific/Apia")  # 2011-12-30 was left out
    assert occurrence_s(datetime.date(2011, 12, 30), "03:30", apia) is None
    settings = replace(SETTINGS, daily_restart="03:30")
    found = next_round(wall_s("2011-12-29 12:00", apia), settings, apia)
    assert found is not None and found.name == "2011-12-31 03:30"


@pytest.mark.parametrize("zone", [BERLIN, LORD_HOWE, UTC, ZoneInfo("America/New_York")])
@pytest.mark.parametrize("text", ["00:00", "01:45", "02:15", "02:30", "03:00", "23:58"])
def test_each_day_of_a_year_has_exactly_one_round(zone: datetime.tzinfo, text: str) -> None:
    settings = replace(SETTINGS, daily_restart=text)
    seen, at_s = [], wall_s("2026-01-01 00:00", zone)
    end_s = wall_s("2027-01-01 00:00", zone)
    while at_s < end_s:
        found = next_round(at_s, settings, zone)
        assert found is not None
        seen += [found.name] if found.name.startswith("2026") else []
        at_s = found.start_s + Times.of(settings).span_s
    assert len(set(seen)) == len(seen) == 365


def test_turns_follow_on_whole_minutes_and_never_overlap() -> None:
    for values in ({}, {"interval_s": 1, "timeout_s": 1, "threshold": 3, "portal_restart_s": 1}, {"interval_s": 600}):
        settings = parse(PAIR | values)
        times = Times.of(settings)
        turns = [times.turn_s(part, role) for role in (Role.STANDBY, Role.ACTIVE) for part in Part]
        assert turns == sorted(turns) and all(turn % 60 == 0 for turn in turns), values
        assert turns[1] - turns[0] >= times.window_s + settings.portal_restart_s, "the portal has had its time"
        assert turns[2] - turns[1] >= times.window_s + settings.service_stop_s, "the standby server is done"
    assert [Times.of(SETTINGS).turn_s(part, role) / 60 for role in (Role.STANDBY, Role.ACTIVE) for part in Part] == [
        0,
        3,
        5,
        8,
    ]


# --- what is done ---------------------------------------------------------------------------------------------------


class Server:
    """One server with its planner; ``step`` is one look at a time of day, in UTC."""

    def __init__(
        self, role: Role = Role.STANDBY, settings: Settings = SETTINGS, parts: tuple[Part, ...] = BOTH
    ) -> None:
        self.role, self.settings, self.parts = role, settings, parts
        self.memory, self.steps = Memory(), list[tuple[float, Do, Part | None]]()
        self.sentences: list[str] = []
        self.boot_s = 1000.0  # CLOCK_BOOTTIME at 2026-06-01 00:00
        self.peer: dict[str, object] = {}
        self.facts: dict[str, object] = {}

    def view(self, now_s: float) -> ClusterView:
        me = Designation.SERVER2
        active = self.role is Role.STANDBY
        state = NodeState(
            designation=me.other,
            role=Role.ACTIVE if active else Role.STANDBY,
            lease_left_s=50.0 if active else 0.0,
            heard_asker_age_s=1.0,
        )
        peer = Probe(started_s=now_s - 0.5, ended_s=now_s, cause=ProbeCause.OK, state=replace(state, **self.peer))
        view = ClusterView(now_s=now_s, designation=me, role=self.role, peer=peer)
        return replace(view, **self.facts)

    def look(self, wall: float, now_s: float | None = None) -> None:
        now_s = self.boot_s + wall - wall_s("2026-06-01 00:00") if now_s is None else now_s
        moment = Moment(now_s=now_s, wall_s=wall, zone=UTC, view=self.view(now_s), parts=self.parts)
        self.memory, step = plan(self.memory, moment, self.settings)
        if step.do is not Do.NOTHING:
            self.steps.append((wall, step.do, step.part))
            self.sentences.append(step.sentence)

    def between(self, start: str, end: str, every_s: float = 2) -> None:
        at_s, end_s = wall_s(f"2026-06-01 {start}"), wall_s(f"2026-06-01 {end}")
        while at_s < end_s:
            self.look(at_s)
            at_s += every_s

    def done(self) -> list[tuple[str, str]]:
        return [(local(at_s, UTC)[11:16], str(part)) for at_s, do, part in self.steps if do is Do.RESTART]


def test_the_standby_server_goes_first_and_the_active_one_follows() -> None:
    standby, active = Server(Role.STANDBY), Server(Role.ACTIVE)
    for server in (standby, active):
        server.between("03:20", "03:50")
    assert standby.done() == [("03:30", "portal"), ("03:33", "services")]
    assert active.done() == [("03:35", "portal"), ("03:38", "services")]
    assert [do for _, do, _ in standby.steps] == [Do.ANNOUNCE, Do.RESTART] * 2


def test_without_a_setting_or_without_anything_to_restart_nothing_is_done() -> None:
    for server in (Server(settings=replace(SETTINGS, daily_restart="")), Server(parts=())):
        server.between("03:20", "03:50")
        assert server.steps == []


def test_without_a_watched_portal_the_services_keep_their_turn() -> None:
    server = Server(parts=(Part.SERVICES,))
    server.between("03:20", "03:50")
    assert server.done() == [("03:33", "services")]


def test_nothing_begins_before_the_other_server_has_heard_the_announcement() -> None:
    server = Server()
    server.peer = {"heard_asker_age_s": 1e6}
    server.between("03:30", "03:31")
    assert server.done() == [] and server.steps[0][1] is Do.ANNOUNCE
    server.peer = {}
    server.look(wall_s("2026-06-01 03:31"))
    assert server.done() == [("03:31", "portal")]


def test_an_answer_asked_for_before_the_announcement_proves_nothing() -> None:
    server = Server()
    at_s, now_s = wall_s("2026-06-01 03:30"), 50_000.0
    server.look(at_s, now_s)
    old = server.view(now_s)
    assert old.peer is not None
    server.facts = {"peer": replace(old.peer, started_s=now_s - 0.5)}
    server.look(at_s + 1, now_s + 1)
    assert server.done() == []


@pytest.mark.parametrize(
    ("role", "facts", "peer", "why"),
    [
        (Role.STANDBY, {"pause": Pause(owner="ann", reason="disk")}, {}, "paused by ann"),
        (Role.STANDBY, {"drained": True}, {}, "this server is drained"),
        (Role.STANDBY, {"switching": True}, {}, "a switch runs"),
        (Role.ACTIVE, {"phase": Phase.STARTING}, {}, "a switch runs"),
        (Role.STANDBY, {"peer": None}, {}, "server1 is not heard"),
        (Role.STANDBY, {}, {"restarting_s": 3.0}, "server1 restarts now"),
        (Role.STANDBY, {}, {"healthy": False}, "server1 is not healthy"),
        (Role.STANDBY, {}, {"role": Role.STANDBY}, "server1 is not active, so nobody is"),
        (Role.STANDBY, {}, {"lease_left_s": 0.0}, "server1 is not active, so nobody is"),
        (Role.STANDBY, {}, {"phase": Phase.STARTING}, "a switch runs on server1"),
        (Role.ACTIVE, {}, {"role": Role.ACTIVE}, "server1 is active"),
        (Role.ACTIVE, {}, {"eligible": False}, "server1 is drained and could not take over"),
    ],
)
def test_what_hinders_a_turn_is_said_and_the_turn_is_not_made_up(
    role: Role, facts: dict[str, object], peer: dict[str, object], why: str
) -> None:
    server = Server(role)
    server.facts, server.peer = facts, peer
    server.between("03:25", "03:45")
    server.facts, server.peer = {}, {}
    server.between("03:45", "23:00", every_s=60)
    assert server.done() == []
    assert any(why in text and "waits" in text for text in server.sentences)
    skipped = [text for text, (_, do, _) in zip(server.sentences, server.steps) if do is Do.SKIP]
    assert len(skipped) == 2 and all(why in text and "not made up later" in text for text in skipped)


def test_hot_standby_mode_off_restarts_nothing() -> None:
    server = Server(settings=replace(SETTINGS, enabled=False))
    server.between("03:25", "03:45")
    assert server.done() == [] and "Hot Standby mode is off" in server.sentences[0]


def test_a_hindrance_that_ends_within_the_turn_only_delays_it() -> None:
    server = Server()
    server.facts = {"switching": True}
    server.between("03:30", "03:31")
    server.facts = {}
    server.between("03:31", "03:50")
    assert server.done() == [("03:31", "portal"), ("03:33", "services")]


@pytest.mark.parametrize(("role", "keeps"), [(Role.ACTIVE, False), (Role.STANDBY, True)])
def test_when_both_have_announced_the_active_server_gives_way(role: Role, keeps: bool) -> None:
    server = Server(role)
    at_s = wall_s("2026-06-01 03:30" if keeps else "2026-06-01 03:35")
    server.peer = {"heard_asker_age_s": None}
    server.look(at_s)
    assert server.memory.announced_s is not None
    server.peer = {"restarting_s": 20.0}
    server.look(at_s + 5)
    assert (server.memory.announced_s is not None) is keeps and server.done() == []
    server.peer = {}
    for second in (10, 12):
        server.look(at_s + second)
    assert len(server.done()) == 1


def test_any_other_hindrance_withdraws_the_announcement() -> None:
    server = Server()
    server.peer = {"heard_asker_age_s": None}
    server.look(wall_s("2026-06-01 03:30"))
    server.facts = {"switching": True}
    server.look(wall_s("2026-06-01 03:30") + 5)
    assert server.memory.announced_s is None


def test_a_server_that_was_away_in_its_turn_does_not_make_it_up() -> None:
    server = Server()
    server.between("03:32", "03:59")
    assert server.done() == [("03:33", "services")]
    assert any("portal today" in text and "turn is over" in text for text in server.sentences)


def test_who_becomes_active_after_its_own_restart_is_not_restarted_again() -> None:
    server = Server(Role.STANDBY)
    server.between("03:29", "03:34")
    server.role = Role.ACTIVE
    server.between("03:34", "03:59")
    assert server.done() == [("03:30", "portal"), ("03:33", "services")]


def test_services_stay_alone_when_the_portal_did_not_come_back() -> None:
    server = Server()
    server.between("03:29", "03:31")
    server.memory = replace(server.memory, failed=True)
    server.between("03:31", "03:50")
    assert server.done() == [("03:30", "portal")]
    assert "the restart of the portal has failed" in server.sentences[-1]


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_a_clock_set_back_restarts_nothing_a_second_time() -> None:
    server = Server()
    server.between("03:25", "03:50")
    for back_s in (600, 3600, DAY_S):  # the same minutes again, and yesterday's
        at_s = wall_s("2026-06-01 03:25") - (back_s if back_s == DAY_S else 0)
        for second in range(0, 1500, 2):
            server.look(at_s + second, server.memory.began_s + 3000 + second)
    assert len(server.done()) == 2


def test_a_clock_set_forward_over_the_turn_misses_it() -> None:
    server = Server()
    server.between("03:00", "03:20")
    server.between("04:30", "05:00")
    assert server.done() == []


def test_a_restarted_worker_remembers_what_was_done() -> None:
    server = Server()
    server.between("03:29", "03:31")
    server.memory = Memory.from_json(server.memory.to_json())
    server.between("03:31", "03:50")
    assert server.done() == [("03:30", "portal"), ("03:33", "services")]
    for broken in (None, {}, {"round": 3, "over": "portal"}, {"began_s": "x", "over": []}):
        assert Memory.from_json(broken) == Memory()


def test_another_set_time_on_the_same_day_is_a_round_of_its_own() -> None:
    server = Server()
    server.between("03:29", "03:50")
    server.settings = replace(SETTINGS, daily_restart="09:00")
    server.between("08:59", "09:20")
    assert [text for text, _ in server.done()] == ["03:30", "03:33", "09:00", "09:03"]


def test_a_round_may_pass_midnight() -> None:
    settings = replace(SETTINGS, daily_restart="23:58")
    found = round_at(wall_s("2026-06-02 00:04"), settings, UTC)
    assert found is not None and found.name == "2026-06-01 23:58"


@pytest.mark.parametrize("offset_s", [0, 45, 180, 300, 301, 330, 480])
def test_two_servers_with_clocks_apart_never_restart_at_one_time(offset_s: int) -> None:
    """Each restart takes 50 s; each hears the other's state every second. ``offset_s``: server1's clock is behind."""
    servers = {Role.STANDBY: Server(Role.STANDBY), Role.ACTIVE: Server(Role.ACTIVE)}
    busy_until = dict.fromkeys(servers, 0.0)
    overlaps = 0
    for second in range(1500, 3000):
        for role, server in servers.items():
            other = Role.ACTIVE if role is Role.STANDBY else Role.STANDBY
            announced = servers[other].memory.announced_s is not None
            server.peer = {"restarting_s": 60.0 if announced or busy_until[other] > second else 0.0}
            if busy_until[role] > second:
                continue
            done = len(server.done())
            server.look(wall_s("2026-06-01 03:00") + second - (offset_s if role is Role.ACTIVE else 0), 1000.0 + second)
            if len(server.done()) > done:
                overlaps += busy_until[other] > second
                busy_until[role] = second + 50
                server.memory = replace(server.memory, announced_s=None)
    assert overlaps == 0
    assert servers[Role.STANDBY].done()


def test_no_service_is_handed_over_while_its_server_restarts_on_purpose() -> None:
    server = Server(Role.STANDBY)
    server.peer = {"given_up": ("cti",), "healthy": False}
    assert offered(server.view(100.0), Streaks()) == ("cti",)
    server.peer |= {"restarting_s": 5.0}
    assert offered(server.view(100.0), Streaks()) == ()
    assert "restarts now on purpose" in why_not_offered(server.view(100.0))
