"""FT_MONITOR_ALLOW: who may ask the monitor, and the warning when the balancer may not."""

from __future__ import annotations

import pytest

from ftplugin import protocol
from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.terms import Designation
from ftplugin.doctor.finding import Place
from ftplugin.doctor.monitor_allow import check

from .conftest import KEY, MakeSite, Site

PATHS = ("/ft/monitor?mod=NONE", "/ft/monitor?mod=FT", "/ft/live", "/ft/standby", "/IPSCFG/admin/Monitor.aspx?mod=FT")


def asked(site: Site, remote: str | None, path: str = PATHS[0]) -> int:
    status = site.client.get(path, environ_overrides={"REMOTE_ADDR": remote}).status_code
    return int(status)


def test_everybody_may_ask_unless_networks_are_named(site: Site) -> None:
    assert asked(site, "203.0.113.9") == 200


def test_networks_this_host_and_both_servers_may_ask_and_nobody_else(make_site: MakeSite) -> None:
    site = make_site(FT_MONITOR_ALLOW=["10.0.0.0/24", "2001:db8::5"])
    site.configure(server2_address="http://192.0.2.12:8080")
    good = ("10.0.0.200", "::ffff:10.0.0.7", "2001:db8::5", "127.0.0.1", "::1", "127.0.0.11", "192.0.2.12")
    for remote in good:
        assert asked(site, remote) == 200, remote
    for remote in ("10.0.1.1", "203.0.113.9", "2001:db8::6", "192.0.2.13", "", "unix:", None):
        for path in PATHS:
            assert asked(site, remote, path) == 403, (remote, path)
    assert site.portal.runtime.refused()["address"] >= 7
    assert "10.0.1.1 may not ask the monitor (FT_MONITOR_ALLOW)" in site.log()


def test_the_node_api_is_limited_by_signatures_not_by_address(make_site: MakeSite) -> None:
    site = make_site(FT_MONITOR_ALLOW=["10.0.0.0/24"])
    site.configure()
    ask = {protocol.ASK_HEADER: protocol.make_ask([KEY], Designation.SERVER2, "n" * 12)}
    answer = site.client.get("/ft/node/state", headers=ask, environ_overrides={"REMOTE_ADDR": "203.0.113.9"})
    assert answer.status_code == 200


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "balancer", "", 7.5])
def test_an_entry_that_is_no_network_is_refused_at_the_start(entry: object) -> None:
    with pytest.raises(ConfigError, match=r"FT_MONITOR_ALLOW\[1\]"):
        NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_MONITOR_ALLOW": [entry]})


def test_the_doctor_warns_of_a_list_without_the_vip_and_of_refused_questions(make_site: MakeSite) -> None:
    site = make_site(FT_MONITOR_ALLOW=["10.0.0.0/24"])
    site.configure(vip_address="10.0.0.100")

    def found() -> list[str]:
        revision, settings = site.portal.settings.current()
        place = Place(portal=site.portal, revision=revision, settings=settings, designation=None, limit_s=1.0)
        return [f"{finding.status} {finding.found}" for finding in check(place)]

    assert found()[0].startswith("ok")
    site.configure(vip_address="10.0.9.100")
    assert found() == ["warning FT_MONITOR_ALLOW (10.0.0.0/24) does not hold the VIP 10.0.9.100."]
    assert asked(site, "10.0.9.100") == 403
    assert any("refused for their address" in text for text in found())
