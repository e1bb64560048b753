"""Template injection, markup and format strings in every text that an administrator, an agent or the peer can put in.

What is judged is the page as a browser reads it: no script, no handler, no other place to go to than the author's of the
template, no sum that somebody has worked out. And the text is there, as text.
"""

from __future__ import annotations

import contextlib
import html.parser
import json
import pathlib
import time
from typing import Any

import redis

from ftplugin.core.settings import NAMES
from ftplugin.replicate.conflicts import ConflictStore, Lost

from ..web.conftest import MakeSite, Site
from ..web.pair import Pair, journal, keep, two_portals
from ..web.status_site import fullest
from ..web.test_mounting import admin_rules, path_of
from .test_forms import TOKEN, fields, posts

ADMIN = "/ft/admin/"
SUM, WORKED_OUT = "1337*7331", "9801547"
EVIL = (
    f"{{{{{SUM}}}}}{{%print({SUM})%}}${{{SUM}}}#{{{SUM}}}<%={SUM}%>"
    "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>javascript:alert(1)%s%(x)s%n{0}{x.__class__}&lt;b&gt;"
)
SEEN = "<script>alert(1)</script>'\"><img"  # of it, in any page that shows it
PLAIN = {"boot_id"}  # without it a document counts as of before a reboot, and is not shown
WORDS = PLAIN | {"designation", "role", "phase", "cause", "state", "rule", "kind", "outcome", "destination", "carrier"}
WORDS |= {"reference", "diagnosis", "voter", "owner", "server", "name", "level", "severity", "command"}


class Page(html.parser.HTMLParser):
    """``wrong``: what no page of the product has. ``text``: what a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag in ("iframe", "object", "embed", "base", "img", "style") or (tag == "script" and not values.get("src")):
            self.wrong.append(self.get_starttag_text() or tag)
        for name, value in attributes:
            where = (value or "").strip().lower()
            if (
                name.startswith("on")
                or name == "style"
                or '"' in name
                or where.startswith(("javascript:", "data:", "//"))
            ):
                self.wrong.append(f"{tag} {name}={value}")
            self.text += f" {value} " if name in ("value", "title", "aria-label") else ""

    def handle_data(self, data: str) -> None:
        self.text += data


def judged(answer: Any, where: str) -> bool:
    """Whether the text is shown there."""
    text = answer.get_data().decode("utf-8", "replace")
    assert answer.status_code < 500, (where, text[-600:])
    assert WORKED_OUT not in text, where
    for name, value in answer.headers:
        assert "\n" not in value and "<script" not in value, (where, name, value)
    if answer.mimetype != "text/html":
        return False
    page = Page(text)
    assert not page.wrong, (where, page.wrong[:3])
    return SEEN in page.text


def hostile(value: Any, keep_words: set[str]) -> Any:
    """``value`` with every text replaced, also those that are names of something."""
    if isinstance(value, dict):
        return {key: found if key in keep_words else hostile(found, keep_words) for key, found in value.items()}
    if isinstance(value, list):
        return [hostile(found, keep_words) for found in value]
    return EVIL if isinstance(value, str) else value


def poison(site: Site, keep_words: set[str]) -> int:
    """Every document in this server's Redis, as a broken or taken-over agent could leave it. How many."""
    client, count = redis.Redis(port=site.redis.port, decode_responses=True), 0
    with contextlib.closing(client):
        for key in client.scan_iter(site.portal.keys.document("*")):
            client.set(key, json.dumps(hostile(json.loads(str(client.get(key))), keep_words)))
            count += 1
    return count


def every_page(site: Site) -> list[str]:
    found = [path_of(rule).replace("/none", "/1") for name, rule in admin_rules(site.app) if "GET" in rule.methods]
    return [path for path in found if "static" not in path] + [ADMIN + "switch?target=server2", ADMIN + "history/h"]


def test_texts_of_the_agent_and_of_the_other_server_are_only_shown(site: Site) -> None:
    """Free texts alone first, then those that are words of a list, too: no page may look one up and fail."""
    fullest(site)
    site.health(ok=False, failed=("a check",))
    for name in ("lan", "contact", "conflicts", "alerts", "vip"):
        site.portal.runtime.publish(name, {"text": "x", "boot_id": site.portal.clock.boot_id, "list": [{"a": "x"}]})
    for keep_words, language in ((WORDS, "fr"), (PLAIN, "en")):
        assert poison(site, keep_words) >= 10
        shown = [
            judged(site.client.get(path, headers={"Accept-Language": language}), path) for path in every_page(site)
        ]
        assert sum(shown) >= 1, "the text has arrived"
    done = site.app.test_cli_runner().invoke(args=["ft", "status"])
    assert WORKED_OUT not in done.output and done.exit_code in (0, 1, 3), done.output


def test_texts_in_journal_history_log_and_conflicts_of_either_server_are_only_shown(
    make_site: MakeSite, tmp_path: pathlib.Path
) -> None:
    """The other server's come in its signed answers."""
    with two_portals(make_site, tmp_path) as pair:
        at_s = time.time() - 3600
        for server in (pair.own, pair.peer):
            fill(server, pair, at_s)
        shown = []
        day = pair.own.portal.report.days()[0]
        paths = [*every_page(pair.own), f"{ADMIN}log?server=peer", f"{ADMIN}log?server=peer&day={day}"]
        paths += [f"{ADMIN}history/h-{server}" for server in ("own", "peer")] + [f"{ADMIN}settings?revision=1"]
        for path in paths:
            if judged(pair.own.client.get(path), path):
                shown.append(path.removeprefix(ADMIN))
        for path in (
            "history",
            "history/h-own",
            "history/h-peer",
            "log",
            "log?server=peer",
            "replication",
            "switching",
        ):
            assert path in shown, f"{path} shows the text: {shown}"


def fill(server: Site, pair: Pair, at_s: float) -> None:
    name = "own" if server is pair.own else "peer"
    journal(server, at_s, switch_id=f"h-{name}", reason=EVIL, actor=EVIL, rule=EVIL, outcome=EVIL)
    keep(server, "evidence", at_s, switch_id=f"h-{name}", bad_streak=2, causes={EVIL: 2}, vip=EVIL, lan=EVIL, why=EVIL)
    keep(server, "two_owners", at_s, service=EVIL, owners=[EVIL], count=2)
    server.portal.report._write(at_s, EVIL, EVIL)
    server.portal.report.line(EVIL, EVIL)
    assert server.portal.pause(EVIL, EVIL, 5) and server.portal.drain(EVIL, EVIL)
    gone = {
        "at_wall_s": at_s,
        "origin": EVIL,
        "actor": EVIL,
        "values": {EVIL: EVIL, "name": EVIL},
        "file": EVIL,
        "path": EVIL,
    }
    lost = Lost(
        conflict_id=f"c-{name}",
        subject=EVIL[:120],
        item=EVIL,
        found_wall_s=at_s,
        kept_on="server1",
        lost=gone,
        won=gone,
    )
    ConflictStore(server.portal.database).note([lost])


def test_texts_of_an_administrator_are_only_shown_whatever_the_form(site: Site) -> None:
    site.agent()
    site.peer()
    client = site.app.test_client()
    token, given = TOKEN.search(client.get(ADMIN + "switching").text), fields(client)
    assert token is not None
    reasons = {**given, "reason": EVIL, "override_reason": EVIL}
    for path in posts(site.app):
        for data in (dict.fromkeys(given, EVIL), reasons):
            judged(client.post(path, data=data | {"csrf_token": token[1]}, follow_redirects=True), path)
    for path in ("pause", "drain"):
        client.post(ADMIN + path, data=reasons | {"csrf_token": token[1]})
    shown = [path for path in every_page(site) if judged(client.get(path), path)]
    assert {ADMIN + "switching", ADMIN + "log", ADMIN} <= set(shown), shown


def test_texts_in_an_address_are_only_shown(site: Site) -> None:
    client = site.app.test_client()
    asked = {*NAMES, "day", "search", "source", "server", "since", "until", "from", "to", "target", "name", "below"}
    asked |= {"revision", "conflict", "at", "before", "page", "kind", "actor", "text", "q", "file"}
    for path in (path for path in every_page(site) if "?" not in path):
        judged(client.get(path, query_string=dict.fromkeys(asked, EVIL)), path)
        judged(client.get(path, query_string={EVIL: EVIL}, headers={"Referer": EVIL, "User-Agent": EVIL}), path)
    for rule in (rule for _, rule in admin_rules(site.app) if "<" in rule.rule):
        path = rule.rule.split("<")[0] + EVIL.replace("/", "").replace("%", "%25").replace("?", "").replace("#", "%23")
        judged(client.get(path), rule.rule)


def test_the_log_keeps_one_line_for_one_event_whatever_its_text(site: Site) -> None:
    """Nobody can write a line that looks like one of the agent's."""
    forged = "x\n2026/11/23_10:00:00:000 agent : active under epoch 9\r\nx\x0b\x0c\x1c\x85\u2028\u2029y\x1b[2Jz\u202e"
    before = site.log().count("\n")
    site.portal.report.line("portal", forged)
    client = site.app.test_client()
    token = TOKEN.search(client.get(ADMIN + "switching").text)
    assert token is not None
    client.post(ADMIN + "pause", data={"csrf_token": token[1], "reason": forged, "minutes": "5"})
    client.get("/ft/node/state", headers={"X-FT-Ask": "\x1b[2J" + "x" * 50})
    text = site.log()
    assert len(text.splitlines()) == text.count("\n") <= before + 4
    assert all(line[:4].isdigit() and " : " in line for line in text.splitlines())
    assert not any(ord(c) < 32 for c in text.replace("\n", "")), "no control character"
