"""Expected starts of services from their tables and from the settings, and what counts as a start that moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ftplugin.core.settings import Settings
from ftplugin.core.start import StartWatch, expected_start_s, expected_starts, is_slow, with_starts
from ftplugin.core.terms import ServiceState
from ftplugin.core.timing import expected_failover_s, service_start_s, worst_failover_s
from ftplugin.core.view import ServiceReading

CTI = {"name": "cti", "kind": "http", "cti_connect_s": 2.4, "cti_ports": 40, "cti_devices": 10}
OTHER = {"name": "scheduler", "kind": "systemd"}
SETTINGS = Settings(cti_connect_s=3, cti_ports=100, cti_devices=50)


def test_a_table_counts_connect_and_200_ms_per_port_and_device() -> None:
    assert expected_start_s(CTI) == pytest.approx(2.4 + 0.2 * 50)
    assert expected_start_s({"cti_ports": 5}) == pytest.approx(3 + 1), "the guide's few seconds for the connection"
    assert expected_start_s({"start_expected_s": 12.5}) == 12.5
    assert expected_start_s(OTHER) is None


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ({"start_expected_s": -1}, "start_expected_s: must be seconds"),
        ({"start_expected_s": True}, "start_expected_s: must be seconds"),
        ({"start_expected_s": float("nan")}, "start_expected_s: must be seconds"),
        ({"cti_connect_s": "soon"}, "cti_connect_s: must be seconds"),
        ({"cti_ports": 2.5}, "cti_ports: must be a whole number"),
        ({"cti_devices": -3}, "cti_devices: must be a whole number"),
        ({"cti_ports": 100_000}, "cti_ports: that start would take 20003 s"),
        ({"start_expected_s": 3, "cti_ports": 4}, "cti_ports: start_expected_s says the same"),
    ],
)
def test_a_wrong_key_is_refused_by_its_name(table: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match="^" + field):
        expected_start_s(table)


def test_tables_come_before_the_settings_and_are_added_up() -> None:
    starts = expected_starts([CTI, {**OTHER, "start_expected_s": 4}], SETTINGS)
    assert (starts.source, dict(starts.of)) == ("services", {"cti": pytest.approx(12.4), "scheduler": 4})
    shown = with_starts(SETTINGS, [CTI, {**OTHER, "start_expected_s": 4}])
    assert service_start_s(shown) == pytest.approx(16.4)
    assert replace(shown, cti_connect_s=3, cti_ports=100, cti_devices=50) == SETTINGS, "nothing else is changed"
    more_s = service_start_s(shown) - service_start_s(SETTINGS)
    assert expected_failover_s(shown) == pytest.approx(expected_failover_s(SETTINGS) + more_s)
    assert worst_failover_s(shown) == pytest.approx(worst_failover_s(SETTINGS) + more_s)


def test_where_no_table_says_it_the_settings_do_and_one_service_gets_all_of_it() -> None:
    assert with_starts(SETTINGS, [OTHER]) is SETTINGS
    assert dict(expected_starts([OTHER], SETTINGS).of) == {"scheduler": pytest.approx(33)}
    assert dict(expected_starts([OTHER, {"name": "cti"}], SETTINGS).of) == {"scheduler": None, "cti": None}
    assert expected_starts([], SETTINGS).source == "settings"


def test_slow_is_half_as_much_again_and_more_than_a_second() -> None:
    assert not is_slow(18.0, 12.4) and is_slow(18.7, 12.4)
    assert not is_slow(1.1, 0.2) and is_slow(1.3, 0.2)


def reading(progress: int = 0, waiting_s: float | None = None, total: int = 3, **changes: Any) -> ServiceReading:
    state = changes.pop("state", ServiceState.STARTING)
    return ServiceReading(name="cti", state=state, progress=progress, total=total, waiting_s=waiting_s)


def test_a_start_moves_by_its_figures_or_when_it_has_none() -> None:
    start = StartWatch(0.0)
    assert [start.moved(reading(n), n) for n in (0, 0, 1, 1, 2)] == [True, False, True, False, True]
    assert all(start.moved(reading(0, total=0), now_s) for now_s in (6, 7, 8))
    unknown = reading(state=ServiceState.UNKNOWN, total=0)
    assert start.moved(unknown, 9) and not start.moved(unknown, 10), "no answer is no progress"
    assert start.waited_s == 0


def test_a_wait_that_gets_shorter_moves_and_does_not_count_against_the_limit() -> None:
    start = StartWatch(0.0)
    start.moved(reading(1), 1.0)
    looks = [start.moved(reading(1, waiting_s=60 - now_s), now_s) for now_s in (2.0, 3.0, 4.0, 30.0, 60.0)]
    assert looks == [False, True, True, True, True] and start.waited_s == pytest.approx(58.0)
    assert start.moved(reading(2), 60.1), "granted"
    assert not start.moved(reading(2), 70.0) and start.waited_s == pytest.approx(58.0)


def test_a_wait_for_an_owner_that_lives_on_does_not_move() -> None:
    """Each sign of life of the owner begins its time anew."""
    start = StartWatch(0.0)
    left_s = [60.0, 59.5, 60.0, 59.4, 59.9, 59.4]
    looks = [start.moved(reading(1, waiting_s=s), i) for i, s in enumerate(left_s)]
    assert looks == [True, True, False, False, False, False] and start.waited_s == pytest.approx(1.0)
    assert start.moved(reading(1, waiting_s=59.0), 9.0), "it has died: from here the time runs"
