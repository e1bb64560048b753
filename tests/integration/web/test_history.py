"""The history of both servers: pages, export, command line; and what the peer may say wrong (issue 4, item 5)."""

from __future__ import annotations

import csv
import gzip
import html
import io
import json
import pathlib
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ftplugin import protocol
from ftplugin.core.terms import Designation, Role
from ftplugin.history.source import own_document
from ftplugin.peer_client import PeerClient
from ftplugin.store.events import EventStore

from .conftest import KEY, MakeSite, Site
from .pair import Pair, a_failover, journal, keep, saying, two_portals

HISTORY = "/ft/admin/history"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def pair(make_site: MakeSite, tmp_path: pathlib.Path) -> Iterator[Pair]:
    with two_portals(make_site, tmp_path) as found:
        yield found


def page(site: Site, path: str = HISTORY, code: int = 200, **query: Any) -> str:
    answer = site.client.get(path, query_string=query)
    assert answer.status_code == code, answer.text
    return html.unescape(answer.text)


def an_hour_ago() -> float:
    return float(int(time.time()) - 3600)


# --- both servers --------------------------------------------------------------------------------------------------


def test_a_failover_of_the_other_server_is_listed_with_the_measured_time_without_active(pair: Pair) -> None:
    a_failover(pair, an_hour_ago())
    text = page(pair.own)
    assert re.search(r"Failover\s*<small>to server2", text), text
    assert re.search(r'None active">34\.0 s ± 0\.\d s<', text), text
    assert re.search(r'Two active">0\.0 s ± 0\.1 s<', text), text
    assert "F1, automatic" in text and "Incomplete" not in text and "1 incident." in text


def test_the_detail_tells_evidence_steps_and_both_logs_in_true_order(pair: Pair) -> None:
    at_s = an_hour_ago()
    switch_id = a_failover(pair, at_s)
    text = page(pair.own, f"{HISTORY}/{switch_id}")
    assert "5 bad heartbeats: timeout x3, connection error (connection refused) x2; VIP: nobody; LAN: up" in text
    assert "nobody, it was automatic" in text and "both channels" in text and "epoch 5" in text
    assert re.search(r"[+-]0\.\d{3} s ahead, ± 0\.\d{3} s", text)
    lines = re.findall(r'<span class="ft-from-(server\d)">server\d</span> (\S+) agent : (.*)', text)
    assert [(server, said) for server, _, said in lines] == [
        ("server1", "lease has run out"),
        ("server2", "F1: active peer is dead"),
    ]


def test_every_cell_of_the_steps_carries_its_heading_for_a_phone(pair: Pair) -> None:
    text = page(pair.own, f"{HISTORY}/{a_failover(pair, an_hour_ago())}")
    steps = text.split("<tbody>")[1].split("</tbody>")[0]
    assert re.findall(r"<td[^>]*>", steps) == [f'<td data-label="{name}">' for name in ("Result", "Duration", "Detail")]


def test_while_the_killed_server_is_down_the_time_with_none_active_is_bounded_by_when_it_was_last_heard(
    pair: Pair,
) -> None:
    at_s = an_hour_ago()
    keep(pair.own, "role_found", at_s - 900, active=False)
    switch_id = journal(pair.own, at_s + 5)
    keep(pair.own, "evidence", at_s + 5, switch_id=switch_id, bad_streak=3, heard_active_age_s=4.5)
    keep(pair.own, "active_begun", at_s + 7, epoch=5, since_wall_s=at_s + 6.8)
    pair.own.role(Role.ACTIVE, epoch=5)
    pair.stop()
    text = page(pair.own)
    assert "Incomplete" in text and 'None active">at most 6.3 s<' in text, text
    assert "Two active\">not known (the other server's records could not be read)" in text, text


def test_a_clock_that_is_far_out_moves_the_other_server_s_lines_and_times(pair: Pair, monkeypatch: Any) -> None:
    by_s, at_s = 25.0, an_hour_ago()
    monkeypatch.setattr(pair.peer.portal.clock, "wall_s", lambda: time.time() + by_s)  # a clock, the port for it
    keep(pair.own, "role_found", at_s - 900, active=False)
    keep(pair.own, "active_begun", at_s - 800, since_wall_s=at_s - 800)
    keep(pair.own, "active_ended", at_s, earliest_wall_s=at_s, latest_wall_s=at_s)
    keep(pair.peer, "role_found", at_s - 900 + by_s, active=False)
    keep(pair.peer, "active_begun", at_s + 5 + by_s, since_wall_s=at_s + 5 + by_s)
    switch_id = journal(pair.peer, at_s + 4 + by_s)
    pair.peer.role(Role.ACTIVE, epoch=5)
    pair.peer.portal.report._write(at_s + 5 + by_s, "agent", "second")
    pair.own.portal.report._write(at_s + 6, "agent", "third")
    pair.own.portal.report._write(at_s + 4, "agent", "first")
    text = page(pair.own, f"{HISTORY}/{switch_id}")
    assert re.search(r"\+2[45]\.\d+ s ahead", text), text
    assert re.findall(r"agent : (first|second|third)", text) == ["first", "second", "third"]
    assert re.search(r"None active</dt><dd>5\.0 s ± 0\.\d s", text) or "4.9 s" in text or "5.1 s" in text, text


def test_the_offset_measured_at_the_time_counts_more_than_today_s(pair: Pair) -> None:
    at_s = an_hour_ago()
    skew = {"skew_s": 8.0, "skew_error_s": 0.05, "skew_wall_s": at_s}
    keep(pair.own, "freeze", at_s, switches=3, **skew)
    switch_id = journal(pair.peer, at_s + 8)
    text = page(pair.own, f"{HISTORY}/{switch_id}", at=int(at_s))
    assert "+8.000 s ahead" in text, text


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "connection closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "not signed by server2 over this question"),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", "HTTP status 302"),
        (b"HTTP/1.1 404 Nope\r\nContent-Length: 0\r\n\r\n", "a version without this question"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000, "larger than"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"0" * 9_000_000),
            "the unpacked answer is larger than 2000000 bytes",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\nno gzip", "cannot be unpacked"),
        (b"nonsense\r\n\r\n", "not HTTP"),
    ],
    ids=["closed", "unsigned", "redirect", "old version", "too large", "gzip bomb", "bad gzip", "no http"],
)
def test_a_wrong_answer_of_the_peer_is_refused_and_said_and_the_own_part_is_shown(
    pair: Pair, answer: bytes, why: str
) -> None:
    journal(pair.own, an_hour_ago(), reason="own part")
    with saying(answer) as url:
        pair.address(url)
        text = page(pair.own)
    assert "Incomplete: the other server’s part is missing." in text and why in text, text
    assert 'ft-badge">incomplete' in text and "the other server's records could not be read" in text
    assert re.search(r"Failover\s*<small>to server1", text)


@pytest.mark.parametrize("drip_s", [0.0, 0.3], ids=["silent", "a byte at a time"])
def test_a_peer_that_hangs_costs_two_seconds_in_all(pair: Pair, drip_s: float) -> None:
    switch_id = journal(pair.own, an_hour_ago())
    with saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500 if drip_s else b"", drip_s=drip_s) as url:
        if not drip_s:
            url = "http://127.0.0.1:1"  # refused at once; the drip is the slow one
        pair.address(url)
        began_s = time.monotonic()
        text = page(pair.own, f"{HISTORY}/{switch_id}")
        took_s = time.monotonic() - began_s
    assert took_s < 3.0, took_s
    assert "Incomplete" in text and "both channels" in text


def test_an_answer_to_another_question_or_of_another_key_is_refused(pair: Pair) -> None:
    client = PeerClient(pair.own.portal)
    good = client.get("history", since="0", until="99")
    assert good.problem == "" and good.document["asked"] == {"since": "0", "until": "99"}
    pair.peer.portal.settings.save({"threshold": 6}, "t", None, "t")
    assert "answers another question" in client.get("settings", since="0").problem  # signed, but by no word of ours
    secrets = replace(pair.own.portal.config.secrets, keys=("another-key-of-32-characters-ok!!",))
    pair.own.portal.config.__dict__["secrets"] = secrets
    assert "not signed by server2" in PeerClient(pair.own.portal).get("history", since="0", until="99").problem


# --- what the peer may ask -----------------------------------------------------------------------------------------


def ask(site: Site, path: str, key: str = KEY, **query: str) -> Any:
    nonce = protocol.new_nonce()
    header = {protocol.ASK_HEADER: protocol.make_ask([key], Designation.SERVER2, nonce)}
    answer = site.client.get(f"/ft/node/{path}", headers=header, query_string=query)
    signature = answer.headers.get(protocol.BODY_HEADER, "")
    signed = protocol.body_is_signed([KEY], signature, Designation.SERVER1, nonce, answer.text)
    return answer, signed


@pytest.mark.parametrize("path", ["history?since=0&until=9", "log", "log?what=raw&day=FT_REPORT_250101.txt"])
def test_nobody_reads_the_node_without_a_signed_question(site: Site, path: str) -> None:
    site.portal.report.line("agent", "secret story")
    assert site.client.get(f"/ft/node/{path}").status_code == 403
    answer, _ = ask(site, path.partition("?")[0], key="another-key-of-32-characters-ok!!", since="0", until="9")
    assert answer.status_code == 403 and "secret story" not in answer.text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "x", "until": "9"}, "since"),
        ({"since": "0", "until": "nan"}, "until"),
        ({"since": "-1", "until": "9"}, "since"),
        ({"since": "0"}, "until"),
        ({"since": "0", "until": "1e300"}, "until"),
        ({"since": "0", "until": "9", "x": "y" * 400}, "at most"),
    ],
)
def test_a_wrong_question_names_field_and_value_and_is_answered_signed(
    site: Site, query: dict[str, str], field: str
) -> None:
    answer, signed = ask(site, "history", **query)
    assert answer.status_code == 400 and field in answer.json["error"] and signed


def test_the_part_is_packed_and_stays_below_its_limit_however_long_the_history(site: Site) -> None:
    for number in range(150):  # a reason is kept up to 16,000 characters
        journal(site, 1_700_000_000.0 + number, switch_id=f"s{number}", reason="r" * 30_000)
    document = own_document(site.portal, 0, 1_800_000_000.0)
    assert 10 < len(document["switches"]) < 150 and document["cut_s"] is not None
    assert len(json.dumps(document)) < 2_000_000
    nonce = protocol.new_nonce()
    headers = {protocol.ASK_HEADER: protocol.make_ask([KEY], Designation.SERVER2, nonce), "Accept-Encoding": "gzip"}
    answer = site.client.get("/ft/node/history?since=0&until=1800000000", headers=headers)
    text = gzip.decompress(answer.data).decode()
    assert len(answer.data) < 100_000 and json.loads(text)["cut_s"] == document["cut_s"]
    assert protocol.body_is_signed([KEY], answer.headers[protocol.BODY_HEADER], Designation.SERVER1, nonce, text)
    assert "There are too many: only those since" in page(site, **{"from": "2023-11-01", "to": "2023-11-30"})


# --- lists, filters, bad input -------------------------------------------------------------------------------------


def test_the_list_is_filtered_and_paged_newest_first(pair: Pair) -> None:
    pair.stop()
    day_s = an_hour_ago()
    for number in range(30):
        rule = {"rule": "M1", "actor": "ann"} if number % 2 else {"rule": "F1"}
        outcome = "aborted" if number % 10 == 0 else "done"
        journal(pair.own, day_s - 3600 * number, epoch=5 + 2 * number, outcome=outcome, **rule)
    first, second = page(pair.own), page(pair.own, page=2)
    assert first.count("<tr>") - 1 == 25 and second.count("<tr>") - 1 == 5
    times = re.findall(r'history/[^"]*">(\d{4}[^<]*)</a>', first + second)
    assert len(times) == 30 and times == sorted(times, reverse=True)
    assert "15 incidents." in page(pair.own, automatic=1)
    assert "3 incidents." in page(pair.own, failed=1)
    old = time.strftime("%Y-%m-%d", time.localtime(day_s - 86_400 * 5))
    assert "Nothing happened" in page(pair.own, to=old)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"to": "99999-01-01"}, "to"),
        ({"to": "0001-01-01"}, "to"),
        ({"from": "２０２６-01-01"}, "from"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "from"),
        ({"failed": "maybe"}, "failed"),
        ({"page": "0"}, "page"),
        ({"page": "-1"}, "page"),
        ({"page": "9" * 40}, "page"),
        ({"from": EVIL}, "from"),
        ({"from": "x" * 1_000_000}, "from"),
    ],
)
@pytest.mark.parametrize("form", ["", ".json", ".csv"])
def test_a_wrong_value_is_400_and_names_field_and_value(
    site: Site, query: dict[str, str], field: str, form: str
) -> None:
    answer = site.client.get(HISTORY + form, query_string=query)
    assert answer.status_code == 400 and field + ":" in answer.text
    assert "got" in answer.text or "after to" in answer.text
    assert len(answer.text) < 20_000
    if not form:
        assert EVIL not in answer.text


def test_a_page_past_the_end_and_an_unknown_id_are_404(site: Site) -> None:
    assert "page: there are only 1 pages (got 7)" in page(site, code=404, page=7)
    for wrong in ("nosuch", EVIL, "a b", "%2e%2e%2fft.sqlite3"):
        answer = site.client.get(f"{HISTORY}/{wrong}")
        assert answer.status_code == 404 and EVIL not in answer.text
    assert site.client.get(f"{HISTORY}/{'x' * 65}").status_code == 400
    assert site.client.get(f"{HISTORY}/abc?at=soon").status_code == 400
    assert site.client.get(f"{HISTORY}/{'x' * 65}/json").status_code == 400
    assert site.client.get(f"{HISTORY}/nosuch/json").status_code == 404


def test_hostile_text_is_shown_as_text(pair: Pair) -> None:
    at_s = an_hour_ago()
    for site in (pair.own, pair.peer):
        journal(site, at_s, switch_id=f"h-{site is pair.own}", reason=EVIL, actor=EVIL, rule=EVIL[:20], epoch=6)
        keep(site, "evidence", at_s, switch_id=f"h-{site is pair.own}", bad_streak=2, causes={EVIL: 2}, vip=EVIL)
        site.portal.report._write(at_s, EVIL, EVIL)
    for path in (HISTORY, f"{HISTORY}/h-True", f"{HISTORY}/h-False"):
        text = pair.own.client.get(path).text
        assert EVIL not in text and "&lt;script&gt;" in text
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", text)


def test_a_locked_database_is_said_and_is_no_empty_history(site: Site) -> None:
    journal(site, an_hour_ago())
    site.portal.database.close()
    lock = sqlite3.connect(site.portal.database.url.database, isolation_level=None)
    lock.execute("PRAGMA locking_mode=EXCLUSIVE")
    lock.execute("PRAGMA journal_mode=DELETE")
    lock.execute("BEGIN EXCLUSIVE")
    try:
        assert "The history cannot be read" in page(site, code=503)
        assert ask(site, "history", since="0", until="9")[0].status_code == 503
    finally:
        lock.execute("ROLLBACK")
        lock.close()


def test_who_may_not_view_reads_nothing(make_site: MakeSite) -> None:
    site = make_site(authorize=lambda permission: permission == "operate")
    for path in ("", ".json", ".csv", "/x", "/x/json"):
        assert site.client.get(HISTORY + path).status_code == 403


# --- export and command line ---------------------------------------------------------------------------------------


def test_json_and_csv_carry_the_same_incident(pair: Pair) -> None:
    a_failover(pair, an_hour_ago())
    document = pair.own.client.get(HISTORY + ".json").json
    assert document["schema"] == "ftplugin-history-1" and document["complete"] is True
    one = document["incidents"][0]
    assert one["kind"] == "failover" and one["promoted_server"] == "server2"
    assert one["none_active"]["seconds"] == pytest.approx(34, abs=0.5)
    answer = pair.own.client.get(HISTORY + ".csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    header, row = csv.reader(io.StringIO(answer.text, newline=""))
    cells = dict(zip(header, row, strict=True))
    assert cells["id"] == one["id"] and cells["complete"] == "yes" and cells["started"].endswith("Z")
    detail = pair.own.client.get(f"{HISTORY}/{one['id']}/json").json
    assert detail["switches"][0]["steps"][0]["step"] == "fence"


def test_the_command_line_twin(pair: Pair) -> None:
    switch_id = a_failover(pair, an_hour_ago())
    runner = pair.own.app.test_cli_runner()

    def run(*arguments: str) -> Any:
        return runner.invoke(args=["ft", "history", *arguments])

    plain = run()
    assert plain.exit_code == 0 and "failover to server2, F1, automatic: done" in plain.output
    assert json.loads(run("--json").output)["incidents"][0]["id"] == switch_id
    assert run("--csv").output.startswith("id,kind,")
    detail = run(switch_id)
    assert "timeout x3" in detail.output and "none active 34.0 s ±" in detail.output, detail.output
    assert "server1" in detail.output and "lease has run out" in detail.output
    assert run("--since", "soon").exit_code == 2 and "from: must be a day" in run("--since", "soon").stderr
    assert run("--json", "--csv").exit_code == 2
    assert run("nosuch").exit_code == 1
    pair.stop()
    alone = run("--json")
    assert alone.exit_code == 0 and "Incomplete" in alone.stderr
    assert json.loads(alone.stdout)["complete"] is False


# --- events --------------------------------------------------------------------------------------------------------


def test_old_events_are_forgotten_but_not_the_settings_that_lost(site: Site) -> None:
    now_s = time.time()
    store = EventStore(site.portal.database, 2, monotonic_s=lambda: 0.0)
    for name in ("freeze", "settings_conflict"):
        assert site.portal.database.record_event(name, {"n": 1})
    assert store.record("alarm", {"text": "now"})
    later = EventStore(site.portal.database, 2, wall_s=lambda: now_s + 3 * 86_400)
    assert later.record("alarm", {"text": "later"})
    names = ("freeze", "settings_conflict", "alarm")
    assert [e["name"] for e in later.between(0, now_s + 10**6, names)] == ["settings_conflict"]
