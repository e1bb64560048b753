"""The licence as a vendor makes it, an administrator installs it, and nothing that runs asks for it (spec 8)."""

from __future__ import annotations

import datetime
import html
import io
import json
import pathlib
import re
import subprocess
import sys
import time
from typing import Any

import pytest

from ftplugin.core.settings import SettingsError
from ftplugin.core.terms import Role
from ftplugin.licence.keep import LicenceStore
from ftplugin.report import Report
from tests.parts import eventually

from .conftest import OWN, PEER, MakeSite, Site
from .licences import Vendor, day

PAGE = "/ft/admin/licence"


@pytest.fixture
def vendor(tmp_path: pathlib.Path) -> Vendor:
    return Vendor(tmp_path)


@pytest.fixture
def licensed(make_site: MakeSite, vendor: Vendor) -> Site:
    """A portal whose vendor wants a licence; none is installed."""
    return make_site(FT_LICENCE_KEY=vendor.key)


class Admin:
    """An administrator's browser at one portal."""

    def __init__(self, site: Site) -> None:
        self.client = site.app.test_client()

    def page(self, path: str = PAGE) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200
        return html.unescape(answer.text)

    def upload(self, raw: bytes, **changes: Any) -> Any:
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.page())
        data = {"csrf_token": found[1] if found else "", "file": (io.BytesIO(raw), "IPSFT_lic.xml")} | changes
        return self.client.post(PAGE, data=data, content_type="multipart/form-data")


def problem(answer: Any) -> str:
    found = re.search(r'id="ft-licence-problem">([^<]*)<', answer.text)
    assert found is not None, answer.text
    return html.unescape(found[1])


def save(site: Site) -> int:
    return site.configure(timeout_s=9)


# --- with and without ----------------------------------------------------------------------------------------------


def test_without_a_vendor_key_no_licence_is_needed(site: Site) -> None:
    admin = Admin(site)
    assert "No licence is needed here" in admin.page()
    assert 'type="file"' not in admin.page()
    assert save(site) == 2
    assert admin.upload(b"<IPSFT_lic/>").status_code in (400, 409)
    assert "licence" not in site.log()


def test_without_a_licence_nothing_can_be_set_up_and_every_page_says_so(licensed: Site) -> None:
    with pytest.raises(SettingsError, match="upload its IPSFT_lic.xml"):
        save(licensed)
    assert licensed.portal.settings.current()[0] == 0
    page = Admin(licensed).page("/ft/admin/settings")
    assert "No licence is installed on this server" in page
    assert "failover and switchover go on" in page


def test_a_good_licence_opens_the_settings(licensed: Site, vendor: Vendor) -> None:
    admin = Admin(licensed)
    answer = admin.upload(vendor.sign(OWN))
    assert answer.status_code == 302, answer.text
    page = admin.page()
    for shown in ("Théâtre & Fils", OWN, day(365), "is installed, until"):
        assert shown in page
    assert "ft-licence-note" not in page
    assert save(licensed) == 1
    file = licensed.portal.licence.path
    assert file.name == "IPSFT_lic.xml" and file.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in file.parent.iterdir() if "IPSFT" in p.name] == ["IPSFT_lic.xml"], "no half file is left"
    assert "installed by" in licensed.log()


def test_the_settings_page_refuses_to_save_and_keeps_what_was_typed(licensed: Site) -> None:
    admin = Admin(licensed)
    page = admin.client.get("/ft/admin/settings").text
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)[1]
    base = re.search(r'name="base_revision"[^>]*value="(\d+)"', page)[1]
    data = {"csrf_token": token, "base_revision": base, "server1_address": OWN, "server2_address": PEER}
    answer = admin.client.post("/ft/admin/settings", data=data)
    assert answer.status_code in (400, 200) and PEER in answer.text
    assert "Nothing was saved. No licence is installed" in answer.text and "What you typed is kept." in answer.text
    assert 'class="ft-row" id="ft-own-address"' in answer.text, "the address of this server is not what is wrong"
    assert licensed.portal.settings.current()[0] == 0


def test_a_licence_that_mail_has_wrapped_is_still_good(licensed: Site, vendor: Vendor) -> None:
    raw = vendor.sign(OWN).replace(b"\n", b"\r\n").replace(b"    <", b"\t<")
    signature = re.search(rb"<signature>(.+)</signature>", raw)[1]
    raw = raw.replace(signature, signature[:40] + b"\r\n" + signature[40:])
    assert Admin(licensed).upload(raw).status_code == 302


# --- refused files -------------------------------------------------------------------------------------------------

XXE = b'<?xml version="1.0"?><!DOCTYPE IPSFT_lic [<!ENTITY x SYSTEM "file:///etc/passwd">]><IPSFT_lic>&x;</IPSFT_lic>'
LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol">'
    + b"".join(b'<!ENTITY %c "%s">' % (c, b"&%c;" % (c - 1) * 10) for c in range(ord("b"), ord("k")))
    + b"]><IPSFT_lic>&j;</IPSFT_lic>"
)
BAD_FILES = {
    "not XML": (b"Dear customer,", "is not XML"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00", "is not XML"),
    "an unknown encoding": (b'<?xml version="1.0" encoding="klingon"?><IPSFT_lic/>', "is not XML"),
    "cut in the middle": (b'<IPSFT_lic version="1"><licence><holder>x', "is not XML"),
    "empty": (b" \n", "is empty"),
    "another root": (b"<html><body/></html>", "root element is 'html'"),
    "a later version": (b'<IPSFT_lic version="2"/>', "IPSFT_lic version 1"),
    "nothing in it": (b'<IPSFT_lic version="1"/>', "no element 'licence'"),
    "DTD and entity": (XXE, "DTD, entities"),
    "billion laughs": (LAUGHS, "DTD, entities"),
    "too large": (b"<IPSFT_lic>" + b" " * 66_000 + b"</IPSFT_lic>", "larger than 65536"),
    "far too large": (b"<IPSFT_lic>" + b" " * 300_000 + b"</IPSFT_lic>", "larger than 65536"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_with_its_reason_and_the_good_licence_stays(
    licensed: Site, vendor: Vendor, name: str
) -> None:
    raw, reason = BAD_FILES[name]
    admin = Admin(licensed)
    assert admin.upload(vendor.sign(OWN)).status_code == 302
    kept = licensed.portal.licence.path.read_bytes()
    begun_s = time.monotonic()
    answer = admin.upload(raw)
    assert time.monotonic() - begun_s < 2
    assert answer.status_code in (400, 413)
    assert reason in problem(answer) and "Nothing was changed" in problem(answer)
    assert licensed.portal.licence.path.read_bytes() == kept
    assert save(licensed) == 1


def changed(raw: bytes, old: bytes, new: bytes) -> bytes:
    assert old in raw
    return raw.replace(old, new)


CHANGES = {
    "a later end": (lambda raw: changed(raw, day(365).encode(), day(3650).encode()), "changed after it was signed"),
    "another holder": (lambda raw: changed(raw, b"Fils", b"Cie"), "changed after it was signed"),
    "another node": (lambda raw: changed(raw, OWN.encode(), b"127.0.0.77"), "changed after it was signed"),
    "an attribute": (lambda raw: changed(raw, b"<holder>", b'<holder kind="x">'), "changed after it was signed"),
    "a damaged signature": (lambda raw: changed(raw, b"</signature>", b"AA</signature>"), "signature is damaged"),
    "a signature that is no Base64": (lambda raw: changed(raw, b"<signature>", b"<signature>@"), "is damaged"),
    "no signature": (lambda raw: re.sub(rb"<signature>.*</signature>", b"", raw), "no element 'signature'"),
    "an empty signature": (lambda raw: re.sub(rb"(<signature>).*(</sig)", rb"\1\2", raw), "no element 'signature'"),
    "no node": (lambda raw: re.sub(rb"<node>.*</node>", b"", raw), "no element 'node'"),
    "an empty holder": (lambda raw: re.sub(rb"<holder>.*</holder>", b"<holder/>", raw), "no element 'holder'"),
    "two holders": (lambda raw: changed(raw, b"<node>", b"<holder>x</holder><node>"), "'holder', which does not"),
    "two licences": (lambda raw: changed(raw, b"<signature>", b"<licence/><signature>"), "'licence', which does not"),
    "an unknown element": (lambda raw: changed(raw, b"<node>", b"<phones>9</phones><node>"), "'phones'"),
    "text between": (lambda raw: changed(raw, b"<signature>", b"x<signature>"), "text between elements"),
    "a tower in the signature": (
        lambda raw: changed(raw, b"</signature>", b"<a>" * 5000 + b"</a>" * 5000 + b"</signature>"),
        "'signature', which does not",
    ),
    "no day": (lambda raw: changed(raw, day(365).encode(), b"31/12/2027"), "a day as 2027-12-31"),
    "no address": (lambda raw: changed(raw, OWN.encode(), b"<b>".replace(b"<b>", b"myhost")), "an IP address"),
    "a holder of a megabyte line": (lambda raw: changed(raw, b"Fils", b"F" * 300), "plain text up to 200"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_licence_that_was_changed_is_refused_and_says_so(licensed: Site, vendor: Vendor, name: str) -> None:
    change, reason = CHANGES[name]
    answer = Admin(licensed).upload(change(vendor.sign(OWN)))
    assert answer.status_code == 400
    assert reason in problem(answer)
    assert not licensed.portal.licence.path.exists()


def test_another_vendor_another_server_and_wrong_days_are_told_apart(
    licensed: Site, vendor: Vendor, tmp_path: pathlib.Path
) -> None:
    admin, other = Admin(licensed), Vendor(tmp_path, "other")
    assert "another vendor's key" in problem(admin.upload(other.sign(OWN)))
    found = problem(admin.upload(vendor.sign(PEER)))
    assert PEER in found and OWN in found
    assert f"expired on {day(-2)}" in problem(admin.upload(vendor.sign(OWN, starts=-9, expires=-2)))
    assert f"not valid before {day(3)}" in problem(admin.upload(vendor.sign(OWN, starts=3)))


def test_another_vendor_cannot_claim_this_vendors_name(licensed: Site, vendor: Vendor, tmp_path: pathlib.Path) -> None:
    other = Vendor(tmp_path, "other")
    name = re.compile(rb"<vendor>(\w+)</vendor>")
    mine, theirs = name.search(vendor.sign(OWN))[1], other.sign(OWN)
    answer = Admin(licensed).upload(changed(theirs, name.search(theirs)[1], mine))
    assert "changed after it was signed" in problem(answer)


@pytest.mark.parametrize("own", [f"{OWN}:8443", f"https://{OWN}", OWN])
def test_the_port_of_the_portal_does_not_matter(make_site: MakeSite, vendor: Vendor, own: str) -> None:
    site = make_site(FT_LICENCE_KEY=vendor.key, FT_OWN_ADDRESS=own)
    assert Admin(site).upload(vendor.sign(OWN)).status_code == 302


def test_an_ipv6_node_is_known_in_every_spelling(make_site: MakeSite, vendor: Vendor) -> None:
    site = make_site(FT_LICENCE_KEY=vendor.key, FT_OWN_ADDRESS="http://[fd00:0:0::11]:8080")
    assert Admin(site).upload(vendor.sign("FD00:0000::0011")).status_code == 302


def test_an_upload_without_token_file_or_right_changes_nothing(
    make_site: MakeSite, licensed: Site, vendor: Vendor
) -> None:
    admin, raw = Admin(licensed), vendor.sign(OWN)
    assert admin.upload(raw, csrf_token="").status_code == 400
    assert admin.upload(raw, file="").status_code == 400
    assert not licensed.portal.licence.path.exists()
    watcher = make_site(FT_LICENCE_KEY=vendor.key, authorize=lambda permission: permission == "view")
    assert 'type="file"' not in Admin(watcher).page()
    assert Admin(watcher).upload(raw).status_code == 403
    assert not watcher.portal.licence.path.exists()


def test_a_folder_that_takes_nothing_is_said_and_the_old_licence_stays(licensed: Site, vendor: Vendor) -> None:
    admin, folder = Admin(licensed), licensed.portal.licence.path.parent
    assert admin.upload(vendor.sign(OWN)).status_code == 302
    kept = licensed.portal.licence.path.read_bytes()
    licensed.portal.licence.path.unlink()
    licensed.portal.licence.path.mkdir()  # a rename onto a folder fails, also for root
    answer = admin.upload(vendor.sign(OWN, expires=9))
    assert answer.status_code == 503 and str(folder) in answer.text
    licensed.portal.licence.path.rmdir()
    licensed.portal.licence.path.write_bytes(kept)
    assert [p.name for p in folder.iterdir() if p.name.startswith(".IPSFT")] == []
    assert save(licensed) == 1


def test_a_licence_file_changed_on_disk_counts_no_more(licensed: Site, vendor: Vendor) -> None:
    assert Admin(licensed).upload(vendor.sign(OWN)).status_code == 302
    path = licensed.portal.licence.path
    path.write_bytes(path.read_bytes().replace(b"Fils", b"Cie "))
    with pytest.raises(SettingsError, match="changed after it was signed"):
        save(licensed)


# --- expiry --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "note"), [(31, None), (30, "in 30 days"), (1, "in 1 day;"), (0, "in 0 days")])
def test_from_thirty_days_before_its_end_every_page_warns_and_saving_goes_on(
    licensed: Site, vendor: Vendor, left: int, note: str | None
) -> None:
    admin = Admin(licensed)
    assert admin.upload(vendor.sign(OWN, expires=left)).status_code == 302
    page = admin.page("/ft/admin/")
    if note is None:
        assert "ft-licence-note" not in page
    else:
        assert note in page and day(left) in page
    assert save(licensed) == 1


def expire(site: Site) -> None:
    """The day after the last valid one begins."""
    later = datetime.date.today() + datetime.timedelta(days=400)
    site.portal.licence._today = lambda: later


def test_an_expired_licence_blocks_saving_and_stops_nothing_that_runs(licensed: Site, vendor: Vendor) -> None:
    admin = Admin(licensed)
    admin.upload(vendor.sign(OWN))
    save(licensed)
    licensed.agent()
    licensed.peer()
    licensed.role(Role.ACTIVE)
    expire(licensed)
    with pytest.raises(SettingsError, match="expired on"):
        licensed.portal.settings.save({"timeout_s": 8}, "ann")
    page = admin.page("/ft/admin/")
    assert "expired on" in page and "failover and switchover go on" in page
    assert admin.client.get("/ft/monitor?mod=FT").text == "ACTIVE"
    assert licensed.portal.settings.current()[1].enabled, "Hot Standby mode stays on"
    assert licensed.portal.pause("ann", "works on the switch", 5), "an administrator can still pause"
    document = licensed.portal.settings.document()
    assert licensed.portal.settings.adopt(document | {"revision": 9, "origin": "server2"}), "settings still arrive"
    assert licensed.portal.settings.current()[0] == 9


def test_switchover_is_taken_with_an_expired_licence(licensed: Site, vendor: Vendor) -> None:
    admin = Admin(licensed)
    admin.upload(vendor.sign(OWN))
    save(licensed)
    licensed.agent()
    licensed.peer()
    licensed.role(Role.ACTIVE)
    expire(licensed)
    done = licensed.app.test_cli_runner().invoke(args=["ft", "switch", "server2", "--reason", "licence test"])
    assert done.exit_code == 0, done.output
    assert licensed.orders() == 1


def test_no_worker_loads_the_part_that_judges_licences() -> None:
    code = (
        "import json, sys, workers.build, workers.guard; print(json.dumps([m for m in sys.modules if 'licence' in m]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert set(json.loads(done.stdout)) <= {"ftplugin.licence", "ftplugin.licence.key"}, done.stdout + done.stderr


def test_the_log_alarms_once_a_day_for_all_processes(tmp_path: pathlib.Path, vendor: Vendor) -> None:
    today = datetime.date.today()
    first, second = (LicenceStore(tmp_path, vendor.key, OWN, Report(tmp_path), today=lambda: today) for _ in "ab")
    assert first.alarm() and not first.alarm() and not second.alarm()
    first.install(vendor.sign(OWN, expires=20))
    assert second.alarm() and not first.alarm()
    today += datetime.timedelta(days=1)
    assert first.alarm() and not second.alarm()
    log = Report(tmp_path)
    text = log.read(log.days()[0])
    assert text.count("No licence is installed") == 1 and text.count(f"expires on {day(20)}") == 2


def test_the_portal_writes_the_alarm_without_anybody_looking(licensed: Site) -> None:
    eventually(lambda: "No licence is installed" in licensed.log(), 10, licensed.log)


def test_a_forked_process_of_the_server_keeps_watching(tmp_path: pathlib.Path, vendor: Vendor) -> None:
    code = (
        "import os, sys, threading, pathlib, time\n"
        "from ftplugin.licence.keep import LicenceStore\n"
        "from ftplugin.report import Report\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "LicenceStore(folder, sys.argv[2], '10.0.0.1', Report(folder)).watch()\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(any(t.name == 'ft-licence' for t in threading.enumerate()))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path), vendor.key],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.strip() == "1", done.stderr
