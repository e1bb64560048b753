"""The page Replication, its buttons and their twins on the command line."""

from __future__ import annotations

import html
import json
import re
import time
from typing import Any

from sqlalchemy import delete, update

from ftplugin.cli import group
from ftplugin.replicate.conflicts import ConflictStore
from ftplugin.state import CONTENT

from .conftest import Couple, Line, Node, User
from .test_rows import rename, some, users

PAGE = "/ft/admin/replication"


def page(node: Node, path: str = PAGE) -> str:
    answer = node.site.client.get(path)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", html.unescape(answer.text))


def press(node: Node, action: str, **fields: str) -> str:
    """The page after a button was pressed."""
    client = node.site.app.test_client()
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/ft/admin/switching").text)
    assert token is not None
    answer = client.post(f"{PAGE}/{action}", data={"csrf_token": token[1], **fields}, follow_redirects=True)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", html.unescape(answer.text))


def turned(node: Node) -> None:
    """One turn of the thread, here."""
    node.replicator._turn()


def hears(node: Node, other: Node) -> None:
    mark = (other.ft.runtime.fetch(CONTENT) or {}).get("mark", "")
    node.site.agent()
    node.ft.runtime.publish("view", {"peer": {"cause": "ok", "state": {"content_mark": mark}}})


def cell(text: str, row: str, label: str) -> str:
    part = text[text.index(f'<th scope="row">{row}') :]
    found = re.search(rf'data-label="{label}">(.*?)</td>', part)
    assert found is not None
    return found[1].strip()


def test_it_shows_what_is_behind_and_by_how_much_and_old_facts_as_old(couple: Couple) -> None:
    assert "has said nothing lately" in page(couple.two)
    couple.one.edit(lambda s: some(s, 7))
    turned(couple.one)
    turned(couple.two)
    hears(couple.two, couple.one)
    lines = couple.two.replicator.things["users"]
    lines.names.append("newer")  # type: ignore[union-attr]
    turned(couple.two)
    lines.names.remove("newer")  # type: ignore[union-attr]
    text = page(couple.two)
    assert "Not everything can be replicated: users is not the same on both servers" in text
    assert cell(text, "groups", "Taken at last") == "1" and "FOREIGN KEY" in cell(text, "lines", "Problems")
    assert cell(text, "lines", "To come from the other server") == "1"
    couple.two.replicator._again_s = 0.0
    turned(couple.two)
    turned(couple.two)
    hears(couple.one, couple.two)
    hears(couple.two, couple.one)
    turned(couple.two)
    text = page(couple.two)
    assert cell(text, "users", "Here") == "7" or cell(text, "users", "Taken at last") == "7"
    assert "Nothing has ever given way" in text and 'class="ft-note ft-bad"' not in text
    shown = couple.two.ft.runtime.fetch(CONTENT) or {}
    couple.two.ft.runtime.publish(CONTENT, {**shown, "at_s": shown["at_s"] - 120})
    text = page(couple.two)
    assert "has said nothing lately" in text and 'class="ft-table ft-old"' in text
    assert "replication: its thread in the portal has said nothing lately" in command(couple.two, "status")[1]


def command(node: Node, *arguments: str) -> tuple[int, str]:
    answer = node.site.app.test_cli_runner().invoke(group, arguments)
    return answer.exit_code, answer.output


def a_conflict(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    rename(couple.one, 1, "by ann <b>")
    couple.one.scan()
    time.sleep(0.01)  # the later edit, by the wall clock
    rename(couple.two, 1, "by bob")
    couple.settle()
    for node in couple:
        count = ConflictStore(node.ft.database).open_count()
        node.ft.runtime.publish("conflicts", {"open": count})  # as the tick worker does


def test_what_gave_way_is_an_alert_can_be_looked_at_and_put_back(couple: Couple) -> None:
    a_conflict(couple)
    assert "1 edit gave way to another one" in page(couple.one, "/ft/admin/")
    answer = couple.one.site.client.get(PAGE).text
    assert "by ann &lt;b&gt;" in answer and "<b>" not in answer, "content of a row is text, not markup"
    (lost,) = ConflictStore(couple.one.ft.database).listed()
    assert "Put back" in press(couple.one, "restore", conflict=lost.conflict_id)
    couple.settle()
    assert [users(node)[0][1] for node in couple] == ["by ann <b>"] * 2
    assert "Acknowledged" in page(couple.one)


def test_acknowledging_ends_the_alert_on_the_page_and_in_the_command(couple: Couple) -> None:
    a_conflict(couple)
    code, said = command(couple.one, "conflicts", "--json")
    (listed,) = json.loads(said)
    assert code == 0 and listed["subject"] == "users" and listed["lost"]["values"]["name"] == "by ann <b>"
    assert "stays in the list" in press(couple.one, "acknowledge", conflict=listed["conflict_id"])
    assert command(couple.one, "conflicts")[1] == "none\n"
    assert "acknowledged by" in command(couple.one, "conflicts", "--all")[1]
    assert command(couple.one, "conflicts", "--acknowledge", "all")[1] == "0 acknowledged\n"


def test_very_much_that_is_gone_waits_for_a_word_and_comes_back(couple: Couple) -> None:
    couple.one.edit(lambda s: some(s, 100))
    couple.settle(active=True)
    turned(couple.two)
    couple.two.edit(lambda s: s.execute(delete(Line)))
    couple.two.edit(lambda s: s.execute(delete(User)))
    couple.two.replicator._looks["users"].due_s = 0.0
    turned(couple.two)
    text = page(couple.two)
    assert "100 are gone at once" in text and "Delete them on both servers" in text
    assert "Ordered" in press(couple.two, "gone", thing="users", what="restore")
    turned(couple.two)
    assert "are gone at once" not in page(couple.two)
    couple.settle()
    assert len(users(couple.two)) == 100


def test_synchronise_now_makes_both_threads_look_at_once(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    turned(couple.one)
    couple.one.edit(lambda s: s.execute(update(User).values(name="x")))
    couple.one.replicator._dirty = False
    turned(couple.one)
    before = (couple.one.ft.runtime.fetch(CONTENT) or {})["mark"]
    assert "ordered" in press(couple.one, "synchronise")
    turned(couple.one)
    assert (couple.one.ft.runtime.fetch(CONTENT) or {})["mark"] != before
    assert command(couple.one, "sync")[0] == 0


def test_without_a_csrf_token_nothing_is_done(couple: Couple) -> None:
    a_conflict(couple)
    (lost,) = ConflictStore(couple.one.ft.database).listed()
    for action, fields in (
        ("acknowledge", {"conflict": ""}),
        ("restore", {"conflict": lost.conflict_id}),
        ("gone", {"thing": "users", "what": "delete"}),
        ("synchronise", {}),
    ):
        values: dict[str, Any] = fields
        couple.one.site.client.post(f"{PAGE}/{action}", data=values)
    assert ConflictStore(couple.one.ft.database).open_count() == 1 and users(couple.one)[0][1] == "by bob"
    assert couple.one.ft.runtime.fetch("sync") is None and couple.one.ft.runtime.fetch("content_order") is None


def test_a_frozen_database_is_said_on_the_page_and_nothing_is_lost(couple: Couple) -> None:
    a_conflict(couple)
    import sqlite3

    link = sqlite3.connect(str(couple.one.ft.database.url.database), isolation_level=None)
    link.execute("BEGIN EXCLUSIVE")
    assert "nothing was done" in press(couple.one, "acknowledge", conflict="").lower()
    link.rollback()
    link.close()
    assert ConflictStore(couple.one.ft.database).open_count() == 1
