"""Files that nobody would write as a balancer's configuration: a portal that reads one must answer its monitor all the same."""

from __future__ import annotations

import time

import pytest

from ftplugin.balancer.reading import Unreadable, read

MANY = 40_000
CPU_LIMIT_S = 2.0  # a hundred times what they take
POOL = b"upstream a {\n  server 10.0.0.1:8080;\n}\n"
SCRIPT = b'vrrp_script ft {\n  script "curl http://10.0.0.1/ft/active -%s!"\n}\n'


@pytest.mark.parametrize(
    "data",
    [
        b"\n" * MANY,
        POOL + b'"\\' * (MANY // 2),
        POOL + b"'\\" * (MANY // 2),
        b"vrrp_script ft {\n" + b'"\\' * (MANY // 2),
        SCRIPT % (b"f" * MANY),
    ],
    ids=["blank lines", "quotes without end", "apostrophes without end", "quotes in keepalived", "options of curl"],
)
def test_a_file_that_is_hard_to_read_is_read_or_refused_at_once(data: bytes) -> None:
    began_s = time.thread_time()
    try:
        read(data)
    except Unreadable as error:
        assert str(error)
    assert time.thread_time() - began_s < CPU_LIMIT_S


def test_a_quote_inside_a_word_begins_no_text() -> None:
    found = read(
        b"# it's ours\nupstream a {\n  server 10.0.0.1:8080;\n}\nserver {\n  add_header X it's;\n  listen 80;\n}\n"
    )
    assert found.servers == ("10.0.0.1:8080",) and found.vip == "80"
