"""The systemd controller and a real systemd: what the stand-in's tests say of units that work, die, hang and are refused."""

from __future__ import annotations

import os
import pathlib
import signal
import time
from typing import Any, Iterator

import pytest

from ftplugin.core.terms import ServiceState as S
from workers.adapters.services import ServiceError, build

from .conftest import alive, becomes
from .real_systemd import RealSystemd, started

pytestmark = pytest.mark.lab

PLAIN = "[Service]\nExecStart=/bin/sleep 600\n"


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSystemd]:
    made = started(tmp_path_factory.mktemp("systemd"))
    yield made
    made.end()


@pytest.fixture
def systemd(manager: RealSystemd, monkeypatch: pytest.MonkeyPatch) -> RealSystemd:
    monkeypatch.setenv("PATH", f"{manager.bin}:{os.environ['PATH']}")
    return manager


def service_of(folder: pathlib.Path, unit: str, **more: Any) -> Any:
    table = {"name": "beat", "kind": "systemd", "unit": unit, "start_limit_s": 5.0, "stop_limit_s": 2.0}
    return build([table | more], folder)[0]


def test_unit_is_started_killed_restarted_and_stopped(systemd: RealSystemd, tmp_path: pathlib.Path) -> None:
    systemd.add("plain.service", PLAIN)
    service = service_of(tmp_path, "plain.service")
    assert service.status().state is S.STANDBY
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    first = systemd.pid("plain.service")
    os.kill(first, signal.SIGKILL)
    assert "failed, result signal" in becomes(service, S.DEAD).detail.replace("failed (failed)", "failed")
    service.restart(True)
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    pid = systemd.pid("plain.service")
    assert pid != first and service.demote(5).state is S.STANDBY and not alive(pid)
    assert service.promote(4, 2.5).state is S.UNKNOWN, "4 is below the demotion's 5"


def test_unit_that_ignores_its_end_is_killed_with_its_children_within_the_stop_limit(
    systemd: RealSystemd, tmp_path: pathlib.Path
) -> None:
    child = tmp_path / "child"
    loop = f"trap '' TERM; setsid sleep 600 & echo $! >{child}; while :; do sleep 0.2; done"
    systemd.add("stubborn.service", f'[Service]\nExecStart=/bin/sh -c "{loop.replace("$", "$$")}"\n')
    service = service_of(tmp_path, "stubborn.service")
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    pid, began_s = systemd.pid("stubborn.service"), time.monotonic()
    assert service.demote(5).state in (S.STANDBY, S.DEAD)
    assert time.monotonic() - began_s < 2.6
    assert not alive(pid) and not alive(int(child.read_text())), "also one that left the process group"


def test_start_that_hangs_ends_at_its_limit_and_a_demotion_stops_the_unit(
    systemd: RealSystemd, tmp_path: pathlib.Path
) -> None:
    systemd.add("slow.service", "[Service]\nType=notify\nTimeoutStartSec=60\nExecStart=/bin/sleep 600\n")
    service = service_of(tmp_path, "slow.service", start_limit_s=0.5)
    assert service.promote(4, 2.5).state is S.STARTING
    assert "killed after its limit" in becomes(service, S.DEAD, 4).detail
    pid = systemd.pid("slow.service")
    assert service.demote(5).state is S.STANDBY and not alive(pid)


def test_start_that_fails_is_dead_with_systemds_words_and_a_demotion_clears_it(
    systemd: RealSystemd, tmp_path: pathlib.Path
) -> None:
    systemd.add("fails.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    service = service_of(tmp_path, "fails.service")
    service.promote(4, 2.5)
    assert "start failed (exit 1)" in becomes(service, S.DEAD).detail
    assert service.demote(5).state is S.STANDBY


def test_failed_unit_of_which_processes_are_left_may_still_own(systemd: RealSystemd, tmp_path: pathlib.Path) -> None:
    text = "[Service]\nKillMode=process\nExecStart=/bin/sh -c 'sleep 600 & exec sleep 600'\n"
    systemd.add("leaves.service", text)
    service = service_of(tmp_path, "leaves.service")
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    os.kill(systemd.pid("leaves.service"), signal.SIGKILL)
    assert "1 of its processes are left" in becomes(service, S.UNKNOWN).detail
    systemd.tell("kill", "--signal=SIGKILL", "leaves.service")
    becomes(service, S.DEAD)


def test_unit_that_systemd_itself_restarts_stays_stopped_after_a_demotion(
    systemd: RealSystemd, tmp_path: pathlib.Path
) -> None:
    systemd.add("again.service", f"{PLAIN}Restart=always\nRestartSec=100ms\n")
    service = service_of(tmp_path, "again.service")
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    first = systemd.pid("again.service")
    os.kill(first, signal.SIGKILL)
    becomes(service, S.ACTIVE)
    assert service.demote(5).state is S.STANDBY
    time.sleep(0.3)  # three times RestartSec: nothing may come of it
    assert service.status().state is S.STANDBY


def test_promotion_is_not_refused_because_of_earlier_crashes(systemd: RealSystemd, tmp_path: pathlib.Path) -> None:
    """systemd refuses a unit's starts after some in a short time, to end a loop; what is ordered is no loop."""
    systemd.add("limited.service", f"[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=600\n{PLAIN}")
    service = service_of(tmp_path, "limited.service")
    for _ in range(4):
        service.promote(4, 2.5)
        becomes(service, S.ACTIVE)
        os.kill(systemd.pid("limited.service"), signal.SIGKILL)
        becomes(service, S.DEAD)
    assert service.demote(5).state is S.STANDBY


def test_init_script_that_starts_at_boot_is_refused(systemd: RealSystemd, tmp_path: pathlib.Path) -> None:
    """systemd makes units of init scripts by a generator, here one of a test; it never calls them enabled."""
    systemd.add_generator(
        "scripts",
        """#!/bin/sh
        for unit in boots-old manual-old; do
          printf '[Service]\\nExecStart=/bin/sleep 600\\n' >"$1/$unit.service"
        done
        mkdir "$1/default.target.wants" && ln -s ../boots-old.service "$1/default.target.wants/boots-old.service"
        """,
    )
    with pytest.raises(ServiceError, match="init script that starts at boot .* update-rc.d boots-old disable"):
        service_of(tmp_path, "boots-old.service")
    assert service_of(tmp_path, "manual-old.service").status().state is S.STANDBY


def test_instance_of_a_template_is_a_unit_like_others(systemd: RealSystemd, tmp_path: pathlib.Path) -> None:
    systemd.add("many@.service", "[Service]\nExecStart=/bin/sleep %i\n")
    service = service_of(tmp_path, "many@600.service")
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    assert service.demote(5).state is S.STANDBY


def test_systemd_that_stands_still_is_unknown_within_the_limit_and_then_known_again(
    systemd: RealSystemd, tmp_path: pathlib.Path
) -> None:
    systemd.add("known.service", PLAIN)
    service = service_of(tmp_path, "known.service", status_limit_s=0.5)
    systemd.freeze()
    try:
        began_s = time.monotonic()
        assert service.status().state is S.UNKNOWN
        assert service.demote(5).state is S.UNKNOWN
        assert time.monotonic() - began_s < 0.5 + 2.0 + 1.0
    finally:
        systemd.thaw()
    becomes(service, S.STANDBY)


@pytest.mark.parametrize(
    "unit, words",
    [
        ("none.service", ["knows no 'none.service'", "daemon-reload"]),
        ("masked.service", ["systemctl unmask masked.service"]),
        ("bad.service", ["bad-setting", "bad unit file setting"]),
        ("boots.service", ["systemctl disable boots.service", "both servers"]),
    ],
)
def test_wrong_unit_is_refused_with_its_way_out(
    systemd: RealSystemd, tmp_path: pathlib.Path, unit: str, words: list[str]
) -> None:
    systemd.add("bad.service", "[Service]\nType=simple\n")
    systemd.add("boots.service", f"{PLAIN}[Install]\nWantedBy=default.target\n")
    systemd.tell("mask", "masked.service")
    systemd.tell("enable", "boots.service")
    with pytest.raises(ServiceError) as caught:
        service_of(tmp_path, unit)
    assert all(word in str(caught.value) for word in ["FT_SERVICES[1].unit", "service beat", *words]), caught.value
