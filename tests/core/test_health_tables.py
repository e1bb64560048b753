"""FT_HEALTH: what is taken, and what is refused with field, value and way out; never with a password."""

from __future__ import annotations

import json
import pathlib
import re
import textwrap
import tomllib
from typing import Any

import pytest
from sqlalchemy import make_url

from ftplugin.config import ConfigError, NodeConfig
from ftplugin.health.tables import KINDS
from ftplugin.logs.secrets_out import Cleaner, shown_config

AXL = {"name": "cucm", "kind": "axl", "url": "https://10.0.0.5:8443", "user": "axl", "password": "s3cret"}
TCP = {"name": "cti", "kind": "tcp", "addresses": ["10.0.0.5:2748", "[2001:db8::5]:2749"]}


def config(*tables: Any) -> NodeConfig:
    return NodeConfig.of({"FT_HEALTH": list(tables), "FT_SECRET_KEYS": ["a key of the pair, long enough"]})


def test_defaults_of_each_kind() -> None:
    axl, tcp, http, disk, base, command = config(
        AXL,
        TCP,
        {"name": "wiki", "kind": "http", "url": "http://10.0.0.9/"},
        {"name": "spool", "kind": "disk", "path": "/var/spool"},
        {"name": "crm", "kind": "database", "url": "postgresql+psycopg://u:p@10.0.0.7/crm"},
        {"name": "ntp", "kind": "command", "command": ["/bin/true"]},
    ).health
    assert [(t.timeout_s, t.shared) for t in (axl, tcp, http, disk, base, command)] == [
        (7.0, True),
        (3.0, True),
        (5.0, True),
        (3.0, False),
        (3.0, False),
        (5.0, False),
    ]
    assert axl.options["version"] == "12.5" and axl.options["verify"] is True
    assert tcp.options["addresses"] == (("10.0.0.5", 2748), ("2001:db8::5", 2749))
    assert http.options["status"] == 200 and disk.options["free_mb_min"] == 50


@pytest.mark.parametrize("login", ["", "u:p%40ss@", "u:p/w#1?:@", "u@"])
@pytest.mark.parametrize("host", ["10.0.0.7", "10.0.0.7:5433", "[2001:db8::7]:5433", "db.example.org"])
def test_a_database_url_is_taken_as_sqlalchemy_reads_it(login: str, host: str) -> None:
    url = f"postgresql+psycopg://{login}{host}/crm?sslmode=require"
    assert config({"name": "crm", "kind": "database", "url": url}).health[0].options["url"] == url
    found = make_url(url)
    assert found.database == "crm" and found.host == host.partition(":5433")[0].strip("[]")


def test_the_slowest_limit_is_that_of_the_configured_checks() -> None:
    assert config().slowest_check_s == 3.0
    assert config(AXL, TCP).slowest_check_s == 7.0
    assert config(AXL | {"timeout_s": 12}, TCP).slowest_check_s == 12.0


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        (["cucm"], "FT_HEALTH[1]: must be a table with name and kind (got str)"),
        ([{"name": "x"}], "FT_HEALTH[1].kind: must be one of axl, tcp, http, disk, database, command, probers (got None)"),
        ([{"name": "x", "kind": "ping"}], "(got 'ping')"),
        ([{"kind": "axl"}], "FT_HEALTH[1].name: must be 1 to 40 letters"),
        ([AXL | {"name": "a\nb"}], "FT_HEALTH[1].name: must be 1 to 40 letters"),
        ([AXL | {"name": "database"}], "is a name of the agent's own checks; choose another (got 'database')"),
        ([AXL | {"name": "service cti"}], "is a name of the agent's own checks"),
        ([AXL, AXL], "FT_HEALTH[2].name: 'cucm' is taken"),
        (
            [TCP | {"adresses": []}],
            "FT_HEALTH[1].adresses: kind 'tcp' has no such key; it knows name, kind, timeout_s, shared",
        ),
        ([{"name": "x", "kind": "tcp"}], "FT_HEALTH[1].addresses: is missing; kind 'tcp' needs it"),
        ([TCP | {"addresses": ["10.0.0.5"]}], "each must be HOST:PORT, as 10.0.0.5:2748 (got ['10.0.0.5'])"),
        ([TCP | {"addresses": ["10.0.0.5:0"]}], "each must be HOST:PORT"),
        ([TCP | {"addresses": ["10.0.0.5:99999"]}], "each must be HOST:PORT"),
        ([TCP | {"need": "some"}], "FT_HEALTH[1].need: must be all or any (got 'some')"),
        ([TCP | {"timeout_s": 0}], "FT_HEALTH[1].timeout_s: must be 0.1 to 60 seconds (got 0)"),
        ([TCP | {"timeout_s": True}], "FT_HEALTH[1].timeout_s: must be"),
        ([TCP | {"shared": "yes"}], "FT_HEALTH[1].shared: must be true or false (got 'yes')"),
        ([AXL | {"url": "http://10.0.0.5/"}], "FT_HEALTH[1].url: must be an address such as https://"),
        ([AXL | {"version": 12.5}], "FT_HEALTH[1].version: must be the AXL version in quotes"),
        ([AXL | {"user": "a:b"}], "FT_HEALTH[1].user: must have no colon"),
        ([AXL | {"ca_file": "ca.pem"}], "FT_HEALTH[1].ca_file: must be the whole path of a file"),
        (
            [{"name": "w", "kind": "http", "url": "http://h/", "status": 99}],
            "FT_HEALTH[1].status: must be a status code",
        ),
        (
            [{"name": "d", "kind": "disk", "path": "/", "free_mb_min": 0}],
            "FT_HEALTH[1].free_mb_min: must be a whole number",
        ),
        ([{"name": "c", "kind": "command", "command": "/bin/true"}], "FT_HEALTH[1].command: must be a list of texts"),
    ],
)
def test_what_is_wrong_is_refused_by_name(tables: list[Any], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(*tables)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "table",
    [
        AXL | {"password": "s3cret\n"},
        AXL | {"pasword": "s3cret"},
        AXL | {"name": "", "password": "s3cret"},
        AXL | {"url": "https://axl:s3cret@10.0.0.5/"},
        {"name": "crm", "kind": "database", "url": "sqlite:///s3cret"},
        {"name": "crm", "kind": "database", "url": "postgresql://u:pa@s3cret@10.0.0.5/crm"},
        {"name": "crm", "kind": "database", "url": "postgresql://u:pa@ss:s3cret@10.0.0.5/crm"},
        {"name": "w", "kind": "http", "url": "http://u:s3cret@10.0.0.5/"},
    ],
)
def test_a_refusal_shows_no_password(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        config(table)
    assert "s3cret" not in str(refused.value)


def test_no_password_in_what_is_printed_of_a_configuration() -> None:
    assert "s3cret" not in repr(config(AXL))


@pytest.mark.parametrize("text", ["[{'password': 's3cret'}]", json.dumps({"password": "s3cret"})])
def test_a_list_from_the_environment_that_is_none_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(ConfigError, match="FT_HEALTH=") as refused:
        NodeConfig.from_environment({"FT_HEALTH": text})
    assert "s3cret" not in str(refused.value)


def test_the_tables_of_the_documentation_are_read_as_they_stand() -> None:
    root = pathlib.Path(__file__).parents[2]
    blocks = re.findall(r"(?:^ {4}.*\n|^\n)+", (root / "docs/health.md").read_text(), re.MULTILINE)
    text = "".join(textwrap.dedent(block) for block in blocks if "[[FT_HEALTH]]" in block)
    found = config(*tomllib.loads(text)["FT_HEALTH"]).health
    assert [(table.name, table.kind) for table in found] == [
        ("call manager", "axl"),
        ("CTI ports", "tcp"),
        ("balancer", "probers"),
    ]
    example = (root / "instance/node.toml.example").read_text().split("# [[FT_HEALTH]]")[1].split("\n\n")[0]
    table = tomllib.loads("[t]" + example.replace("\n# ", "\n"))["t"]
    assert config(table).health[0].kind == "axl"
    page = (root / "docs/health.md").read_text().split("## FT_HEALTH")[1]
    for kind, known in KINDS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{kind}` | "))
        assert f"| {known.timeout_s:g} | {str(known.shared).lower()} |" in row
        assert [key for key in known.options if f"`{key}`" not in row] == []


def test_no_password_leaves_in_a_support_file() -> None:
    node = config(AXL, {"name": "crm", "kind": "database", "url": "mysql+pymysql://u:s3cret2@10.0.0.7/crm"})
    shown = json.dumps(shown_config(node)["FT_HEALTH"])
    assert '"password": "set"' in shown and "s3cret" not in shown and "mysql+pymysql://10.0.0.7/crm" in shown
    assert Cleaner(node).text("login s3cret of s3cret2 failed") == "login *** of *** failed"
