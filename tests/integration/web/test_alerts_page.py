"""The alerts page and ``ft alerts``: what the tick worker has left in Redis, and the wish for a test."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ftplugin.alerts import page
from ftplugin.config import ConfigError, NodeConfig
from ftplugin.licence.keep import ALARM
from ftplugin.logs.secrets_out import Cleaner, shown_config
from ftplugin.web.page import clock

from .conftest import KEY, MakeSite, Site

SLACK = "slack://TokenAAAA/TokenBBBB/TokenCCCC"
ROW = {"title": "server2 does not answer", "phase": "raised", "at_wall_s": 1_800_000_000.0, "target": "1 slack"}


def told(site: Site, *, age_s: float = 0.0, **changes: Any) -> None:
    """What the worker publishes."""
    clock = site.portal.clock
    document = {"at_s": clock.now_s() - age_s, "boot_id": clock.boot_id, "targets": ["1 slack", "2 snmp 10.0.0.9"]}
    assert site.portal.runtime.publish(page.DOCUMENT, document | changes)


def token(text: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', text)
    assert found is not None
    return found[1]


def test_without_an_agent_that_tells_the_page_says_so_and_offers_no_test(site: Site) -> None:
    text = site.client.get("/ft/admin/alerts").text
    assert "sends no alerts: it has no target (FT_ALERT_URLS, FT_SNMP_TARGETS), or it does not run" in text
    assert "<button" not in text


def test_page_shows_targets_what_lasts_what_waits_and_what_was_sent(site: Site) -> None:
    site.portal.runtime.client.flushall()
    told(
        site,
        age_s=4.0,
        open=[
            {"title": "Clocks differ", "text": "40 s", "begun_wall_s": 1_800_000_000.0, "told": False},
            {"title": "<b>cti</b> was given up", "text": "look", "begun_wall_s": 1_800_000_000.0, "told": True},
        ],
        waiting=[{**ROW, "tries": 3, "next_in_s": 44.0, "detail": "refused: ***"}],
        history=[{**ROW, "target": "2 snmp 10.0.0.9", "word": "delivered", "tries": 1, "detail": ""}],
        dropped=1,
    )
    text = site.client.get("/ft/admin/alerts").text
    assert "1 slack" in text and "2 snmp 10.0.0.9" in text and "in 40 s" in text and "refused: ***" in text
    assert "&lt;b&gt;cti&lt;/b&gt; was given up" in text and "the other server" in text
    assert "1 message was given up for newer ones" in text and "every 60 minutes" in text
    assert text.count("delivered") >= 2 and "nothing was sent yet" in text


def test_old_word_of_the_agent_is_marked_as_old_and_promises_no_next_try(site: Site) -> None:
    told(site, age_s=95.0, waiting=[{**ROW, "tries": 3, "next_in_s": 44.0, "detail": "x"}])
    text = site.client.get("/ft/admin/alerts").text
    assert re.search(r"said nothing about its alerts for 9[56] s", text) and "in 0 s" not in text
    assert "Send a test" not in text and 'class="ft-table ft-old"' in text


def test_the_test_button_leaves_a_wish_with_the_name_of_who_pressed_it(site: Site) -> None:
    told(site)
    client = site.client
    answer = client.post("/ft/admin/alerts/test", data={"csrf_token": token(client.get("/ft/admin/alerts").text)})
    assert answer.status_code == 302 and site.permissions[-1] == "operate"
    wish = page.wish_of(site.portal.runtime.fetch(page.TEST), site.portal.clock.boot_id, site.portal.clock.now_s())
    assert wish is not None and wish[1] == "administrator at 127.0.0.1"
    assert "test of the alerts asked for by administrator at 127.0.0.1" in site.log()
    assert "A test goes to every target" in client.get("/ft/admin/alerts").text


def test_no_wish_without_the_token_without_the_right_or_without_an_agent(make_site: MakeSite) -> None:
    site = make_site(authorize=lambda permission: permission == "view")
    site.configure()
    told(site)
    assert "Send a test" not in site.client.get("/ft/admin/alerts").text
    assert site.client.post("/ft/admin/alerts/test").status_code == 403
    allowed = make_site()
    client = allowed.client
    client.post("/ft/admin/alerts/test")
    assert "Nothing was done: the form was too old" in client.get("/ft/admin/alerts").text
    good = token(client.get("/ft/admin/alerts").text)
    allowed.portal.runtime.forget(page.DOCUMENT)
    client.post("/ft/admin/alerts/test", data={"csrf_token": good})
    assert "the agent has no target, or does not run" in client.get("/ft/admin/alerts").text
    assert allowed.portal.runtime.fetch(page.TEST) is None


def test_a_wish_counts_for_a_minute_of_this_boot() -> None:
    wish = {"id": "a", "actor": "anna", "at_s": 100.0, "boot_id": "b"}
    assert page.wish_of(wish, "b", 160.0) == ("a", "anna")
    for boot_id, now_s in (("b", 161.0), ("b", 99.0), ("another", 120.0)):
        assert page.wish_of(wish, boot_id, now_s) is None
    assert page.wish_of(None, "b", 1.0) is None and page.wish_of({"boot_id": "b"}, "b", 1.0) is None


# --- command line -----------------------------------------------------------------------------------------------------


@pytest.fixture
def hook() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    got: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_address[1], got
    server.shutdown()
    server.server_close()


def test_test_of_the_command_line_sends_itself_and_names_each_result(make_site: MakeSite, hook: Any) -> None:
    port, got = hook
    site = make_site(FT_ALERT_URLS=[f"json://127.0.0.1:{port}/hook-secret", "json://127.0.0.1:1/hook-secret"])
    site.configure()
    result = site.app.test_cli_runner().invoke(args=["ft", "alerts", "test", "--json"])
    assert result.exit_code == 1
    first, second = json.loads(result.stdout)["targets"]
    assert first == {"target": "1 json 127.0.0.1", "delivered": True, "problem": ""}
    assert not second["delivered"] and "onnection error" in second["problem"]
    assert "hook-secret" not in result.output + site.log()
    assert got[0]["title"] == "[Hot Standby server1] Test of the alerts"
    assert "test of the alerts by" in site.log()


def test_command_line_without_targets_or_agent_says_so(site: Site) -> None:
    runner = site.app.test_cli_runner()
    result = runner.invoke(args=["ft", "alerts", "test"])
    assert result.exit_code == 1 and "set FT_ALERT_URLS or FT_SNMP_TARGETS" in result.stderr
    result = runner.invoke(args=["ft", "alerts", "show"])
    assert result.exit_code == 1 and "sends no alerts" in result.output


def test_show_lists_what_the_page_shows(site: Site) -> None:
    begun = {"title": "Clocks differ", "text": "40 s", "begun_wall_s": 1_800_000_000.0}
    told(site, open=[begun], waiting=[{**ROW, "tries": 3, "detail": "refused"}])
    result = site.app.test_cli_runner().invoke(args=["ft", "alerts", "show"])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "target 1 slack",
        "target 2 snmp 10.0.0.9",
        f"lasts since {clock(1_800_000_000.0)}: Clocks differ: 40 s",
        "waits for 1 slack: server2 does not answer (3 tries: refused)",
    ]


# --- configuration ----------------------------------------------------------------------------------------------------


def config(**values: Any) -> NodeConfig:
    return NodeConfig.of({"FT_SECRET_KEYS": [KEY], **values})


def test_targets_are_taken_from_the_environment_as_json_and_leave_no_trace_in_what_goes_to_support() -> None:
    found = NodeConfig.from_environment(
        {"FT_SECRET_KEYS": json.dumps([KEY]), "FT_ALERT_URLS": json.dumps([SLACK]), "FT_ALERT_REPEAT_S": "0"}
    )
    assert [target.label for target in found.alert_targets] == ["1 slack"] and found.alert_repeat_s == 0
    assert shown_config(found)["FT_ALERT_URLS"] == "set" and shown_config(found)["FT_ALERT_REPEAT_S"] == 0.0
    said = Cleaner(found).text("POST /services/TokenAAAA/TokenBBBB/TokenCCCC: 404")
    assert "Token" not in said and "404" in said


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"FT_ALERT_URLS": ["s3cret"]}, "FT_ALERT_URLS[1]: must be a URL"),
        ({"FT_ALERT_URLS": "json://s3cret"}, "FT_ALERT_URLS=a str: must be of type list"),
        ({"FT_SNMP_TARGETS": ["snmp://10.0.0.1/s3cret"]}, "FT_SNMP_TARGETS[1]: must be snmp://COMMUNITY@HOST"),
        ({"FT_ALERT_REPEAT_S": 5.0}, "FT_ALERT_REPEAT_S=5.0: must be 60 to 604800 s, or 0"),
    ],
)
def test_a_wrong_value_is_refused_with_the_way_out(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(**values)
    assert problem in str(refused.value) and "s3cret" not in str(refused.value)


def test_the_mark_of_the_licences_alarm_goes_when_all_is_well(site: Site) -> None:
    mark = site.portal.config.instance_dir / ALARM
    mark.write_text("2026-11-23 The licence of this server expires on 2026-12-01.")
    assert site.portal.licence.alarm() is False and not mark.exists()


def test_nothing_of_alerts_is_loaded_in_a_worker_without_targets() -> None:
    code = "import sys, workers.build; print([m for m in sys.modules if 'alert' in m or m in ('apprise', 'pysnmp')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "['ftplugin.alerts', 'ftplugin.alerts.targets']", run.stderr
