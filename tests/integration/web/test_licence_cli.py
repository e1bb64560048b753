"""The licence in the configuration and on the command line."""

from __future__ import annotations

import base64
import json
import pathlib

import pytest

from .conftest import OWN, PEER, MakeSite, Site
from .licences import Vendor
from .test_licence import licensed, vendor

__all__ = ["licensed", "vendor"]  # fixtures


@pytest.mark.parametrize("key", ["x", "ä" * 44, base64.b64encode(b"x" * 31).decode(), "!" * 44])
def test_a_wrong_vendor_key_is_named_at_the_start(make_site: MakeSite, key: str) -> None:
    with pytest.raises(ValueError, match="FT_LICENCE_KEY=.*44 characters"):
        make_site(FT_LICENCE_KEY=key)


def test_the_command_line_shows_and_installs(licensed: Site, vendor: Vendor, tmp_path: pathlib.Path) -> None:
    run = licensed.app.test_cli_runner()
    before = run.invoke(args=["ft", "licence", "show", "--json"])
    assert before.exit_code == 1
    assert json.loads(before.stdout)["state"] == "missing"
    file = tmp_path / "mine.xml"
    file.write_bytes(vendor.sign(PEER))
    refused = run.invoke(args=["ft", "licence", "install", str(file)])
    assert refused.exit_code == 1 and PEER in refused.output
    file.write_bytes(vendor.sign(OWN, expires=12))
    done = run.invoke(args=["ft", "licence", "install", str(file), "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["state"], facts["days_left"], facts["licence"]["node"]) == ("expires soon", 12, OWN)
    shown = run.invoke(args=["ft", "licence", "show"])
    assert shown.exit_code == 0 and "Théâtre & Fils" in shown.output and "then settings cannot" in shown.output


def test_the_command_line_saves_no_settings_without_a_licence(licensed: Site) -> None:
    done = licensed.app.test_cli_runner().invoke(args=["ft", "settings", "set", f"server1_address={OWN}"])
    assert done.exit_code == 1
    assert "licence: No licence is installed" in done.output


def test_without_a_vendor_the_command_line_says_that_none_is_needed(site: Site, tmp_path: pathlib.Path) -> None:
    run = site.app.test_cli_runner()
    assert "not needed" in run.invoke(args=["ft", "licence", "show"]).output
    file = tmp_path / "x.xml"
    file.write_bytes(b"<IPSFT_lic/>")
    done = run.invoke(args=["ft", "licence", "install", str(file)])
    assert done.exit_code == 1 and "FT_LICENCE_KEY is not set" in done.output
