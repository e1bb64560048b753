"""The OCF controller against agents that hang, fail and lie; and tables that are wrong."""

from __future__ import annotations

import pathlib
import threading
import time
from typing import Any

import pytest

from ftplugin.core.terms import ServiceState as S
from workers.adapters.services import ServiceError, build

from ..adapters.conftest import wait_until
from .conftest import META, Agent, alive, becomes, needs_agents

# --- what an agent is told


@pytest.mark.parametrize("word, heard", [("Yes", "yes"), (" On ", "on"), (True, "true"), ("FALSE", "false")])
def test_agent_hears_true_and_false_in_words_that_it_knows(agent: Agent, word: Any, heard: str) -> None:
    """The agents' own shell knows "yes" and "YES": to it "Yes" means no."""
    service = agent.service(params={"folder": str(agent.folder), "fast": word, "manner": "a"})
    service.status()
    assert agent.environ("monitor")["OCF_RESKEY_fast"] == heard
    assert agent.environ("monitor")["OCF_RESKEY_folder"] == str(agent.folder), "a text stays as it is"


def test_agent_gets_its_parameters_and_the_words_of_the_standard_and_no_secret(agent: Agent, monkeypatch: Any) -> None:
    monkeypatch.setenv("FT_SECRET_KEYS", '["secret"]')
    monkeypatch.setenv("OCF_RESKEY_fast", "true")
    params = {"folder": str(agent.folder), "count": 5, "manner": "b"}
    service = agent.service(params=params, check_level=10)
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    start, monitor = agent.environ("start"), agent.environ("monitor")
    wanted = {
        "OCF_ROOT": str(agent.root),
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_RESOURCE_INSTANCE": "x",
        "OCF_RESOURCE_TYPE": "X",
        "OCF_RESOURCE_PROVIDER": "test",
        "OCF_RESKEY_count": "5",
        "OCF_RESKEY_manner": "b",
        "FT_EPOCH": "4",
    }
    assert wanted.items() <= start.items()
    assert (start["OCF_CHECK_LEVEL"], monitor["OCF_CHECK_LEVEL"]) == ("0", "10")
    assert monitor["OCF_RESKEY_CRM_meta_timeout"] == "2000" and start["OCF_RESKEY_CRM_meta_timeout"] == "5000"
    assert monitor["OCF_RESKEY_CRM_meta_interval"] != "0", "no probe while it is to own"
    assert "FT_SECRET_KEYS" not in start and "OCF_RESKEY_fast" not in start, "nothing of whoever started the worker"
    service.demote(5)
    assert agent.environ("monitor")["OCF_RESKEY_CRM_meta_interval"] == "0", "on a standby node programs may be missing"


# --- exit codes


@pytest.mark.parametrize(
    "code, owning, standby",
    [
        ("0", S.ACTIVE, S.ACTIVE),
        ("7", S.STANDBY, S.STANDBY),
        ("1", S.DEAD, S.UNKNOWN),
        ("6", S.DEAD, S.UNKNOWN),
        ("9", S.DEAD, S.UNKNOWN),
        ("5", S.DEAD, S.DEAD),
    ],
)
def test_exit_code_of_monitor_is_read_by_the_role(agent: Agent, code: str, owning: S, standby: S) -> None:
    service = agent.service()
    agent.does("monitor", code)
    assert service.status().state is standby
    agent.does("monitor", None)
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    agent.does("monitor", code)
    assert service.status().state is owning


@pytest.mark.parametrize(
    "code, state", [("0", S.STANDBY), ("7", S.DEAD), ("8", S.ACTIVE), ("1", S.DEAD), ("9", S.UNKNOWN)]
)
def test_exit_code_of_a_promotable_agents_monitor_on_a_standby_node(promotable: Agent, code: str, state: S) -> None:
    service = promotable.service()
    promotable.does("monitor", code)
    assert service.status().state is state


def test_start_that_fails_is_dead_with_the_agents_own_words(agent: Agent) -> None:
    service = agent.service()
    agent.does("start", "5")
    service.promote(4, 2.5)
    reading = becomes(service, S.DEAD)
    assert "exit 5" in reading.detail and "told to fail" in reading.detail
    assert service.demote(5).state is S.STANDBY


# --- a stop that fails or hangs


def test_hung_stop_ends_at_its_limit_with_all_it_started_and_counts_as_not_stopped(agent: Agent) -> None:
    service = agent.service()
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    agent.does("stop", "hang")
    began_s = time.monotonic()
    reading = service.demote(5)
    assert time.monotonic() - began_s < 2.6, "stop limit 2 s"
    assert reading.state is S.ACTIVE and "stop failed: killed after its limit" in reading.detail
    child = int((agent.folder / "child").read_text())
    wait_until(lambda: not alive(child), 2, "what the stop had started is gone too")


def test_stop_that_fails_while_monitor_fails_too_may_still_own(agent: Agent) -> None:
    service = agent.service()
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    agent.does("stop", "1")
    agent.does("monitor", "1")
    assert service.demote(5).state is S.UNKNOWN, "neither standby nor dead: nobody else may start it"
    assert service.status().state is S.UNKNOWN, "nor may the watchdog sign that it owns nothing"


def test_demote_that_fails_is_followed_by_a_stop(promotable: Agent) -> None:
    service = promotable.service()
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    promotable.does("demote", "1")
    assert service.demote(5).state is S.DEAD
    assert promotable.state == "", "stopped: it owns nothing"


def test_demote_that_hangs_leaves_time_for_the_stop(promotable: Agent) -> None:
    service = promotable.service()
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    promotable.does("demote", "hang")
    promotable.does("stop", "slow")
    began_s = time.monotonic()
    assert service.demote(5).state is S.DEAD
    assert time.monotonic() - began_s < 2.6 and promotable.state == ""


def test_promotable_agent_that_neither_demotes_nor_stops_may_still_own(promotable: Agent) -> None:
    service = promotable.service()
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    for action in ("demote", "stop", "monitor"):
        promotable.does(action, "1")
    reading = service.demote(5)
    assert reading.state is S.UNKNOWN and "stop failed: exit 1 (OCF_ERR_GENERIC)" in reading.detail


def test_status_asked_before_a_demotion_is_not_told_after_it(agent: Agent) -> None:
    service = agent.service()
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    agent.does("monitor", "slow")
    (agent.folder / "environ.monitor").unlink()
    said: list[S] = []
    asker = threading.Thread(target=lambda: said.append(service.status().state))
    asker.start()
    wait_until(lambda: (agent.folder / "environ.monitor").exists(), 3, "monitor has looked")
    assert service.demote(5).state is S.STANDBY
    asker.join(10)
    assert said == [S.STANDBY]


def test_hung_monitor_is_unknown_within_its_limit(agent: Agent) -> None:
    service = agent.service(status_limit_s=0.5)
    agent.does("monitor", "hang")
    began_s = time.monotonic()
    assert service.status().state is S.UNKNOWN
    assert time.monotonic() - began_s < 1.0
    child = int((agent.folder / "child").read_text())
    wait_until(lambda: not alive(child), 2, "what the monitor had started is gone too")


def test_hung_monitor_holds_up_no_demotion_and_is_asked_once_for_all(agent: Agent) -> None:
    service = agent.service(status_limit_s=4.0)
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    agent.does("monitor", "hang")
    said: list[S] = []
    askers = [threading.Thread(target=lambda: said.append(service.status().state)) for _ in range(3)]
    for asker in askers:
        asker.start()
    wait_until(lambda: (agent.folder / "child").exists(), 3, "the monitor hangs")
    first = (agent.folder / "child").read_text()
    began_s = time.monotonic()
    service.demote(5)
    assert time.monotonic() - began_s < 2.6 and agent.state == "", "stopped within its limit of 2 s, monitor or not"
    agent.does("monitor", None)
    for asker in askers:
        asker.join(10)
    assert said == [S.STANDBY] * 3 or S.UNKNOWN in said, "no ACTIVE from before the demotion"
    assert S.ACTIVE not in said and first


def test_hung_start_ends_at_its_limit_and_says_so(agent: Agent) -> None:
    service = agent.service(start_limit_s=0.6)
    agent.does("start", "hang")
    began_s = time.monotonic()
    assert service.promote(4, 2.5).state is S.STARTING
    assert time.monotonic() - began_s < 2.5, "promote does not wait for the start"
    reading = becomes(service, S.DEAD, 3)
    assert "killed after its limit" in reading.detail
    child = int((agent.folder / "child").read_text())
    wait_until(lambda: not alive(child), 2)


# --- several processes of one node


def test_guard_ends_a_start_of_the_switch_worker(promotable: Agent) -> None:
    switch, guard = promotable.service(), promotable.service()
    promotable.does("promote", "hang")
    switch.promote(4, 2.5)
    child = int(wait_until(lambda: (f := promotable.folder / "child").exists() and f.read_text().strip(), 5))
    assert guard.status().state is S.STARTING
    began_s = time.monotonic()
    assert guard.demote(4).state is S.STANDBY
    assert time.monotonic() - began_s < 2.6
    wait_until(lambda: not alive(child), 2)
    promotable.does("promote", None)
    assert promotable.state == "started", "it stays started, and nothing promotes it afterwards"


def test_start_as_standby_is_seen_by_the_other_processes_and_owns_nothing(promotable: Agent) -> None:
    switch, tick = promotable.service(), promotable.service()
    promotable.does("start", "hang")
    reading = switch.restart(False)
    assert reading.state is S.UNKNOWN and "started as standby" in reading.detail
    assert tick.status().state is S.UNKNOWN, "not starting: the guard would take it for an owner"
    promotable.does("start", None)
    assert tick.demote(5).state is S.DEAD, "the start as standby is ended"
    switch.restart(False)
    becomes(switch, S.STANDBY)


def test_promotion_ends_a_start_as_standby_and_starts_it_itself(promotable: Agent) -> None:
    service = promotable.service(start_limit_s=30.0)
    promotable.does("start", "hang")
    service.restart(False)
    child = int(wait_until(lambda: (f := promotable.folder / "child").exists() and f.read_text().strip(), 5))
    promotable.does("start", None)
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    wait_until(lambda: not alive(child), 2, "no two starts at a time")


# --- refused where it is read


@pytest.mark.parametrize(
    "change, words",
    [
        ({"agent": "IPaddr2"}, ["agent", "ocf:PROVIDER:TYPE", "'IPaddr2'"]),
        ({"agent": "ocf:..:X"}, ["agent", "ocf:..:X"]),
        ({"agent": "ocf:test:Y"}, ["agent", "resource.d/test/Y", "offers X"]),
        ({"agent": "ocf:none:Y"}, ["agent", "install the package"]),
        ({"ocf_root": "lib"}, ["ocf_root", "absolute", "'lib'"]),
        ({"params": {}}, ["params.folder", "missing"]),
        ({"params": {"folder": ""}}, ["params.folder", "missing"]),
        ({"params": {"folder": "/", "nic": "eth0"}}, ["params.nic", "no parameter", "folder, count", "eth0"]),
        ({"params": {"folder": "/", "count": "three"}}, ["params.count", "whole number", "three"]),
        ({"params": {"folder": "/", "count": 1.5}}, ["params.count", "whole number", "1.5"]),
        ({"params": {"folder": "/", "fast": "maybe"}}, ["params.fast", "true or false", "maybe"]),
        ({"params": {"folder": "/", "manner": "c"}}, ["params.manner", "one of a, b", "'c'"]),
        ({"params": {"folder": ["/"]}}, ["params.folder", "must be a text"]),
        ({"params": {"folder": "a\0b"}}, ["params.folder", "must be a text"]),
        ({"params": {"a b": "x"}}, ["params", "'a b'"]),
        ({"params": "folder=/"}, ["params", "table", "folder=/"]),
        ({"check_level": 7}, ["check_level", "0, 10", "7"]),
        ({"check_level": "10"}, ["check_level", "whole number"]),
        ({"status_limit_s": 0}, ["status_limit_s", "above 0"]),
        ({"parameters": {}}, ["parameters", "no key", "params"]),
    ],
)
def test_wrong_table_is_refused_with_its_field(agent: Agent, change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ServiceError) as caught:
        agent.service(**change)
    assert str(caught.value).startswith("FT_SERVICES[1].") and "service x" in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


BOMB = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]><resource-agent>&b;</resource-agent>'


@pytest.mark.parametrize(
    "meta, words",
    [
        ("<resource-agent><parameters>", ["no OCF document"]),
        ("", ["no OCF document"]),
        ("hello", ["no OCF document"]),
        (BOMB, ["declares entities"]),
        ("<html/>", ["begins with <html>"]),
        ((META % "").replace('name="stop"', 'name="halt"'), ["no action stop"]),
    ],
)
def test_bad_meta_data_is_refused_with_the_agents_name(tmp_path: pathlib.Path, meta: str, words: list[str]) -> None:
    agent = Agent(tmp_path, meta=meta or "\n")
    with pytest.raises(ServiceError) as caught:
        agent.service()
    assert all(word in str(caught.value) for word in [*words, "FT_SERVICES[1].agent", "test/X"]), caught.value


@pytest.mark.parametrize("fault", ["exits 1", "cannot be run", "is no program"])
def test_agent_that_tells_no_meta_data_is_refused(agent: Agent, fault: str) -> None:
    if fault == "exits 1":
        agent.write("#!/bin/sh\nexit 1\n")
    elif fault == "cannot be run":
        agent.path.chmod(0o644)
    else:
        agent.write("#!/no/such/shell\n")
    with pytest.raises(ServiceError) as caught:
        agent.service()
    assert "FT_SERVICES[1].agent" in str(caught.value) and str(agent.path) in str(caught.value)


def test_meta_data_that_hangs_or_floods_ends_at_its_limit(agent: Agent, monkeypatch: Any) -> None:
    monkeypatch.setattr("workers.adapters.services.ocf_agent.META_LIMIT_S", 0.5)
    for text in ("sleep 60", "exec yes '<resource-agent>'"):
        agent.write(f"#!/bin/sh\n{text}\n")
        began_s = time.monotonic()
        with pytest.raises(ServiceError, match="killed after its limit"):
            agent.service()
        assert time.monotonic() - began_s < 2.0


def test_guard_runs_although_an_agent_is_broken_and_still_stops_the_service(
    agent: Agent, tmp_path: pathlib.Path
) -> None:
    service = agent.service()
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    whole = agent.path.read_text()
    agent.write(whole.replace("<resource-agent", "<broken"))
    guards = build([agent.table()], tmp_path, ask_outside=False)[0]
    assert guards.demote(4).state is S.STANDBY and agent.state == ""


@needs_agents
def test_debians_own_agents_are_held_to_their_meta_data() -> None:
    def table(**params: Any) -> list[dict[str, Any]]:
        return [{"name": "vip", "kind": "ocf", "agent": "ocf:heartbeat:IPaddr2", "params": params}]

    for params, words in (
        ({}, "params.ip: is missing; IPaddr2 requires it"),
        ({"ip": "192.0.2.9", "netmask": "24"}, "params.netmask: is no parameter of IPaddr2; they are ip, nic"),
        ({"ip": "192.0.2.9", "arp_count": "many"}, "params.arp_count: must be a whole number"),
    ):
        with pytest.raises(ServiceError) as caught:
            build(table(**params))
        assert words in str(caught.value)
