"""The balancer page and ``ft balancer``: configurations to take away, a file compared, and who asks."""

from __future__ import annotations

import io
import json
import pathlib
import re
import time

import pytest
import redis

from ftplugin import protocol
from ftplugin.core.terms import Designation, Role

from .conftest import KEY, OWN, PEER, Site

VIP = "127.0.0.100:8080"


@pytest.fixture
def paired(site: Site) -> Site:
    site.configure(vip_address=VIP)
    return site


def token(page: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_page_offers_a_configuration_with_download_and_the_revision_it_was_made_from(paired: Site) -> None:
    page = paired.client.get("/ft/admin/balancer?name=haproxy").text
    assert "made from revision 2 of the Hot Standby settings" in page and f"server server1 {OWN}:80 check" in page
    link = re.search(r'href="(/ft/admin/balancer/file/haproxy/haproxy.cfg[^"]*)" download', page)
    assert link is not None
    kept = paired.client.get(link[1].replace("&amp;", "&"))
    assert kept.status_code == 200 and kept.text.startswith("# HAProxy, made from revision 2")
    assert "attachment; filename=haproxy.cfg" in kept.headers["Content-Disposition"]


def test_form_values_reach_the_files_and_their_downloads(paired: Site) -> None:
    query = "name=keepalived&follow=lead&interface=bond0&failback=on"
    page = paired.client.get(f"/ft/admin/balancer?{query}&vip={OWN[:-2]}200").text
    assert "dev bond0" in page and "mod=NONE" in page and "nopreempt" not in page
    link = re.search(r'href="([^"]*keepalived.server2.conf[^"]*)" download', page)
    assert link is not None
    assert "dev bond0" in paired.client.get(link[1].replace("&amp;", "&")).text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("name=keepalived&interface=eth0%0Anotify%20%2Fbin%2Fsh", "interface"),
        ("name=keepalived&script_path=%2Fx%22%3B%20reboot", "script_path"),
        ("name=nlb&full_name=a'b.example.com", "full_name"),
        ("name=nlb&prefix_length=33&vip=127.0.0.100", "prefix_length"),
        ("name=haproxy&vip=10.0.0.1%0A", "vip"),
        ("name=haproxy&failback=maybe", "failback"),
    ],
)
def test_hostile_or_wrong_value_makes_no_file_and_names_its_field(paired: Site, query: str, field: str) -> None:
    answer = paired.client.get(f"/ft/admin/balancer?{query}")
    if field == "vip":  # a line's end around an address is taken away
        assert answer.status_code == 200 and "bind 10.0.0.1:80\n" in answer.text
        return
    assert answer.status_code == 400 and f"No file was made. {field}: " in answer.text
    assert "<pre" not in answer.text


def test_without_a_vip_the_page_says_what_is_missing(site: Site) -> None:
    answer = site.client.get("/ft/admin/balancer?name=haproxy")
    assert answer.status_code == 400 and "vip_address: is empty" in answer.text
    assert site.client.get("/ft/admin/balancer?name=ipvs").status_code == 404


def test_uploaded_file_is_compared_and_an_unknown_one_is_said_plainly(paired: Site) -> None:
    client = paired.client
    text = client.get("/ft/admin/balancer/file/haproxy/haproxy.cfg?follow=lead").text

    def upload(content: str) -> tuple[int, str]:
        data = {"csrf_token": token(client.get("/ft/admin/balancer").text), "file": (io.BytesIO(content.encode()), "f")}
        answer = client.post("/ft/admin/balancer/check", data=data, content_type="multipart/form-data")
        return answer.status_code, answer.text

    code, page = upload(text)
    assert code == 200 and "The file fits the settings (HAProxy)." in page
    code, page = upload(text.replace("inter 30000ms", "inter 5s").replace("fall 5", "fall 3"))
    assert "3 differences" not in page and "2 differences from the settings (HAProxy)" in page
    assert "It will switch 100 s before the pair." in page
    code, page = upload("just some words")
    assert code == 400 and "is no configuration of HAProxy, keepalived or NGINX" in page
    assert client.post("/ft/admin/balancer/check", data={}).status_code == 400


def test_command_line_exports_to_a_directory_and_checks_it(paired: Site, tmp_path: pathlib.Path) -> None:
    runner = paired.app.test_cli_runner()
    done = runner.invoke(args=["ft", "balancer", "export", "keepalived", "--directory", str(tmp_path / "out")])
    assert done.exit_code == 1 and "vip_address: must have the port of the servers" in done.output
    words = ["ft", "balancer", "export", "keepalived", "--vip", "127.0.0.100"]
    assert runner.invoke(args=[*words, "--directory", str(tmp_path / "out")]).exit_code == 0
    assert (tmp_path / "out" / "ft-check").stat().st_mode & 0o111
    file = tmp_path / "out" / "keepalived.server1.conf"
    same = ["ft", "balancer", "check", str(file), "--vip", "127.0.0.100"]
    assert runner.invoke(args=same).exit_code == 0
    paired.configure(vip_address=VIP, threshold=7, vip_test=True)
    file.write_text(file.read_text().replace("/ft/active", "/ft/monitor?mod=NONE"))
    found = runner.invoke(args=[*same, "--json"])
    document = json.loads(found.output)
    assert found.exit_code == 1 and "failures until out" in [item["what"] for item in document["differences"]]
    only = runner.invoke(args=["ft", "balancer", "export", "haproxy"])
    assert only.exit_code == 0 and only.output.startswith("# HAProxy, made from revision 3")
    assert runner.invoke(args=[*words, "--file", "nonsense"]).exit_code == 1


def ask(site: Site, target: str, address: str, times: int, every_s: float, **headers: str) -> None:
    for _ in range(times):
        site.client.get(target, environ_base={"REMOTE_ADDR": address}, headers=headers)
        time.sleep(every_s)


def test_page_shows_who_asks_how_often_and_warns_of_drift_from_the_settings(paired: Site) -> None:
    paired.role(Role.ACTIVE)
    ask(paired, "/ft/monitor?mod=NONE", "10.0.0.9", 8, 0.15)
    ask(paired, "/ft/active", "10.0.0.8", 2, 0.1, **{"X-Haproxy-Server-State": "UP; name=ft_nodes/server1; node=lb1"})
    drift = r"10\.0\.0\.9 asks every 0\.\d+ s, by the settings it should be 30 s\. 3 failures assumed: it will switch"
    end_s = time.monotonic() + 20
    while "10.0.0.8" not in (page := paired.client.get("/ft/admin/balancer").text) or not re.search(drift, page):
        assert time.monotonic() < end_s, page
        ask(paired, "/ft/monitor?mod=NONE", "10.0.0.9", 1, 0.15)  # a busy machine may have disturbed its pace
        ask(
            paired,
            "/ft/active",
            "10.0.0.8",
            1,
            0.0,
            **{"X-Haproxy-Server-State": "UP; name=ft_nodes/server1; node=lb1"},
        )
    assert "10.0.0.9" in page and "monitor?mod=NONE" in page, "noted without Redis, written with the next question"
    told = paired.app.test_cli_runner().invoke(args=["ft", "balancer", "asks", "--json"])
    (found,) = [row for row in json.loads(told.stdout) if row["address"] == "10.0.0.9"]
    assert told.exit_code == 1 and found["drift"]["wanted_s"] == 30.0 and found["question"] == "monitor?mod=NONE"
    assert "before the pair" in page and "UP; name=ft_nodes/server1; node=lb1" in page


def test_mod_none_alone_writes_nothing_to_redis_and_waits_for_none(paired: Site) -> None:
    client = redis.Redis(port=paired.redis.port)
    ask(paired, "/ft/monitor?mod=NONE", "10.0.0.9", 5, 0.1)
    assert client.keys("*probers*") == []
    paired.redis.freeze()
    began_s = time.monotonic()
    ask(paired, "/ft/monitor?mod=NONE", "10.0.0.9", 20, 0.0)
    paired.redis.thaw()
    assert time.monotonic() - began_s < 1.0
    ask(paired, "/ft/active", "10.0.0.8", 1, 0.0)
    end_s = time.monotonic() + 10
    while not client.keys("*probers*"):
        assert time.monotonic() < end_s
    client.close()


def test_signed_question_of_the_peer_is_no_prober(paired: Site) -> None:
    ask_text = protocol.make_ask([KEY], Designation.SERVER2, "nonce-of-16-chars")
    ask(paired, "/ft/monitor?mod=IPSWS", PEER, 2, 0.0, **{protocol.ASK_HEADER: ask_text})
    assert PEER not in paired.client.get("/ft/admin/balancer").text


def test_the_own_agent_which_asks_whether_the_portal_lives_is_no_balancer(paired: Site) -> None:
    for address in (OWN, "127.0.0.1"):
        ask(paired, "/ft/live", address, 3, 0.0)
    ask(paired, "/ft/live", "10.0.0.9", 3, 0.0)
    end_s = time.monotonic() + 10
    while "10.0.0.9" not in (page := paired.client.get("/ft/admin/balancer").text):
        assert time.monotonic() < end_s, page
        ask(paired, "/ft/active", "10.0.0.8", 1, 0.2)  # brings out what was noted without Redis
    table = page.split("Who asks this server", 1)[1].split("</table>", 1)[0]
    asking = re.findall(r'<th scope="row">([^<]+)</th><td[^>]*>([^<]+)<', table)
    assert sorted(asking) == [("10.0.0.8", "active"), ("10.0.0.9", "live")]
