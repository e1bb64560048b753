"""The vendor's tool ``ft-vendor`` (spec 8)."""

from __future__ import annotations

import json
import os
import pathlib

import pytest

from .conftest import OWN
from .licences import Vendor, day


@pytest.fixture
def vendor(tmp_path: pathlib.Path) -> Vendor:
    return Vendor(tmp_path)


def test_the_vendors_private_key_is_kept_to_himself_and_never_overwritten(vendor: Vendor) -> None:
    assert os.stat(vendor.file).st_mode & 0o777 == 0o600
    before = vendor.file.read_bytes()
    again = vendor.run("keygen", "--key", str(vendor.file))
    assert again.exit_code == 1 and "never overwritten" in again.output
    assert vendor.file.read_bytes() == before


def test_the_vendor_sees_what_a_licence_says_and_whether_it_is_his(vendor: Vendor, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.xml"
    file.write_bytes(vendor.sign(OWN))
    shown = vendor.run("show", str(file), "--public", vendor.key, "--json")
    assert json.loads(shown.stdout)["holder"] == "Théâtre & Fils"
    assert json.loads(shown.stdout)["signature"] == "right"
    file.write_bytes(file.read_bytes().replace(b"Fils", b"Cie"))
    assert vendor.run("show", str(file), "--public", vendor.key).exit_code == 1
    assert "not checked" in vendor.run("show", str(file)).output


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"--node": "server1"}, "an IP address"),
        ({"--holder": " "}, "'holder'"),
        ({"--expires": "2020-01-01"}, "before the first day"),
        ({"--key": "/nowhere.key"}, "ft-vendor keygen"),
    ],
)
def test_the_vendors_tool_refuses_what_no_server_would_take(vendor: Vendor, changes: dict[str, str], word: str) -> None:
    options = {"--key": str(vendor.file), "--holder": "x", "--node": OWN, "--expires": day(9)} | changes
    done = vendor.run("sign", *(part for pair in options.items() for part in pair))
    assert done.exit_code == 1 and word in done.output
