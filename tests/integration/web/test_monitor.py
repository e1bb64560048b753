"""What balancers and the peer see at the monitor pages (spec 3)."""

from __future__ import annotations

import pathlib
import socket
import time

import pytest

from ftplugin import protocol
from ftplugin.core.terms import Designation, Phase, Role
from tests.parts import eventually

from .conftest import KEY, MakeSite, Site

PAGE = "/ft/monitor"


def ask(site: Site, mode: str = "IPSWS", asker: Designation = Designation.SERVER2, key: str = KEY):
    nonce = protocol.new_nonce()
    headers = {protocol.ASK_HEADER: protocol.make_ask([key], asker, nonce)}
    return nonce, site.client.get(PAGE, query_string={"mod": mode}, headers=headers)


def state_of(site: Site, **kwargs):
    nonce, answer = ask(site, **kwargs)
    return protocol.read_state([KEY], answer.headers[protocol.STATE_HEADER], nonce, Designation.SERVER1)


@pytest.mark.parametrize("query", ["mod=NONE", "MOD=none", "Mod=nOnE"])
def test_none_says_ok(site: Site, query: str) -> None:
    answer = site.client.get(f"{PAGE}?{query}")
    assert (answer.status_code, answer.data, answer.content_type) == (200, b"OK", "text/plain")


def test_none_answers_with_redis_and_database_dead(make_site: MakeSite, tmp_path: pathlib.Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    site = make_site(FT_DATABASE_URL=f"sqlite:///{blocked}/ft.sqlite3")
    site.redis.kill()
    began_s = time.monotonic()
    answer = site.client.get(f"{PAGE}?mod=NONE")
    assert (answer.status_code, answer.data) == (200, b"OK")
    assert time.monotonic() - began_s < 0.1
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("query", ["", "mod=", "mod=XYZ", "other=FT"])
def test_unknown_mode_is_400(site: Site, query: str) -> None:
    assert site.client.get(f"{PAGE}?{query}").status_code == 400


@pytest.mark.parametrize(
    "path", ["/IPSCFG/admin/monitor.aspx", "/ipscfg/ADMIN/Monitor.aspx", "/IPSCFG/admin/Monitor.ASPX"]
)
def test_legacy_url_in_any_letter_case(site: Site, path: str) -> None:
    assert site.client.get(path + "?mod=FT").data == b"STANDBY"
    assert site.client.get(path + "?MOD=none").data == b"OK"
    assert site.client.get(path.replace(".", "x") + "?mod=FT").status_code == 404


def test_legacy_url_is_off_by_default(make_site: MakeSite) -> None:
    site = make_site(FT_LEGACY_URLS=False)
    assert site.client.get("/IPSCFG/admin/monitor.aspx?mod=NONE").status_code == 404


def test_active_only_inside_the_lease_of_this_boot(site: Site) -> None:
    def word() -> bytes:
        return site.client.get(f"{PAGE}?mod=FT").data

    assert word() == b"STANDBY"
    site.role(Role.ACTIVE)
    assert word() == b"ACTIVE"
    site.role(Role.ACTIVE, epoch=4, boot_id="another boot")
    assert word() == b"STANDBY"
    site.role(Role.ACTIVE, epoch=6, lease_s=-0.1)
    assert word() == b"STANDBY"
    site.role(Role.STANDBY, epoch=8)
    assert word() == b"STANDBY"


def test_after_a_step_of_a_clock_active_waits_for_the_agent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual machine that was paused: CLOCK_BOOTTIME stood still, so the lease alone looks valid (I-F)."""
    clock = site.portal.clock
    record = site.role(Role.ACTIVE, wall_ahead_s=clock.wall_s() - clock.now_s())
    site.agent()
    assert site.client.get(f"{PAGE}?mod=FT").data == b"ACTIVE"
    wall_s = clock.wall_s
    monkeypatch.setattr(clock, "wall_s", lambda: wall_s() + 30)
    assert site.client.get(f"{PAGE}?mod=FT").data == b"STANDBY"
    assert site.client.get("/ft/active").status_code == 503
    assert not state_of(site)[0].is_active
    site.role(Role.ACTIVE, epoch=record.epoch + 2, wall_ahead_s=clock.wall_s() - clock.now_s())  # renewed meanwhile
    time.sleep(0.06)  # what was read is kept for 0.05 s
    assert site.client.get(f"{PAGE}?mod=FT").data == b"ACTIVE"


def test_cached_active_ends_with_the_lease(site: Site) -> None:
    record = site.role(Role.ACTIVE, lease_s=0.3)
    late = []
    while (now_s := site.portal.clock.now_s()) < record.deadline_s + 0.2:
        word = site.client.get(f"{PAGE}?mod=FT").data
        if now_s >= record.deadline_s and word == b"ACTIVE":
            late.append(now_s - record.deadline_s)
    assert late == []


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_status_code_urls_follow_the_role(site: Site, method: str) -> None:
    def code(name: str) -> int:
        return getattr(site.client, method)(f"/ft/{name}").status_code

    assert (code("active"), code("standby"), code("live")) == (503, 200, 200)
    site.role(Role.ACTIVE)
    assert (code("active"), code("standby"), code("live")) == (200, 503, 200)


def test_ready_needs_a_ticking_agent_and_good_health_only_if_asked_for(site: Site) -> None:
    assert site.client.get("/ft/ready").status_code == 503
    site.agent()
    assert site.client.get("/ft/ready").status_code == 200
    site.configure(application_error=True)
    answer = eventually(lambda: (a := site.client.get("/ft/ready")).status_code == 503 and a, 10, "the setting counts")
    assert b"no health check has run" in answer.data
    site.health()
    assert site.client.get("/ft/ready").status_code == 200
    site.agent(age_s=61)
    assert b"the agent has not ticked for 61 s" in site.client.get("/ft/ready").data


def test_ipsws_shows_each_failed_check(site: Site) -> None:
    def body() -> str:
        answer = site.client.get(f"{PAGE}?mod=IPSWS")
        assert answer.status_code == 200
        return answer.text

    assert body() == "IPSWS=KO\nno health check has run"
    site.health()
    assert body() == "IPSWS=OK"
    site.health(False, failed=("database: locked", "disk:\n12 MiB free"))
    assert body() == "IPSWS=KO\ndatabase: locked\ndisk: 12 MiB free"
    site.health(age_s=50)
    assert body().startswith("IPSWS=KO\nhealth checks are stale")


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_redis_gone_is_standby_at_once_and_comes_back(site: Site, fault: str) -> None:
    site.role(Role.ACTIVE)
    site.health()
    assert site.client.get(f"{PAGE}?mod=FT").data == b"ACTIVE"
    getattr(site.redis, fault)()
    time.sleep(0.06)  # what was read is kept for 0.05 s
    for mode, wanted in (("FT", b"STANDBY"), ("IPSWS", b"IPSWS=KO\nthe node's Redis did not answer")):
        began_s = time.monotonic()
        assert site.client.get(f"{PAGE}?mod={mode}").data == wanted
        assert time.monotonic() - began_s < 0.25
    began_s = time.monotonic()
    _, answer = ask(site)
    assert time.monotonic() - began_s < 0.25
    assert protocol.STATE_HEADER not in answer.headers
    if fault == "freeze":
        site.redis.thaw()
        end_s = time.monotonic() + 2
        while site.client.get(f"{PAGE}?mod=FT").data != b"ACTIVE":
            assert time.monotonic() < end_s


def test_peer_gets_the_signed_state(site: Site) -> None:
    site.role(Role.ACTIVE, epoch=6, phase=Phase.STARTING)
    site.agent(age_s=3, settings_revision=7, switches=2, peer_heard_s=site.portal.clock.now_s() - 4)
    state, challenge = state_of(site)
    assert (state.role, state.phase, state.epoch, state.clear) == (Role.ACTIVE, Phase.STARTING, 6, False)
    assert state.agent_age_s == pytest.approx(3, abs=0.5)
    assert state.lease_left_s == pytest.approx(30, abs=1)
    assert (state.settings_revision, state.switches) == (7, 2)
    assert state.heard_asker_age_s == pytest.approx(4, abs=0.5)  # the agent's last good probe, not this question
    assert abs(state.wall_clock_s - time.time()) < 5
    assert site.portal.runtime.use_challenge(challenge)


def test_clear_is_not_said_under_a_lease(site: Site) -> None:
    site.agent()
    site.role(Role.STANDBY, epoch=2)
    assert state_of(site)[0].clear
    site.role(Role.ACTIVE, epoch=4, clear=True)
    assert not state_of(site)[0].clear


def test_agent_of_another_boot_has_not_ticked(site: Site) -> None:
    site.agent(boot_id="another boot")
    assert state_of(site)[0].agent_age_s is None


def test_a_question_alone_is_no_good_probe_of_the_asker(site: Site) -> None:
    site.agent()
    assert state_of(site)[0].heard_asker_age_s is None


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        (protocol.make_ask(["another-key-of-32-characters-ok!!"], Designation.SERVER2, "n" * 12), "unsigned"),
        ("garbage", "unreadable"),
        ("2." + "n" * 700, "unreadable"),
    ],
)
def test_bad_question_gets_the_page_without_state(site: Site, header: str, cause: str) -> None:
    for _ in range(3):
        answer = site.client.get(f"{PAGE}?mod=IPSWS", headers={protocol.ASK_HEADER: header})
        assert answer.status_code == 200 and protocol.STATE_HEADER not in answer.headers
    assert site.portal.runtime.refused() == {cause: 3}
    assert site.log().count(f"refused message ({cause})") == 1


def test_before_addresses_are_set_it_is_standby_without_state(make_site: MakeSite) -> None:
    site = make_site()
    _, answer = ask(site)
    assert answer.status_code == 200 and protocol.STATE_HEADER not in answer.headers
    assert site.client.get(f"{PAGE}?mod=FT").data == b"STANDBY"


def test_heartbeat_on_the_wire_is_small(served: tuple[Site, str, int]) -> None:
    site, host, port = served
    site.role(Role.ACTIVE, epoch=123456)
    site.agent(age_s=12.345, settings_revision=123)
    site.health()
    sent = received = 0
    with socket.create_connection((host, port), timeout=5) as link:
        for _ in range(2):  # kept alive: the second exchange needs no new connection
            header = protocol.make_ask([KEY], Designation.SERVER2, protocol.new_nonce())
            request = f"GET /ft/monitor?mod=IPSWS HTTP/1.1\r\nHost: 192.168.128.111:8080\r\nX-FT-Ask: {header}\r\n\r\n"
            link.sendall(request.encode())
            answer = b""
            while not answer.endswith(b"IPSWS=OK"):
                part = link.recv(4096)
                assert part, answer
                answer += part
            sent, received = len(request), len(answer)
    assert b"x-ft-state" in answer.lower() and b"Cookie" not in answer
    packets = 4  # request, answer and an acknowledgement each
    assert sent + received + packets * 52 <= 750, (sent, received, answer)
