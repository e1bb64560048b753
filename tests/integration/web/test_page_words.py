"""What the admin pages say when something is wrong, and to whom they ascribe it: words that an administrator acts on."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from ftplugin.core.terms import Role

from .conftest import MakeSite, Site

ADMIN = "/ft/admin/"
FRENCH = {"Accept-Language": "fr"}


def page(client: Any, path: str, code: int = 200, **options: Any) -> str:
    answer = client.get(ADMIN + path, **options)
    assert answer.status_code == code, answer.text
    return html.unescape(answer.text)


def token_of(client: Any) -> str:
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page(client, "switching"))[1]


def press(client: Any, path: str, headers: dict[str, str] | None = None, **values: str) -> str:
    answer = client.post(
        ADMIN + path, data={"csrf_token": token_of(client), **values}, headers=headers, follow_redirects=True
    )
    return html.unescape(answer.text)


def ready(site: Site) -> Any:
    site.role(Role.ACTIVE)
    site.agent()
    site.peer()
    return site.client


def test_a_name_that_only_the_browser_gives_is_never_recorded_alone(site: Site) -> None:
    client = ready(site)
    press(client, "pause", {"Authorization": "Basic Ym9zczp4"}, reason="cable")
    assert "Paused by boss (HTTP log-in from 127.0.0.1): cable." in page(client, "switching")


def test_the_name_that_the_wsgi_server_has_checked_is_recorded(site: Site) -> None:
    client = ready(site)
    client.environ_base["REMOTE_USER"] = "ann"
    press(client, "pause", reason="cable")
    assert "Paused by ann: cable." in page(client, "switching")


def test_the_name_that_the_portal_gives_is_recorded(site: Site) -> None:
    site.portal.actor = lambda: "Ann Miller"
    client = ready(site)
    client.environ_base["REMOTE_USER"] = "17"
    press(client, "pause", reason="cable")
    assert "Paused by Ann Miller: cable." in page(client, "switching")


def test_a_freeze_that_was_acknowledged_is_gone_before_the_agent_s_next_tick(site: Site) -> None:
    site.role(Role.ACTIVE)
    site.agent(frozen=True, age_s=0.5)
    site.peer()
    assert "they are frozen until you acknowledge" in page(site.client, "")
    assert "they are frozen until you acknowledge" not in press(site.client, "acknowledge-freeze")


def test_a_hold_that_was_released_is_gone_before_the_agent_s_next_tick(site: Site) -> None:
    assert site.portal.journal.set_manual_hold(True)
    client = ready(site)
    site.agent(manual_hold=True)
    assert "Release the hold" in page(client, "")
    assert "Release the hold" not in press(client, "release-hold")


def test_while_nothing_is_known_no_check_before_a_switchover_says_ok(site: Site) -> None:
    client = ready(site)
    site.redis.kill()
    text = page(client, "switch?target=server2")
    assert "The Redis of this server does not answer" in text
    assert "No switch is running" not in text and "heard and healthy" not in text


def test_a_history_before_the_first_settings_does_not_accuse_the_database(make_site: MakeSite) -> None:
    text = page(make_site().client, "history", 503)
    assert "enter both addresses in the settings" in text and "database" not in text


def test_a_button_answers_in_the_users_language_and_the_log_in_english(site: Site) -> None:
    client = ready(site)
    text = press(client, "resume", FRENCH)
    assert "Terminé : les changements automatiques ont repris." in text and "Done:" not in text
    assert "portal : automatic switching resumed by" in site.log()


def test_a_button_that_the_redis_does_not_take_says_what_to_do(site: Site) -> None:
    client = ready(site)
    token = token_of(client)
    site.redis.kill()
    answer = client.post(ADMIN + "acknowledge-freeze", data={"csrf_token": token}, follow_redirects=True)
    assert "the freeze is still on. Look at that Redis, then try again." in answer.text


@pytest.mark.parametrize("part", ["", "/steps"])
def test_a_switch_followed_while_the_redis_is_silent_is_not_called_unknown(site: Site, part: str) -> None:
    client = ready(site)
    assert client.get(f"{ADMIN}switch/abc{part}").status_code == 404
    site.redis.freeze()
    answer = client.get(f"{ADMIN}switch/abc{part}")
    site.redis.thaw()
    assert answer.status_code == 503 and "how this switch stands is not known now" in answer.text


def test_a_switch_that_has_ended_is_asked_for_less_often(site: Site) -> None:
    client = ready(site)
    clock = site.portal.clock
    stamp = {"at_s": clock.now_s(), "boot_id": clock.boot_id, "at_wall_s": clock.wall_s()}
    order = {"switch_id": "abc", "target": "server2", "rule": "M1"}
    assert site.portal.runtime.publish("order", order | stamp)
    running = client.get(ADMIN + "switch/abc/steps")
    assert site.portal.runtime.publish("manual", {"switch_id": "abc", "outcome": "refused", "detail": "no"})
    ended = client.get(ADMIN + "switch/abc/steps")
    assert "Refused" in ended.text
    assert int(running.headers["X-FT-Refresh-Ms"]) < int(ended.headers["X-FT-Refresh-Ms"])


@pytest.mark.parametrize("path", ["switch", "force"])
def test_blanks_are_no_reason(site: Site, path: str) -> None:
    site.role(Role.STANDBY)
    site.agent()
    site.peer(Role.ACTIVE)
    client = site.client
    text = press(client, path, target="server1", expected_active="server2", typed="server1", reason="  \t ")
    assert "Say why; it is recorded." in text and site.orders() == 0


@pytest.mark.parametrize("command", [["switch", "server2"], ["force", "--yes-i-know", "server1"]])
def test_blanks_are_no_reason_on_the_command_line_either(site: Site, command: list[str]) -> None:
    ready(site)
    result = site.app.test_cli_runner().invoke(args=["ft", *command, "--reason", "  "])
    assert result.exit_code == 2 and "say why" in result.output and site.orders() == 0


def test_a_silent_redis_is_not_taken_for_a_silent_agent_beside_the_settings(site: Site) -> None:
    ready(site)
    site.redis.kill()
    text = page(site.client, "settings/replication")
    assert "the Redis of this server does not answer" in text and "agent" not in text


def test_with_mode_off_a_switchover_by_hand_is_still_offered(site: Site) -> None:
    client = ready(site)
    site.configure(enabled=False)
    text = page(client, "")
    assert "Hot Standby mode is off: nothing switches by itself." in text and 'id="ft-to-server2"' in text


def test_what_the_other_server_was_not_told_is_named_in_plain_words(site: Site) -> None:
    client = ready(site)
    site.redis.freeze()
    try:
        client.get(ADMIN)  # a session
        token = token_of(client)
        client.post(ADMIN + "release-hold", data={"csrf_token": token})
        text = page(client, "switching")
    finally:
        site.redis.thaw()
    assert "does not know yet of: the release of the hold, by" in text and "release_hold" not in text


def test_the_confirmation_is_french_throughout(site: Site) -> None:
    text = page(ready(site), "switch?target=server2", headers=FRENCH)
    assert "serveur n° 2" in text and "server #2" not in text


def test_the_card_of_the_other_server_never_calls_that_one_this_server(site: Site) -> None:
    card = page(ready(site), "").split('id="ft-server2"')[1].split("</section>")[0]
    assert "It has not been asked yet for what only it knows." in card and "this server" not in card


def test_the_zip_for_support_tells_programs_what_it_wrote(site: Site, tmp_path: Any) -> None:
    ready(site)
    file = tmp_path / "support.zip"
    result = site.app.test_cli_runner().invoke(args=["ft", "zip-logs", str(file), "--no-peer", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found == {"file": str(file), "size_bytes": file.stat().st_size, "days": 3, "peer": False}


def test_only_a_fragment_of_ours_is_put_into_the_settings_page(site: Site) -> None:
    answer = ready(site).get(ADMIN + "settings/replication")
    assert answer.status_code == 200 and answer.headers["X-FT-Status"] == "1"


def test_the_commands_tell_their_exit_codes(site: Site) -> None:
    run = site.app.test_cli_runner().invoke
    assert "Exit codes: 0 done; 1 refused" in run(args=["ft", "--help"]).output
    assert "Exit codes: 0 it was done; 1 it was not" in run(args=["ft", "follow", "--help"]).output


def test_the_checks_of_a_switchover_can_be_listed_without_ordering_it(site: Site) -> None:
    ready(site)
    run = site.app.test_cli_runner().invoke
    fine = run(args=["ft", "switch", "server2", "--check", "--json"])
    assert fine.exit_code == 0 and {"name", "level", "text"} <= set(json.loads(fine.output)[0])
    blocked = run(args=["ft", "switch", "server1", "--check"])
    assert blocked.exit_code == 1 and "blocks: order: server1 is active already." in blocked.output
    assert site.orders() == 0


def test_a_silent_redis_is_not_shown_as_an_agent_that_has_decided_nothing(site: Site) -> None:
    client = ready(site)
    site.redis.kill()
    text = page(client, "")
    assert "does not answer; nothing is known now" in text
    assert "No decision yet" not in text and "no tick yet" not in text and "Not known." in text


def test_what_is_the_matter_is_said_in_the_user_s_language(site: Site) -> None:
    client = ready(site)
    site.agent(age_s=100)
    assert "n'a plus donné signe depuis 100 s" in page(client, "", headers=FRENCH)
    assert "has not ticked for 100 s" in page(client, "")
    site.redis.kill()
    refused = page(client, "switch?target=server2", headers=FRENCH)
    assert "Le Redis de ce serveur ne répond pas ; rien n'est connu pour le moment." in refused
    assert "The Redis of this server does not answer" in page(client, "switch?target=server2")
