"""The status where no page shows it: what the peer asks for, and the command line."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from ftplugin import protocol
from ftplugin.core.policy import RULES
from ftplugin.core.terms import Designation
from ftplugin.status.short import BYTES_MAX
from tests.core.ticks import PAUSE, S

from .conftest import KEY, Site
from .status_site import decided, fullest, heartbeats, peer_status
from .test_admin import Browser
from .test_status_page import browser

__all__ = ["browser"]  # fixtures


def ask(site: Site) -> Any:
    nonce = protocol.new_nonce()
    header = protocol.make_ask([KEY], Designation.SERVER2, nonce)
    return nonce, site.client.get("/ft/node/status", headers={protocol.ASK_HEADER: header})


def test_the_short_status_is_signed_and_small_in_the_fullest_state(site: Site) -> None:
    fullest(site)
    nonce, answer = ask(site)
    assert answer.status_code == 200 and len(answer.data) <= BYTES_MAX
    assert answer.headers[protocol.BODY_HEADER] == protocol.sign_body([KEY], Designation.SERVER1, nonce, answer.text)
    said = json.loads(answer.text)
    assert said["kind"] == "status" and said["services"]["asterisk"]["state"] == "dead"
    assert len(said["heartbeats"]["beats"]) == 40 and said["outlook"]["prospects"] and said["outlook"]["rows"]
    assert said["switch"]["step"] == "service asterisk" and not said["stale"]


def test_a_short_status_with_long_texts_is_cut_and_says_so(site: Site) -> None:
    site.agent()
    services = {f"service-{i:02}-{'x' * 60}": {"state": "active", "detail": "y" * 500} for i in range(40)}
    site.portal.runtime.publish("services", services)
    heartbeats(site, bad=20)
    decided(site, S, pause=PAUSE)
    stored = site.portal.runtime.fetch("outlook")
    site.portal.runtime.publish("outlook", stored | {"rows": [["F1", "z" * 300, "z", ["r" * 300] * 9]] * 30})
    _, answer = ask(site)
    assert len(answer.data) <= BYTES_MAX and json.loads(answer.text)["cut"] is True


def test_nobody_but_the_peer_gets_the_short_status(site: Site) -> None:
    fullest(site)
    answer = site.client.get("/ft/node/status")
    assert answer.status_code == 403 and "sentence" not in answer.text


def test_the_command_line_says_the_same(browser: Browser) -> None:
    fullest(browser.site)
    run = browser.site.app.test_cli_runner()
    shown = run.invoke(args=["ft", "status"])
    assert shown.exit_code == 0, shown.output
    for text in (
        "heartbeats [",
        "28 good, 12 bad",
        "service asterisk: dead",
        "voter witness: does not answer",
        "frozen:",
    ):
        assert text in shown.output, text
    document = json.loads(run.invoke(args=["ft", "status", "--json"]).output)
    assert document["servers"][0]["heartbeats"]["bad"] == 12
    said = run.invoke(args=["ft", "why", "--wait", "0"])
    assert said.exit_code == 0
    assert (
        "If the LAN is lost from now on" in said.output and "it could not be asked: no complete answer" in said.output
    )
    assert "not I1 (this node has lost its LAN): the LAN was last seen" in said.output
    document = json.loads(run.invoke(args=["ft", "why", "--json", "--wait", "0"]).output)
    assert [s["designation"] for s in document["servers"]] == ["server1", "server2"]
    table = run.invoke(args=["ft", "rules"])
    assert table.exit_code == 0 and re.search(r"^> S0  .*nothing to do", table.output, re.M), table.output
    rows = json.loads(run.invoke(args=["ft", "rules", "--json"]).output)
    assert {r["id"] for r in rows} == {rule.id for rule in RULES} and sum(r["now"] for r in rows) == 1


def test_why_notes_that_somebody_looks_and_waits_for_the_other_server(browser: Browser) -> None:
    run, began_s = browser.site.app.test_cli_runner(), time.monotonic()
    assert run.invoke(args=["ft", "why", "--wait", "0.5"]).exit_code == 0
    assert time.monotonic() - began_s >= 0.5
    assert browser.site.portal.runtime.fetch("viewer") is not None
    peer_status(browser.site)
    began_s = time.monotonic()
    assert run.invoke(args=["ft", "why", "--wait", "30"]).exit_code == 0
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize("command", ["status", "why", "rules"])
def test_exit_codes_are_documented_and_kept(browser: Browser, command: str) -> None:
    run = browser.site.app.test_cli_runner()
    assert "Exit codes: 0 shown; 2 wrong usage" in " ".join(run.invoke(args=["ft", command, "--help"]).output.split())
    assert run.invoke(args=["ft", command, "--nonsense"]).exit_code == 2
    browser.site.redis.kill()
    assert run.invoke(args=["ft", command]).exit_code == 3
