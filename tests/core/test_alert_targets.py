"""What of a target's URL may be seen, and how a wrong one is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ftplugin.alerts.targets import cleaned, snmp_target, targets_of

SLACK = "slack://TokenAAAA/TokenBBBB/TokenCCCC/#ops"
MAIL = "mailtos://pager:p%40ssw0rd@mail.example:465?to=night@example.org&from=ft@example.org"
V3 = "snmpv3://trapper@10.0.0.9?auth=sha256&auth_key=authauth1&priv=aes&priv_key=privpriv1"


def test_of_a_targets_url_its_scheme_is_shown_and_its_host_where_that_is_no_token() -> None:
    found = targets_of([SLACK, MAIL], ["snmp://public@[2001:db8::9]:1162", V3])
    assert [target.label for target in found] == [
        "1 slack",
        "2 mailtos mail.example",
        "3 snmp 2001:db8::9",
        "4 snmpv3 10.0.0.9",
    ]
    assert "Token" not in repr(found) and "p%40" not in repr(found) and len({t.key for t in found}) == 4


@pytest.mark.parametrize(
    ("url", "said", "secrets"),
    [
        (SLACK, f"POST https://hooks.example/TokenAAAA/TokenBBBB/TokenCCCC failed ({SLACK})", ["Token"]),
        (MAIL, "login of pager with p@ssw0rd / p%40ssw0rd to night@example.org refused", ["ssw0rd", "pager", "night@"]),
        (V3, "wrong digest for trapper: authauth1, privpriv1", ["authauth1", "privpriv1", "trapper"]),
        ("json://10.0.0.9/hooks/abc123?token=xyz789", "404 /hooks/abc123?token=xyz789", ["abc123", "xyz789"]),
        ("tgram://12345678:HalfAToken/99/", "401 from /bot12345678:HalfAToken/sendMessage", ["12345678", "HalfAToken"]),
        ("json://10.0.0.9/?token=a+b%2Fc99", "bad a+b%2Fc99, a+b/c99, a%20b%2Fc99", ["c99"]),
        ("mailto://pager:pass/w0rd9@mail.example", "login with pass/w0rd9 refused: w0rd9", ["w0rd9"]),
        ("mailto://pager:pass#w0rd9@mail.example", "login with pass#w0rd9 refused: w0rd9", ["w0rd9"]),
    ],
)
def test_no_piece_of_a_url_that_may_be_a_secret_stays_in_an_error(url: str, said: str, secrets: list[str]) -> None:
    clean = cleaned(said, url)
    assert not [secret for secret in secrets if secret in clean] and "***" in clean


@pytest.mark.parametrize(
    ("alert_urls", "snmp", "problem"),
    [
        (["mail.example"], [], "FT_ALERT_URLS[1]: must be a URL"),
        (["json://a/s3cret", 7], [], "FT_ALERT_URLS[2]: must be a URL as text, not a int"),
        (["json://a/s3cret", "json://a/s3cret"], [], "FT_ALERT_URLS[2]: is there twice"),
        (["json://a/s3cret\nx"], [], "FT_ALERT_URLS[1]: must be one line"),
        ([], ["udp://s3cret@a"], "FT_SNMP_TARGETS[1]: must begin with snmp://"),
        ([], ["snmp://10.0.0.1"], "the community is missing"),
        ([], ["snmp://s3cret@10.0.0.1:99999"], "cannot be read"),
        ([], ["snmp://s3cret@10.0.0.1?inform=maybe"], "inform must be yes or no"),
        ([], ["snmpv3://u@10.0.0.1?auth=sha256"], "auth and auth_key belong together"),
        ([], ["snmpv3://u@10.0.0.1?auth=sha256&auth_key=s3cret"], "with 8 characters or more"),
        ([], ["snmpv3://u@10.0.0.1?priv=aes&priv_key=s3crets3cret"], "priv needs auth"),
        ([], ["snmpv3://u@10.0.0.1?auth=rot13&auth_key=s3crets3cret"], "auth must be one of"),
    ],
)
def test_a_wrong_target_is_named_by_its_place_and_never_quoted(alert_urls: Any, snmp: Any, problem: str) -> None:
    with pytest.raises(ValueError) as refused:
        targets_of(alert_urls, snmp)
    assert problem in str(refused.value) and "s3cret" not in str(refused.value)


def test_an_snmp_target_is_read_whole() -> None:
    plain = snmp_target("snmp://my%40community@nms.example:1162?inform=yes")
    assert (plain.community, plain.host, plain.port, plain.inform) == ("my@community", "nms.example", 1162, True)
    third = snmp_target(V3)
    assert (third.user, third.auth, third.auth_key, third.priv, third.priv_key) == (
        "trapper",
        "sha256",
        "authauth1",
        "aes",
        "privpriv1",
    )
    assert third.inform and third.port == 162 and "authauth1" not in repr(third)
