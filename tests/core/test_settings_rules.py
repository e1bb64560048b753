"""Relations between settings (spec 4): what is refused, what warns, by field."""

from __future__ import annotations

import pytest

from ftplugin.core.rules import check, in_hours, smallest_threshold
from ftplugin.core.settings import LEASE_S_MIN, Settings, SettingsError, parse
from ftplugin.core.timing import Timing

PAIR = {"server1_address": "10.0.0.1", "server2_address": "10.0.0.2"}


def problems(**values) -> dict[str, str]:
    return {p.field: p.severity for p in check(parse(PAIR | values))}


def test_the_defaults_and_the_guide_s_first_set_are_good() -> None:
    assert check(Settings()) == []
    assert problems(enabled=True, interval_s=30, timeout_s=10, threshold=5) == {}


@pytest.mark.parametrize(("interval_s", "threshold"), [(20, 3), (15, 4)])
def test_the_guide_s_other_sets_warn_of_the_portal_restart(interval_s: int, threshold: int) -> None:
    assert problems(interval_s=interval_s, threshold=threshold) == {"threshold": "warning"}


def test_a_lease_shorter_than_the_peer_s_word_warns_of_a_rebooting_reference_host() -> None:
    short = {
        "interval_s": 1,
        "timeout_s": 1,
        "threshold": 3,
        "service_stop_s": 0.3,
        "portal_restart_s": 0,
        "rtt_ms": 100,
    }
    said = [p for p in check(parse(PAIR | short)) if "LAN reference" in p.message]
    assert [(p.field, p.severity) for p in said] == [("threshold", "warning")] and "at least 4 failures" in said[
        0
    ].message
    for changes in ({"threshold": 4}, {"lan_references": "10.0.0.8, 10.0.0.9"}):
        assert not [p for p in check(parse(PAIR | short | changes)) if "LAN reference" in p.message]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"timeout_s": 31}, "timeout_s"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"interval_s": 0.1, "timeout_s": 0.1}, "interval_s"),
        ({"interval_s": 3601}, "interval_s"),
        ({"threshold": 1}, "threshold"),
        ({"threshold": 10**9}, "threshold"),
        ({"service_stop_s": 119}, "threshold"),
        ({"server1_address": "10.0.0.300"}, "server1_address"),
        ({"server2_address": "example"}, "server2_address"),
        ({"server2_address": "https://10.0.0.1:8443"}, "server2_address"),
        ({"server2_address": "0.0.0.0"}, "server2_address"),
        ({"enabled": True, "server2_address": ""}, "server2_address"),
        ({"vip_test": True}, "vip_address"),
        ({"vip_urls": True}, "vip_address"),
        ({"balancer_kind": "floating"}, "vip_address"),
        ({"vip_address": "nowhere"}, "vip_address"),
        ({"vip_address": "10.0.0.2"}, "vip_address"),
        ({"agent_port": 0}, "agent_port"),
        ({"agent_port": 65536}, "agent_port"),
        ({"rtt_ms": -1}, "rtt_ms"),
        ({"flap_budget": 0}, "flap_budget"),
        ({"witness": "10.0.0.9"}, "witness"),
        ({"witness": "witness:6379"}, "witness"),
        ({"witness": "10.0.0.2:6379"}, "witness"),
        ({"witness": "10.0.0.9:70000"}, "witness"),
        ({"lan_references": "10.0.0.2"}, "lan_references"),
        ({"lan_references": "10.0.0.254, tcp:10.0.0.1:80"}, "lan_references"),
        ({"lan_references": "tcp:10.0.0.9"}, "lan_references"),
        ({"lan_references": "udp:10.0.0.9:53"}, "lan_references"),
        ({"failback_hours": "22"}, "failback_hours"),
        ({"failback_hours": "25-3"}, "failback_hours"),
        ({"failback_hours": "8:60-9"}, "failback_hours"),
        ({"daily_restart": "3"}, "daily_restart"),
        ({"daily_restart": "24:00"}, "daily_restart"),
    ],
)
def test_contradictions_are_errors_of_their_field(values: dict, field: str) -> None:
    assert problems(**values).get(field) == "error", check(parse(PAIR | values))


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"timeout_s": 9.9}, "timeout_s"),
        ({"rtt_ms": 6000}, "timeout_s"),
        ({"threshold": 3}, "threshold"),
        ({"balancer_kind": "nlb", "vip_address": "10.0.0.5"}, "vip_address"),
        ({"balancer_kind": "nlb", "application_error": True}, "application_error"),
        ({"balancer_kind": "floating", "vip_address": "10.0.0.5", "vip_test": True}, "vip_test"),
        ({"balancer_kind": "none", "vip_address": "10.0.0.5", "vip_urls": True}, "balancer_kind"),
        ({"vip_address": "10.0.0.5", "vip_test": True, "failback": True}, "failback"),
    ],
)
def test_rules_that_may_be_passed_warn(values: dict, field: str) -> None:
    assert problems(**values) == {field: "warning"}


@pytest.mark.parametrize(
    "values",
    [
        {"server1_address": "2001:db8::1", "server2_address": "https://[2001:db8::2]:8443"},
        {"vip_address": "10.0.0.5", "vip_test": True},
        {"witness": "[2001:db8::9]:6379", "lan_references": ["10.0.0.254", "tcp:10.0.0.253:22", "2001:db8::fe"]},
        {"failback_hours": "22-5"},
        {"failback_hours": "0-24"},
        {"daily_restart": "03:30"},
    ],
)
def test_good_sets(values: dict) -> None:
    assert problems(**values) == {}


@pytest.mark.parametrize(("interval_s", "stop_s"), [(0.2, 0.5), (0.5, 0.2), (1, 5), (30, 5), (30, 200), (3600, 1)])
def test_the_named_smallest_threshold_is_the_smallest_that_is_taken(interval_s: float, stop_s: float) -> None:
    base = parse({"interval_s": interval_s, "timeout_s": interval_s, "service_stop_s": stop_s})
    smallest = smallest_threshold(base)

    def lease_s(threshold: int) -> float:
        return Timing.of(parse({"threshold": threshold}, base)).lease_s

    def refused(threshold: int) -> bool:
        found = check(parse({"threshold": threshold}, base))
        return any(p.field == "threshold" and p.severity == "error" for p in found)

    assert not refused(smallest) and lease_s(smallest) >= LEASE_S_MIN - 1e-9
    assert smallest == 2 or refused(smallest - 1)
    if smallest > 2:
        assert f"at least {smallest} failures" in check(parse({"threshold": smallest - 1}, base))[0].message


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("22-5", [22 * 60, 23 * 60 + 59, 0, 299], [300, 12 * 60, 21 * 60 + 59]),
        ("08:00-17:30", [480, 17 * 60 + 29], [479, 17 * 60 + 30]),
        ("", [0, 720], []),
        ("5-5", [0, 720], []),
        ("20-24", [20 * 60, 1439], [0, 19 * 60]),
    ],
)
def test_in_hours(text: str, inside: list[int], outside: list[int]) -> None:
    assert all(in_hours(text, minutes) for minutes in inside)
    assert not any(in_hours(text, minutes) for minutes in outside)


def test_in_hours_names_the_field_of_a_wrong_form() -> None:
    with pytest.raises(SettingsError, match="failback_hours"):
        in_hours("noon", 0)


@pytest.mark.parametrize(
    ("values", "severity", "words"),
    [
        ({"daily_restart": "3"}, "error", "HH:MM"),
        ({"daily_restart": "24:00"}, "error", "HH:MM"),
        ({"daily_restart": "03:30", "portal_restart_s": 80_000}, "error", "longer than 12 h"),
        ({"daily_restart": "03:30", "portal_restart_s": 72}, "warning", "every night"),
        ({"daily_restart": "03:30", "interval_s": 15, "threshold": 4}, "warning", "every night"),
        ({"daily_restart": "03:30", "interval_s": 20, "threshold": 3}, "warning", "every night"),
        (
            {"daily_restart": "03:30", "interval_s": 1, "timeout_s": 1, "threshold": 3, "service_stop_s": 0.3}
            | {"portal_restart_s": 1},
            "warning",
            "every night",
        ),
        ({"daily_restart": "03:30", "portal_restart_s": 70}, "", ""),
        ({"daily_restart": "03:30"}, "", ""),
        ({"daily_restart": ""}, "", ""),
    ],
)
def test_what_the_time_of_the_daily_restart_may_be(values: dict[str, object], severity: str, words: str) -> None:
    found = [problem for problem in check(parse(PAIR | {"enabled": True} | values)) if problem.field == "daily_restart"]
    assert [problem.severity for problem in found] == ([severity] if severity else [])
    assert all(words in problem.message for problem in found)
