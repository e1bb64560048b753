"""What the exports write, and that what they write is read back as what it is.

The goldens are in ``balancer_goldens``; ``python -m tests.core.test_balancer_exports`` writes them anew after a change that
is meant. A change of them is a change of behaviour.
"""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

from ftplugin.balancer.compare import compare
from ftplugin.balancer.exports import EXPORTS, make
from ftplugin.balancer.nlb import multicast_mac
from ftplugin.balancer.plan import Options
from ftplugin.balancer.reading import Reading, Unreadable, read
from ftplugin.core.settings import Settings, SettingsError

GOLDENS = pathlib.Path(__file__).parent / "balancer_goldens"
PAIR = Settings(server1_address="10.5.1.52", server2_address="10.5.1.53", vip_address="10.5.1.51")  # guide 4.4.3
LEADS = {"vip_test": True, "failback": True}
CASES: dict[str, tuple[dict[str, Any], Options]] = {
    "role": ({}, Options()),
    "lead": (LEADS | {"application_error": True}, Options(interface="bond0")),
    "lead-stays": ({"vip_test": True}, Options()),
    "https": (
        {f: f"https://{getattr(PAIR, f)}" for f in ("server1_address", "server2_address", "vip_address")},
        Options(ca_file="/etc/ssl/ft-ca.pem"),
    ),
    "ipv6": (
        {"server1_address": "[fd00::1]:80", "server2_address": "[fd00::2]:80", "vip_address": "[fd00::9]:80"},
        Options(),
    ),
}


def made(case: str, name: str) -> str:
    """Every file of the export in one text, or why there is none."""
    changes, options = CASES[case]
    try:
        files = make(name, replace(PAIR, **changes), 7, options)
    except SettingsError as error:
        return f"refused: {error}\n"
    return "".join(f"=== {file.name}\n{file.text}" for file in files)


ALL = [(case, name) for case in CASES for name in EXPORTS]


@pytest.mark.parametrize(("case", "name"), ALL)
def test_export_is_the_golden_one(case: str, name: str) -> None:
    assert made(case, name) == (GOLDENS / f"{name}.{case}.txt").read_text()


@pytest.mark.parametrize(("case", "name"), [(c, n) for c, n in ALL if n not in ("f5", "nlb")])
def test_own_export_read_back_does_not_differ(case: str, name: str) -> None:
    changes, options = CASES[case]
    settings = replace(PAIR, **changes)
    if made(case, name).startswith("refused"):
        assert (case, name) == ("lead-stays", "keepalived-lvs")
        return
    for file in make(name, settings, 7, options):
        if file.name != "ft-check":
            reading = read(file.text.encode())
            assert reading.kind == name and compare(reading, settings, 7).differences == ()


def test_windows_nlb_says_all_of_the_guides_chapter() -> None:
    text = made("role", "nlb")
    assert multicast_mac("10.5.1.51") == "03-bf-0a-05-01-33", "guide 4.4.4"
    for said in (
        "multicast", "10.5.1.51 to 03-bf-0a-05-01-33", "in one subnet, 10.5.1.0/24", "-OperationMode Multicast",
        "$env:COMPUTERNAME -HostPriority 1", "$second -HostPriority 2", "-ClusterName 'vip.example.com'", "reboot both",
        "leave the VIP empty", "-SubnetMask '255.255.255.0'",
    ):  # fmt: skip
        assert said in text


def test_windows_nlb_refuses_servers_of_two_subnets_or_a_vip_of_ipv6() -> None:
    with pytest.raises(SettingsError, match="server2_address: must be in the subnet of the VIP, 10.5.1.0/24"):
        make("nlb", replace(PAIR, server2_address="10.5.2.53"), 1)
    with pytest.raises(SettingsError, match="vip: must be IPv4"):
        make("nlb", replace(PAIR, vip_address=""), 1, Options(vip="fd00::9"))


def test_balancer_that_follows_the_role_with_vip_test_and_failback_is_warned_of_the_deadlock() -> None:
    text = make("haproxy", replace(PAIR, vip_test=True, failback=True), 1, Options(follow="role"))[0].text
    assert "WARNING: with VIP test and failback" in text
    assert "WARNING" not in make("haproxy", PAIR, 1)[0].text


HOSTILE = ["a\nb", "x'; rm -rf /", 'a"b', "$(id)", "`id`", "a{b", "a;b", "#", "a\\b", "\0", "x" * 300, "é", "a\n"]


@pytest.mark.parametrize(
    "field", ["interface", "full_name", "script_path", "script_user", "ca_file", "url_prefix", "vip"]
)
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_text_is_refused_with_its_field(field: str, value: str) -> None:
    prefix = "/" if field in ("script_path", "ca_file", "url_prefix") else ""
    for name in EXPORTS:
        with pytest.raises(SettingsError) as refused:
            make(name, PAIR, 1, Options(**{field: prefix + value}))
        assert refused.value.field == field


@pytest.mark.parametrize(
    "value", ["10.0.0.1\nserver evil 1.2.3.4", "fe80::1%eth0", "name.example", "0.0.0.0", "", "224.0.0.1"]
)
def test_server_address_that_no_balancer_can_be_given_is_refused(value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        make("haproxy", replace(PAIR, server1_address=value), 1)
    assert refused.value.field == "server1_address"


OTHER_HAPROXY = """
defaults
    timeout check 2s
    default-server inter 5s fall 3 rise 2
listen web
    bind 10.5.1.51:80
    option httpchk GET /IPSCFG/admin/monitor.aspx?mod=NONE
    server a 10.5.1.52:80 check
    server b 10.5.1.54:80 check backup
"""


def test_foreign_haproxy_file_is_compared_by_what_it_does() -> None:
    found = compare(read(OTHER_HAPROXY.encode()), replace(PAIR, vip_test=True), 7)
    listed = {item.what: (item.found, item.wanted) for item in found.differences}
    assert listed["servers"] == ("10.5.1.52:80, 10.5.1.54:80", "10.5.1.52:80, 10.5.1.53:80")
    assert listed["good answer"] == ("2xx, 3xx", "200")
    assert listed["interval"] == ("5 s", "30 s") and listed["time limit"] == ("2 s", "10 s")
    assert listed["failures until out"] == ("3", "5") and listed["successes until in"] == ("2", "5")
    assert "URL" not in listed, "the old address of the monitor asks the same"
    assert [item.effect for item in found.differences if "switch" in item.effect] == [
        "It will switch 118 s before the pair."  # (5-1)*30 + 10, against (3-1)*5 + 2
    ]


def test_keepalived_and_nginx_files_of_others_are_read() -> None:
    own = 'vrrp_script chk {\n script "/usr/bin/curl -fsS -m 3 http://10.5.1.52/"\n interval 5\n fall 2\n}\n'
    own += "vrrp_instance a {\n virtual_ipaddress {\n 10.5.1.51/24\n }\n track_script {\n chk\n }\n}\n"
    assert read(own.encode()) == Reading(
        kind="keepalived", vip="10.5.1.51", url="/", good="below 400", interval_s=5, timeout_s=3, fall=2, rise=1
    )
    passive = b"upstream a { server 10.5.1.52 max_fails=3 fail_timeout=30s; server 10.5.1.53 backup; }"
    found = read(passive)
    assert (found.fall, found.interval_s, found.leads, found.url) == (3, 10.0, True, "") and found.notes


@pytest.mark.parametrize(
    "raw", [b"", b"words", b"\xff\xfe\x00", b"upstream a { server b;", b"x" * 600_000, b"backend a\n"]
)
def test_what_cannot_be_read_is_said_plainly(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        read(raw)


TEXTS = [made(case, name) for case, name in ALL]


@hypothesis_settings(max_examples=150, deadline=None)
@given(text=st.sampled_from(TEXTS), cut=st.tuples(st.integers(0, 4000), st.integers(0, 400)), more=st.text(max_size=20))
def test_broken_file_gives_a_comparison_or_a_sentence_and_nothing_else(
    text: str, cut: tuple[int, int], more: str
) -> None:
    broken = text[: cut[0]] + more + text[cut[0] + cut[1] :]
    try:
        found = compare(read(broken.encode("utf-8", "surrogatepass")), PAIR, 1)
    except (Unreadable, SettingsError) as error:
        assert str(error)
    else:
        assert all(item.found and item.wanted for item in found.differences)


if __name__ == "__main__":
    GOLDENS.mkdir(exist_ok=True)
    for one_case, one_name in ALL:
        (GOLDENS / f"{one_name}.{one_case}.txt").write_text(made(one_case, one_name))
