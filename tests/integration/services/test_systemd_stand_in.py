"""The systemd controller against a stand-in for ``systemctl`` (systemctl_stand_in.sh): no systemd runs where tests run.

What the stand-in does is real as far as processes go; that systemd itself does the same is not shown here.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import time
from typing import Any, Iterator

import pytest

from ftplugin.core.terms import ServiceState as S
from workers.adapters.services import ServiceError, build

from ..adapters.conftest import wait_until
from .conftest import alive, becomes

STAND_IN = pathlib.Path(__file__).with_name("systemctl_stand_in.sh")
STUBBORN = "trap '' TERM; while :; do sleep 0.2; done"


class Units:
    """What the stand-in knows; each unit is a folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.kept = folder.parent / "kept"

    def add(self, unit: str = "beat.service", command: str = "exec sleep 600", **files: str) -> pathlib.Path:
        path = self.folder / unit
        path.mkdir()
        for name, text in {"command": command, **files}.items():
            (path / name).write_text(text)
        return path

    def pid(self, unit: str = "beat.service") -> int:
        return int((self.folder / unit / "pid").read_text())

    def service(self, **more: Any) -> Any:
        table = {"name": "beat", "kind": "systemd", "unit": "beat.service", "start_limit_s": 5.0, "stop_limit_s": 2.0}
        return build([table | more], self.kept)[0]


@pytest.fixture
def units(tmp_path: pathlib.Path, monkeypatch: Any) -> Iterator[Units]:
    (tmp_path / "bin").mkdir()
    shutil.copy(STAND_IN, tmp_path / "bin/systemctl")
    (tmp_path / "bin/systemctl").chmod(0o755)
    (tmp_path / "units").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("UNITS", str(tmp_path / "units"))
    yield Units(tmp_path / "units")
    for file in (tmp_path / "units").glob("*/pid"):
        if text := file.read_text().strip():
            if alive(int(text)):
                os.killpg(int(text), signal.SIGKILL)


def test_unit_is_started_killed_restarted_and_stopped(units: Units) -> None:
    units.add()
    service = units.service()
    assert service.status().state is S.STANDBY
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    os.killpg(units.pid(), signal.SIGKILL)
    assert "failed" in becomes(service, S.DEAD).detail
    service.restart(True)
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    pid = units.pid()
    assert service.demote(5).state is S.STANDBY and not alive(pid)
    assert service.promote(4, 2.5).state is S.UNKNOWN, "4 is below the demotion's 5"


def test_unit_that_does_not_stop_is_killed_within_the_stop_limit(units: Units) -> None:
    units.add(command=STUBBORN)
    service = units.service()
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    pid, began_s = units.pid(), time.monotonic()
    assert service.demote(5).state in (S.STANDBY, S.DEAD)
    assert time.monotonic() - began_s < 2.6 and not alive(pid)


def test_start_that_fails_is_dead_with_its_reason_and_a_demotion_clears_it(units: Units) -> None:
    units.add(fails="", command="exit 1")
    service = units.service()
    service.promote(4, 2.5)
    assert "Job for beat.service failed" in becomes(service, S.DEAD).detail
    assert service.demote(5).state is S.STANDBY


def test_start_that_hangs_ends_at_its_limit(units: Units) -> None:
    units.add(slow="", says="activating")
    service = units.service(start_limit_s=0.5)
    assert service.promote(4, 2.5).state is S.STARTING
    assert "killed after its limit" in becomes(service, S.DEAD, 4).detail


@pytest.mark.parametrize(
    "word, state",
    [("activating", S.STARTING), ("deactivating", S.STOPPING), ("reloading", S.ACTIVE), ("odd", S.UNKNOWN)],
)
def test_states_between_are_told(units: Units, word: str, state: S) -> None:
    units.add(says=word)
    assert units.service().status().state is state


def test_failed_unit_of_which_processes_are_left_may_still_own(units: Units) -> None:
    units.add(says="failed", tasks="2")
    reading = units.service().status()
    assert reading.state is S.UNKNOWN and "2 of its processes are left" in reading.detail


def test_hung_systemctl_ends_within_each_limit(units: Units) -> None:
    units.add()
    service = units.service(status_limit_s=0.4)
    (units.folder / "hang").touch()
    began_s = time.monotonic()
    assert service.status().state is S.UNKNOWN
    assert time.monotonic() - began_s < 0.9
    began_s = time.monotonic()
    assert service.demote(4).state is S.UNKNOWN
    assert time.monotonic() - began_s < 2.9
    (units.folder / "hang").unlink()
    becomes(service, S.STANDBY)


def test_systemd_that_does_not_answer_refuses_no_start_of_the_agent(units: Units) -> None:
    (units.folder / "down").touch()
    reading = units.service().status()
    assert reading.state is S.UNKNOWN and "systemctl show" in reading.detail


@pytest.mark.parametrize(
    "change, words",
    [
        ({"unit": "beat"}, ["unit", ".service", "'beat'"]),
        ({"unit": "--now.service"}, ["unit", "--now.service"]),
        ({"unit": "a b.service"}, ["unit", "a b.service"]),
        ({"unit": "../beat.service"}, ["unit", "../beat.service"]),
        ({"unit": "x" * 300 + ".service"}, ["unit"]),
        ({"unit": 7}, ["unit", "7"]),
        ({"unit": "beat@.service"}, ["unit", "template", "beat@1.service"]),
        ({"unit": "none.service"}, ["unit", "knows no 'none.service'", "daemon-reload"]),
        ({"unit": "masked.service"}, ["unit", "unmask masked.service"]),
        ({"unit": "bad.service"}, ["unit", "bad-setting", "bad unit file setting"]),
        ({"unit": "boots.service"}, ["unit", "systemctl disable boots.service", "both servers"]),
    ],
)
def test_wrong_unit_is_refused_with_its_way_out(units: Units, change: dict[str, Any], words: list[str]) -> None:
    units.add("masked.service", load="masked")
    units.add("bad.service", load="bad-setting")
    units.add("boots.service", file_state="enabled")
    with pytest.raises(ServiceError) as caught:
        units.service(**change)
    assert all(word in str(caught.value) for word in ["FT_SERVICES[1].", "service beat", *words]), caught.value


def test_unit_that_vanishes_later_is_dead_and_says_so(units: Units) -> None:
    folder = units.add()
    service = units.service()
    shutil.rmtree(folder)
    assert wait_until(lambda: service.status().state is S.DEAD, 5)
    assert "not-found" in service.status().detail
