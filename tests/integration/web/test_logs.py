"""The log page, the peer's log, the zip for support and their command-line twins (issue 4, item 6; guide 6.1.2)."""

from __future__ import annotations

import html
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from ftplugin.core.terms import Role
from ftplugin.logs.reader import ReportReader
from ftplugin.logs.secrets_out import Cleaner, shown_config
from ftplugin.logs.support_zip import make_zip

from .conftest import KEY, MakeSite, Site
from .pair import Pair, a_failover, saying, two_portals
from .test_history import EVIL, ask

LOG = "/ft/admin/log"
DAY_S = 86_400


@pytest.fixture
def pair(make_site: MakeSite, tmp_path: pathlib.Path) -> Iterator[Pair]:
    with two_portals(make_site, tmp_path) as found:
        yield found


def write(site: Site, count: int, text: str = "count = {}", source: str = "agent", days_ago: int = 0) -> str:
    """``count`` lines of one day; the name of its file."""
    noon = time.mktime(time.localtime(time.time() - days_ago * DAY_S)[:3] + (12, 0, 0, 0, 0, -1))
    for number in range(count):
        site.portal.report._write(noon + number, source, text.format(number))
    return time.strftime("FT_REPORT_%y%m%d.txt", time.localtime(noon))


def page(site: Site, code: int = 200, path: str = LOG, **query: Any) -> str:
    answer = site.client.get(path, query_string=query)
    assert answer.status_code == code, answer.text
    return html.unescape(answer.text)


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r'class="ft-number">(\d+)<', text)]


# --- the page ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["here", "peer"])
def test_a_day_of_either_server_is_searched_and_keeps_its_line_numbers(pair: Pair, server: str) -> None:
    site = pair.own if server == "here" else pair.peer
    write(site, 3, "heartbeat {}", days_ago=3)
    write(site, 2, "SWITCHED {}", source="watchdog", days_ago=3)
    name = write(site, 3, "again {}", days_ago=3)
    all_lines = page(pair.own, server=server, day=name)
    assert numbers(all_lines) == [1, 2, 3, 4, 5, 6, 7, 8] and "again 2" in all_lines
    found = page(pair.own, server=server, day=name, search="switched")
    assert numbers(found) == [4, 5] and "2 lines match, of 8" in found
    assert numbers(page(pair.own, server=server, day=name, source="Watchdog")) == [4, 5]
    assert numbers(page(pair.own, server=server, day=name, source="watchdog", search="ed 1")) == [5]
    assert "No line matches." in page(pair.own, server=server, day=name, search="never")


def test_the_newest_lines_are_last_and_earlier_ones_are_a_link_away(site: Site) -> None:
    name = write(site, 1200)
    newest = page(site, day=name)
    last = numbers(newest)
    assert len(last) == 500 and last[-1] >= 1200 and last == sorted(last)
    link = re.search(r'href="([^"]*before=\d+[^"]*)"[^>]*>Show earlier', newest)
    assert link is not None
    earlier = html.unescape(site.client.get(link[1]).text)
    assert numbers(earlier)[-1] == last[0] - 1 and "Back to the newest" in earlier
    assert "Show earlier" not in page(site, day=name, before=100)


def test_next_and_previous_day_skip_days_without_a_log(site: Site) -> None:
    old, new = write(site, 1, days_ago=9), write(site, 1, days_ago=4)
    text = page(site, day=old)
    assert f"day={new}" in re.search(r'rel="next" href="([^"]*)"', text)[1]
    assert 'rel="prev"' not in text
    assert f"day={old}" in re.search(r'rel="prev" href="([^"]*)"', page(site, day=new))[1]


@pytest.mark.parametrize("server", ["here", "peer"])
def test_the_raw_file_is_downloaded_byte_for_byte(pair: Pair, server: str) -> None:
    site = pair.own if server == "here" else pair.peer
    name = write(site, 2, "é {}", days_ago=2)
    path = site.portal.report.folder / name
    path.write_bytes(path.read_bytes() + b"\xff\xfe raw\n" + "ü".encode() * 600_000 + b"\n")
    answer = pair.own.client.get(f"{LOG}/file", query_string={"server": server, "day": name})
    assert answer.data == path.read_bytes() and len(answer.data) > 1_200_000
    assert "attachment" in answer.headers["Content-Disposition"] and answer.content_type.startswith("text/plain")


HOSTILE_DAYS = [
    "../ft.sqlite3",
    "FT_REPORT_250101.txt/../../x",
    "/etc/passwd",
    "FT_REPORT_２５０１０１.txt",
    "a\0",
    "FT_REPORT_250101.txt\n",
]


@pytest.mark.parametrize("day", HOSTILE_DAYS)
@pytest.mark.parametrize("server", ["here", "peer"])
def test_no_name_leads_out_of_the_folder_here_or_through_the_node_api(pair: Pair, day: str, server: str) -> None:
    for path in (LOG, f"{LOG}/file"):
        answer = pair.own.client.get(path, query_string={"day": day, "server": server})
        assert answer.status_code in (400, 404) and "day:" in html.unescape(answer.text), answer.text
    for what in ("page", "raw"):
        answer, signed = ask(pair.own, "log", what=what, day=day, offset="0")
        assert answer.status_code == 400 and "day" in answer.json["error"] and signed


def test_a_link_in_the_folder_is_not_followed(site: Site, tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_text("the secret")
    site.portal.report.line("agent", "x")
    (site.portal.report.folder / "FT_REPORT_250101.txt").symlink_to(tmp_path / "secret")
    assert "the secret" not in page(site, 404, day="FT_REPORT_250101.txt")
    assert site.client.get(f"{LOG}/file?day=FT_REPORT_250101.txt").status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"server": "third"}, "server"),
        ({"before": "0"}, "before"),
        ({"before": "-3"}, "before"),
        ({"before": "9" * 30}, "before"),
        ({"search": "x" * 1_000_000}, "search"),
        ({"source": "x" * 1000}, "source"),
        ({"day": "x" * 1_000_000}, "day"),
    ],
)
def test_a_wrong_value_is_400_and_names_field_value_and_way_out(site: Site, query: dict[str, str], field: str) -> None:
    site.portal.report.line("agent", "x")
    text = page(site, 400, **query)
    assert f"{field}: " in text and len(text) < 20_000


@pytest.mark.parametrize(
    "query",
    [{"what": "all"}, {"what": "raw", "day": "FT_REPORT_250101.txt", "offset": "-1"}, {"what": "page", "before": "x"}]
    + [{"what": "page", "search": "y" * 250}, {"what": "window", "since": "0", "until": "9999999"}],
)
def test_the_node_api_refuses_a_wrong_value_by_name(site: Site, query: dict[str, str]) -> None:
    site.portal.report.line("agent", "x")
    answer, signed = ask(site, "log", **query)
    assert answer.status_code == 400 and signed
    assert re.match(r"(what|offset|before|search|until): ", answer.json["error"]), answer.json


def test_a_peer_that_does_not_answer_is_said(pair: Pair) -> None:
    pair.stop()
    assert "connection refused" in page(pair.own, 502, server="peer")
    assert pair.own.client.get(f"{LOG}/file?server=peer&day=FT_REPORT_250101.txt").status_code == 502
    with saying(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"lines": [[1]]}') as url:
        pair.address(url)
        assert "not signed" in page(pair.own, 502, server="peer")


def test_hostile_lines_sources_and_searches_are_shown_as_text(pair: Pair) -> None:
    for site, server in ((pair.own, "here"), (pair.peer, "peer")):
        site.portal.report.line(EVIL, f"\x1b[31m{EVIL}\u202e")
        text = pair.own.client.get(LOG, query_string={"server": server, "search": EVIL}).text
        assert EVIL not in text and "&lt;script&gt;" in text and "\x1b" not in text and "\u202e" not in text


def test_a_huge_file_is_read_with_bounded_memory(site: Site) -> None:
    name = write(site, 1)
    with open(site.portal.report.folder / name, "ab") as file:
        line = b"2026/01/01_10:00:00:000 agent : " + b"x" * 900 + b"\n"
        for _ in range(40):
            file.write(line * 1000)
        file.write(b"y" * 3_000_000)  # a line without an end
    import tracemalloc

    tracemalloc.start()
    found = ReportReader(site.portal.report).page(name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.total > 40_000 and found.earlier
    assert peak < 4_000_000, peak


# --- zip -----------------------------------------------------------------------------------------------------------

SECRETS = {
    "FT_PEER_REDIS_PASSWORD": "peer-redis-pass-2",
    "FT_WITNESS_PASSWORD": "witness-pass-3",
    "SECRET_KEY": "portal-session-secret-4",
    "MAIL_PASSWORD": "mail-pass-5",
    "SQLALCHEMY_DATABASE_URI": "postgresql://u:portal-db-pass-6@db/x",
    "FT_SERVICES": [
        {"name": "cti", "kind": "http", "url": "http://op:service-url-pass-7@127.0.0.1:1", "token": "service-token-8"}
    ],
}
HIDDEN = [KEY, "peer-redis-pass-2", "witness-pass-3", "portal-session-secret-4", "mail-pass-5", "portal-db-pass-6"]
HIDDEN += ["service-url-pass-7", "service-token-8"]


def token(site: Site, client: Any) -> str:
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(LOG).text)[1]


def zipped(site: Site, code: int = 200, **form: str) -> Any:
    client = site.app.test_client()
    given = {"csrf_token": token(site, client), "days": "3"} | form
    answer = client.post(f"{LOG}/zip", data=given)
    assert answer.status_code == code, answer.text
    return zipfile.ZipFile(io.BytesIO(answer.data)) if code == 200 else (client, answer)


def everything(archive: zipfile.ZipFile) -> bytes:
    return b"\n".join(name.encode() + archive.read(name) for name in archive.namelist())


def test_the_zip_holds_both_logs_and_the_story_and_no_secret(make_site: MakeSite, tmp_path: pathlib.Path) -> None:
    with two_portals(make_site, tmp_path, **SECRETS) as pair:
        a_failover(pair, time.time() - 600)
        for secret in HIDDEN:  # an error of a library, or a reason that somebody typed
            pair.own.portal.report.line("agent", f"login with {secret} failed; redis://me:url-pass-9@host/0")
        pair.own.portal.settings.save({"threshold": 6}, "test", None, "test")
        archive = zipped(pair.own, peer="1")
        names = archive.namelist()
        assert {"manifest.json", "configuration.json", "versions.json", "status.json"} <= set(names)
        assert {"settings.json", "doctor.json", "history.json"} <= set(names)
        assert any(n.startswith("logs/server1/FT_REPORT_") for n in names)
        assert any(n.startswith("logs/server2/FT_REPORT_") for n in names)
        everywhere = everything(archive)
        for secret in [*HIDDEN, "url-pass-9"]:
            assert secret.encode() not in everywhere, secret
        assert b"login with *** failed; redis://***@host/0" in everywhere
        assert b"F1: active peer is dead" in everywhere
        history = json.loads(archive.read("history.json"))
        assert history["complete"] and history["incidents"][0]["none_active"]["seconds"] == pytest.approx(34, abs=0.5)
        revisions = [row["revision"] for row in json.loads(archive.read("settings.json"))["history"]]
        assert revisions == sorted(revisions, reverse=True) and len(revisions) > 1
        manifest = json.loads(archive.read("manifest.json"))
        assert [part for part in manifest["parts"] if part["problem"]] == []
        assert json.loads(archive.read("versions.json"))["flask"]
        assert json.loads(archive.read("doctor.json"))["findings"]
        assert "logs zipped for support by administrator at 127.0.0.1" in pair.own.log()


def test_a_key_that_nobody_allowed_is_not_shown(make_site: MakeSite, monkeypatch: Any) -> None:
    site = make_site(**SECRETS)
    shown = shown_config(site.portal.config)
    assert shown["FT_SECRET_KEYS"] == shown["FT_PEER_REDIS_PASSWORD"] == "set"
    assert shown["FT_PEER_REDIS_USER"] == "default" and shown["FT_OWN_ADDRESS"] == "127.0.0.11"
    assert shown["FT_SERVICES"] == [{"name": "cti", "kind": "http", "url": "http://127.0.0.1:1", "token": "set"}]
    from ftplugin import config

    monkeypatch.setitem(config.DEFAULTS, "FT_NEW_THING", "")
    object.__setattr__(site.portal.config, "new_thing", "do-not-show")
    assert shown_config(site.portal.config)["FT_NEW_THING"] == "set"


def test_a_secret_across_two_pieces_of_a_file_is_found(make_site: MakeSite) -> None:
    cleaner = Cleaner(make_site(**SECRETS).portal.config)
    data = b"one\ntoken " + KEY.encode() + b" two\nthree"
    for at in range(len(data)):
        assert b"".join(cleaner.lines([data[:at], data[at:]])) == b"one\ntoken *** two\nthree"


def test_a_dead_peer_and_a_dead_redis_cost_only_their_part(pair: Pair) -> None:
    pair.own.portal.report.line("agent", "own line")
    pair.stop()
    pair.own.redis.kill()
    began_s = time.monotonic()
    archive = zipped(pair.own, peer="1")
    assert time.monotonic() - began_s < 20
    manifest = json.loads(archive.read("manifest.json"))
    assert [p for p in manifest["parts"] if p["name"] == "logs/server2" and "connection refused" in p["problem"]]
    assert b"own line" in everything(archive)
    assert json.loads(archive.read("history.json"))["complete"] is False


def test_the_zip_of_large_logs_is_made_with_bounded_memory(site: Site) -> None:
    import tracemalloc

    name = write(site, 1)
    with open(site.portal.report.folder / name, "ab") as file:
        for _ in range(60):
            file.write(os.urandom(500_000).hex().encode() + b"\n" + b"z" * 100 + b"\n")
    tracemalloc.start()
    with make_zip(site.portal, days=1, peer=False) as made:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert zipfile.ZipFile(made).testzip() is None
    assert peak < 25_000_000, peak


@pytest.mark.parametrize("days", ["0", "32", "-1", "x", "", "３", "9" * 1000])
def test_wrong_days_are_named_and_nothing_is_zipped(site: Site, days: str) -> None:
    client, _ = zipped(site, 302, days=days)
    assert "days: must be a whole number from 1 to 31" in client.get(LOG).text


def test_the_zip_needs_the_right_to_operate_and_a_csrf_token(make_site: MakeSite) -> None:
    site = make_site(authorize=lambda permission: permission == "view")
    assert site.client.post(f"{LOG}/zip").status_code == 403
    assert 'id="ft-zip"' not in site.client.get(LOG).text
    assert site.client.get(f"{LOG}/zip").status_code == 405
    may = make_site()
    answer = may.client.post(f"{LOG}/zip", data={"days": "3"})
    assert answer.status_code == 302


# --- command line --------------------------------------------------------------------------------------------------


def test_the_log_on_the_command_line(pair: Pair) -> None:
    runner = pair.own.app.test_cli_runner()

    def run(*arguments: str) -> Any:
        return runner.invoke(args=["ft", "log", *arguments])

    name = write(pair.own, 3, "own {}", days_ago=2)
    write(pair.peer, 2, "theirs {}", days_ago=2)
    day = time.strftime("%Y-%m-%d", time.localtime(time.time() - 2 * DAY_S))
    assert "own 2" in run(day).output and "own 2" in run(name).output and "own 2" in run("--day", name).output
    assert run(day, "--search", "OWN 1").output.count("\n") == 1
    assert "theirs 1" in run(day, "--peer").output
    found = json.loads(run(day, "--json", "--source", "agent").output)
    assert found["day"] == name and found["numbers"] == [1, 2, 3]
    assert name in run("--peer", "--list").output
    assert run("../x").exit_code == 2 and run("2001-01-01").exit_code == 1
    assert run("../x", "--peer").exit_code == 2 and run("2001-01-01", "--peer").exit_code == 1
    assert run("--follow", "--peer").exit_code == 2
    pair.stop()
    assert run("--peer").exit_code == 1 and "connection refused" in run("--peer").stderr


def test_follow_prints_new_lines_as_they_come(site: Site, tmp_path: pathlib.Path) -> None:
    config = site.portal.config
    site.portal.report.line("agent", "before")
    file = tmp_path / "node.toml"
    file.write_text(
        f'FT_OWN_ADDRESS = "{config.own_address}"\nFT_INSTANCE_DIR = "{config.instance_dir}"\n'
        f'FT_SECRET_KEYS = ["{KEY}"]\nFT_REDIS_URL = "{config.redis_url}"\n'
    )
    program = [sys.executable, "-c", "from ftplugin.cli import main; main()", "log", "--follow"]
    environ = {n: v for n, v in os.environ.items() if not n.startswith("FT_")} | {"FT_CONFIG_FILE": str(file)}
    with subprocess.Popen(program, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while "before" not in process.stdout.readline():
                assert process.poll() is None
            site.portal.report.line("agent", "and after")
            assert "and after" in process.stdout.readline()
        finally:
            process.kill()


def test_zip_logs_writes_a_file_and_no_second_time(pair: Pair, tmp_path: pathlib.Path) -> None:
    pair.own.role(Role.STANDBY)
    runner, file = pair.own.app.test_cli_runner(), tmp_path / "support.zip"
    found = runner.invoke(args=["ft", "zip-logs", str(file), "--days", "2"])
    assert found.exit_code == 0, found.output
    with zipfile.ZipFile(file) as archive:
        assert KEY.encode() not in everything(archive) and "manifest.json" in archive.namelist()
    again = runner.invoke(args=["ft", "zip-logs", str(file)])
    assert again.exit_code == 2 and "exists already" in again.stderr
    assert runner.invoke(args=["ft", "zip-logs", str(file), "--days", "99"]).exit_code == 2
    nowhere = runner.invoke(args=["ft", "zip-logs", str(tmp_path / "no" / "x.zip"), "--no-peer"])
    assert nowhere.exit_code == 1 and "cannot be written" in nowhere.stderr
