"""The portal's own health checks, as who asks the monitor sees them: in the background, by one process, never old."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from ftplugin import Degraded, Portal
from ftplugin.core.terms import Role
from tests.parts import eventually

from .conftest import KEY, OWN, MakeSite, RedisProcess, Site, free_port

DEADLINE_S = 20.0
ROOT = pathlib.Path(__file__).parents[3]


class Asked:
    """A portal whose agent says that all is well, asked as a balancer does; T = 2 s, so the checks run every 2 s."""

    def __init__(self, site: Site) -> None:
        site.configure(interval_s=2.0, timeout_s=2.0, service_stop_s=0.5, portal_restart_s=1.0)
        site.role(Role.STANDBY)
        self.site = site

    def body(self) -> str:
        self.site.health()
        return str(self.site.client.get("/ft/monitor?mod=IPSWS").get_data(as_text=True))

    def wait(self, text: str) -> str:
        return str(eventually(lambda: text in (body := self.body()) and body, DEADLINE_S, self.body))


@pytest.fixture
def asked(make_site: MakeSite) -> Asked:
    return Asked(make_site())


def test_without_checks_of_its_own_a_portal_starts_no_thread(asked: Asked) -> None:
    assert asked.body() == "IPSWS=OK"
    assert not [thread for thread in threading.enumerate() if thread.name == "ft-health"]


def test_a_failed_check_makes_it_ko_by_name_and_a_cured_one_ok(asked: Asked) -> None:
    said = {"text": "no answer from 10.0.0.9"}
    asked.site.fault_tolerance.health_check("billing", timeout=5)(lambda: said["text"])
    asked.wait("IPSWS=KO\nbilling: no answer from 10.0.0.9")
    said["text"] = ""
    asked.wait("IPSWS=OK")
    assert "portal : health check billing failed: no answer from 10.0.0.9" in asked.site.log()
    eventually(lambda: "portal : health check billing is well" in asked.site.log(), DEADLINE_S, asked.site.log)


def test_a_check_runs_in_the_background_with_the_app_and_never_in_a_request(asked: Asked) -> None:
    from flask import current_app, has_request_context

    ran: list[tuple[str, bool, str]] = []

    @asked.site.fault_tolerance.health_check("mail")
    def mail() -> None:
        ran.append((current_app.name, has_request_context(), threading.current_thread().name))

    asked.wait("IPSWS=OK")
    assert ran[0] == ("portal", False, "check mail")


def test_a_degraded_check_is_listed_and_not_ko(asked: Asked) -> None:
    asked.site.fault_tolerance.health_check("mail")(lambda: Degraded("the queue grows"))
    asked.wait("IPSWS=OK")
    assert asked.body() == "IPSWS=OK"
    found = asked.site.portal.runtime.fetch("portal_health")
    assert found is not None and found["degraded"] == ["mail: the queue grows"]


def test_a_check_that_hangs_is_ko_at_its_limit_and_the_others_go_on(asked: Asked) -> None:
    release, fine = threading.Event(), []
    asked.site.fault_tolerance.health_check("hung", timeout=0.3)(lambda: release.wait(60) and None)
    asked.site.fault_tolerance.health_check("fine")(lambda: fine.append(1))
    try:
        asked.wait("hung: no answer within 0.3 s")
        before = len([t for t in threading.enumerate() if t.name.startswith("check ")])
        ran = len(fine)
        eventually(lambda: len(fine) >= ran + 2, DEADLINE_S, lambda: fine)
        assert "fine" not in asked.body()
        assert len([t for t in threading.enumerate() if t.name.startswith("check ")]) <= max(1, before)
    finally:
        release.set()
    asked.wait("IPSWS=OK")


def test_a_check_that_was_never_run_is_ko(asked: Asked) -> None:
    wait = threading.Event()
    asked.site.fault_tolerance.health_check("slow", timeout=30)(lambda: wait.wait(60) and None)
    assert asked.body() == "IPSWS=KO\nslow: not checked yet"
    wait.set()
    asked.wait("IPSWS=OK")


def test_an_outcome_that_is_too_old_is_ko_with_its_age(asked: Asked) -> None:
    asked.site.fault_tolerance.health_check("billing")(lambda: "")
    asked.wait("IPSWS=OK")
    portal = asked.site.portal
    assert portal.health is not None
    portal.health.close()  # as a portal whose processes all stand still
    found = portal.runtime.fetch("portal_health")
    assert found is not None
    found["checks"][0]["checked_s"] -= 100
    portal.runtime.publish("portal_health", found)
    assert asked.body().startswith("IPSWS=KO\nbilling: stale, last checked 10")


def test_checks_of_a_version_before_are_not_asked_for(asked: Asked) -> None:
    clock = asked.site.portal.clock
    row = {"name": "gone", "state": "failed", "detail": "x", "duration_s": 1, "timeout_s": 3, "shared": True}
    rows = [row | {"checked_s": clock.now_s()}]
    asked.site.portal.runtime.publish("portal_health", {"boot_id": clock.boot_id, "checks": rows})
    assert asked.body() == "IPSWS=OK"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("a\nb",), "must be 1 to 40 letters"),
        (("database",), "is a name of the agent's own checks"),
        (("mail", 0), "timeout=0 of health check 'mail' must be 0.1 to 60 seconds"),
        (("mail", 90), "timeout=90"),
        (("taken",), "'taken' is taken"),
    ],
)
def test_a_wrong_registration_is_refused(asked: Asked, arguments: tuple[Any, ...], says: str) -> None:
    asked.site.fault_tolerance.health_check("taken")(lambda: None)
    with pytest.raises(ValueError, match=says):
        asked.site.fault_tolerance.health_check(*arguments)(lambda: None)


def test_the_answer_stays_small_enough_to_be_read_by_the_other_server(asked: Asked) -> None:
    lines = tuple(f"check {number}: {'é' * 400}" for number in range(40))
    asked.site.health(False, failed=lines)
    body = asked.site.client.get("/ft/monitor?mod=IPSWS").data
    assert body.startswith(b"IPSWS=KO\ncheck 0: ") and len(body) < 4096
    assert body.splitlines()[-1].startswith(b"and ") and body.endswith(b" more")


def test_the_warning_about_t_knows_the_slowest_check(asked: Asked) -> None:
    asked.site.fault_tolerance.health_check("slow", timeout=20)(lambda: None)
    settings = asked.site.portal.settings
    _, problems = settings.examined({"timeout_s": 22, "interval_s": 30, "threshold": 5}, settings.current()[1])
    assert [p.message for p in problems if "slowest health check (20 s) + 3 s" in p.message]
    _, problems = settings.examined({"timeout_s": 23, "interval_s": 30, "threshold": 5}, settings.current()[1])
    assert not [p for p in problems if "slowest" in p.message]


# --- several processes of one portal -------------------------------------------------------------------------------

APP = """
import os, pathlib, time
from flask import Flask
from ftplugin import FaultTolerance
app = Flask("portal")
app.config.update({config!r})
ft = FaultTolerance(app)
@ft.health_check("mine")
def mine():
    with open({log!r}, "a") as file:
        file.write(f"{{os.getpid()}} {{time.monotonic()}}\\n")
"""


FORK = """
import sys, threading
app.test_client().get("/ft/monitor?mod=NONE")
child = os.fork()
if not child:
    app.test_client().get("/ft/monitor?mod=NONE")
    print("forked", *[thread.name for thread in threading.enumerate() if thread.name == "ft-health"])
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.fixture
def gunicorn(redis_process: RedisProcess, tmp_path: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """A portal made before the fork, in three processes: (its address, where the check notes who ran it)."""
    log, port = tmp_path / "runs", free_port()
    config = {"SECRET_KEY": "x", "FT_OWN_ADDRESS": OWN, "FT_REDIS_URL": redis_process.url}
    config |= {"FT_INSTANCE_DIR": str(tmp_path / "instance"), "FT_SECRET_KEYS": [KEY]}
    (tmp_path / "portal_of_three.py").write_text(APP.format(config=config, log=str(log)))
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "3", "--bind", f"127.0.0.1:{port}"]
    environ = dict(os.environ) | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    process = subprocess.Popen([*command, "portal_of_three:app"], env=environ, cwd=tmp_path, stderr=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}", log
    process.terminate()
    process.wait(20)


def test_of_three_forked_processes_one_runs_the_checks_and_another_takes_over(
    gunicorn: tuple[str, pathlib.Path], redis_process: RedisProcess
) -> None:
    import requests

    address, log = gunicorn

    def ask() -> bool:
        try:
            for _ in range(12):  # so many that each process has served one
                requests.get(f"{address}/ft/monitor?mod=IPSWS", timeout=5)
            return True
        except requests.RequestException:
            return False

    def runners(since: int = 0) -> list[str]:
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.split()[0] for line in lines[since:]]

    eventually(ask, DEADLINE_S, "the portal answers")
    eventually(lambda: len(runners()) >= 1 and ask(), DEADLINE_S, runners)
    client = redis.Redis(port=redis_process.port, decode_responses=True)
    first = runners()[0]
    claim = client.hgetall("ft:health-claim")
    assert set(runners()) == {first} and float(claim["until_s"]) - time.clock_gettime(time.CLOCK_BOOTTIME) < 20
    count = len(runners())
    client.hset("ft:health-claim", mapping={"until_s": 0, "owner": "a process that is gone"})
    os.kill(int(first), 9)
    taken = eventually(lambda: ask() and [pid for pid in runners(count) if pid != first], DEADLINE_S, runners)
    assert len(set(taken)) == 1
    document = json.loads(str(client.get("ft:doc:portal_health")))
    assert document["ok"] is True and document["checks"][0]["name"] == "mine"
    client.close()


def test_a_process_forked_behind_the_first_request_has_a_thread_of_its_own(
    redis_process: RedisProcess, tmp_path: pathlib.Path
) -> None:
    config = {"SECRET_KEY": "x", "FT_OWN_ADDRESS": OWN, "FT_REDIS_URL": redis_process.url}
    config |= {"FT_INSTANCE_DIR": str(tmp_path / "instance"), "FT_SECRET_KEYS": [KEY]}
    program = APP.format(config=config, log=str(tmp_path / "runs")) + FORK
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["forked", "ft-health"], done.stderr


def test_who_has_lost_the_claim_publishes_nothing(asked: Asked) -> None:
    asked.site.fault_tolerance.health_check("billing")(lambda: "")
    asked.wait("IPSWS=OK")
    portal: Portal = asked.site.portal
    client = portal.runtime.client
    now_s = portal.clock.now_s()
    other = {"owner": "another", "until_s": now_s + 3600, "boot_id": portal.clock.boot_id}
    client.hset(portal.keys.health_claim, mapping=other)
    client.delete(portal.keys.document("portal_health"))
    asked.wait("billing: not checked yet")
    time_over_s = time.monotonic() + 2.5  # more than a period of the checks: whoever still publishes has done so
    while time.monotonic() < time_over_s:
        assert "not checked yet" in asked.body()
        time.sleep(0.2)
    client.hset(portal.keys.health_claim, "boot_id", "a boot before")
    asked.wait("IPSWS=OK")
