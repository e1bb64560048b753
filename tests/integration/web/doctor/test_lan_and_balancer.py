"""What the doctor says of LAN references, VIP, balancer and services."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from flask import Flask, redirect

from ftplugin.core.terms import Role
from tests.integration.adapters.conftest import black_hole
from tests.integration.web.conftest import free_port
from tests.integration.web.doctor.conftest import HOSTS, TOKEN, Forwarder, MakePair, Pair, Served


def test_references_that_are_the_pair_or_silent(pair: Pair) -> None:
    [old] = pair.own.portal.settings.current()[1].lan_references
    document = pair.own.portal.settings.document()
    with black_hole("127.0.0.14") as (host, port):
        silent = f"tcp:{host}:{port}"
        wanted = [old, HOSTS[0], f"tcp:{HOSTS[1]}:80", silent]
        values = dict(document["values"]) | {"lan_references": wanted}
        assert pair.own.portal.settings.adopt(document | {"revision": 5, "values": values})  # saving it is refused
        pair.settle()
        pair.doctor()
    said = [finding["found"] for finding in pair.found["lan.references"]]
    assert f"Reference {HOSTS[0]} is this server itself." in said
    assert f"Reference tcp:{HOSTS[1]}:80 is the other server." in said
    assert pair.status(f"lan.reference {silent}") == "wrong"
    assert "refuses the connection" in pair.of(f"lan.reference {old}")["found"]
    assert pair.status("settings.rules") == "wrong" and pair.took_s < 5


ASK_AS_NOBODY = """
import os
from ftplugin.core.settings import Settings
from ftplugin.doctor import finding, lan
where = finding.Place(portal=None, revision=1, settings=Settings(), designation=None, limit_s=1.0)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
[(_, _, ask)] = lan.one_by_one(finding.replace(where, settings=Settings(lan_references=("127.0.0.1",))))
[found] = ask(where)
print(found.status, found.found, found.todo)
"""


def test_icmp_answers_or_is_not_permitted(make_pair: MakePair) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a network namespace, in which nobody may send ICMP")
    pair = make_pair(settings={"lan_references": ["127.0.0.1"]})
    pair.doctor()
    assert pair.status("lan.reference 127.0.0.1") == "ok", pair.of("lan.reference 127.0.0.1")
    program = ["unshare", "--net", sys.executable, "-c", ASK_AS_NOBODY]
    said = subprocess.run(program, capture_output=True, text=True, timeout=30, check=True).stdout
    assert said.startswith("wrong") and "may not send ICMP" in said and "ping_group_range" in said, said


@pytest.mark.parametrize(("reached", "status"), ((0, "ok"), (1, "wrong")))
def test_the_vip_reaches_the_active_server_or_not(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, reached: int, status: str
) -> None:
    """The VIP is a forwarder on a loopback address that this host is made to forget, as if a balancer had it."""
    from ftplugin.doctor import balancer

    port = free_port()
    forward = Forwarder(("127.0.0.100", port), (HOSTS[reached], pair.ports[reached]))
    monkeypatch.setattr(balancer.interfaces, "addresses", lambda: {})
    try:
        values = {"vip_address": f"127.0.0.100:{port}"}
        for site in (pair.own, pair.peer):
            site.portal.settings.save(values, "test", None, "test")
        pair.settle()
        pair.own.role(Role.ACTIVE)
        pair.doctor()
        assert pair.status("balancer.vip") == status, pair.of("balancer.vip")
        assert f"server{reached + 1}" in pair.of("balancer.vip")["found"]
    finally:
        forward.close()
    pair.doctor()
    assert pair.status("balancer.vip") == "wrong" and "Nobody answers" in pair.of("balancer.vip")["found"]


def test_a_login_in_front_of_the_portal_that_answers_before_the_monitor(pair: Pair) -> None:
    """As a single sign-on in a layer around the portal; what the portal itself does before a request comes after the monitor."""
    pair.own.app.wsgi_app = lambda environ, start: redirect("/login")(environ, start)  # type: ignore[method-assign]
    pair.doctor()
    assert {"server.portal", "balancer.url"} <= set(pair.wrong())
    assert "302" in pair.of("balancer.url")["found"] and "login" in pair.of("balancer.url")["todo"]


def test_services_answer_their_controllers_or_not(make_pair: MakePair) -> None:
    app, given = Flask("service"), []

    @app.get("/status")
    def status() -> Any:
        from flask import request

        given.append(request.headers.get("Authorization"))
        return {"state": "standby"} if given[-1] == f"Bearer {TOKEN}" else ({}, 403)

    port = free_port()
    served = Served(app, "127.0.0.1", port)
    try:
        url = f"http://127.0.0.1:{port}"
        services = [
            {"name": "good", "kind": "http", "url": url, "token": TOKEN, "stop_limit_s": 1.0},
            {"name": "token", "kind": "http", "url": url, "token": "another-token", "stop_limit_s": 1.0},
            {"name": "gone", "kind": "http", "url": f"http://127.0.0.1:{free_port()}", "stop_limit_s": 1.0},
            {"name": "cron", "kind": "command", "status": ["sh", "-c", "exit 3"], "stop_limit_s": 0.5},
            {"name": "dead", "kind": "command", "status": ["sh", "-c", "exit 1"], "stop_limit_s": 0.5},
            {"name": "hung", "kind": "command", "status": ["sleep", "61.25"], "stop_limit_s": 0.5},
        ]
        pair = make_pair(own={"FT_SERVICES": services})
        pair.doctor()
    finally:
        served.close()
    assert pair.wrong() == ["service token", "service gone", "service dead", "service hung"]
    assert "standby" in pair.of("service good")["found"] and "refuses the token" in pair.of("service token")["found"]
    assert (
        pair.took_s < 5 and subprocess.run(["pgrep", "-f", "^sleep 61.25"], stdout=subprocess.DEVNULL).returncode == 1
    )


def test_warnings_of_the_settings_show_why_they_were_passed(make_pair: MakePair) -> None:
    pair = make_pair(settings={"threshold": 3})
    pair.doctor()
    assert pair.exit_code == 0 and pair.status("settings.rules") == "warning"
    assert (
        "portal restart" in pair.of("settings.rules")["found"] and "warning: test." in pair.of("settings.rules")["todo"]
    )
