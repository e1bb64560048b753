"""What the page Replication does, by command."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import delete

from ftplugin.replicate.conflicts import ConflictStore

from .conftest import Couple, Line, Node, User
from .test_page import a_conflict, page, turned
from .test_rows import some, users


def run(node: Node, *words: str) -> Any:
    return node.site.app.test_cli_runner().invoke(args=["ft", *words])


def test_a_row_that_gave_way_is_put_back_by_command_and_shown_only_to_who_may_do_so(
    couple: Couple, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_conflict(couple)
    assert "name=by ann <b>" in page(couple.one)
    with monkeypatch.context() as only:
        only.setattr(couple.one.ft, "authorize", lambda permission: permission == "view")
        text = page(couple.one)
    assert "users [1]" in text and "by ann" not in text, "rows of the portal may hold more than who looks may know"
    (lost,) = ConflictStore(couple.one.ft.database).listed()
    assert run(couple.one, "conflicts", "--put-back", "nothing").exit_code == 1
    done = run(couple.one, "conflicts", "--put-back", lost.conflict_id, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"put_back": lost.conflict_id}), done.output
    couple.settle()
    assert [users(node)[0][1] for node in couple] == ["by ann <b>"] * 2
    assert ConflictStore(couple.one.ft.database).open_count() == 0


def test_what_is_gone_at_once_is_listed_and_taken_back(couple: Couple) -> None:
    couple.one.edit(lambda s: some(s, 40))
    couple.settle(active=True)
    turned(couple.two)
    assert run(couple.two, "gone").output == "none\n"
    for model in (Line, User):
        couple.two.edit(lambda s: s.execute(delete(model)))
    for _ in range(3):
        couple.two.replicator._looks["users"].due_s = 0.0
        turned(couple.two)
    assert couple.two.site.log().count("are gone at once") == 1, "one line until somebody decides"
    assert "40 of users are gone at once" in run(couple.two, "status").output
    assert run(couple.two, "gone").output == "users: 40\n"
    assert run(couple.two, "gone", "users").exit_code == 2
    assert run(couple.two, "gone", "groups", "--delete").exit_code == 1
    ordered = run(couple.two, "gone", "users", "--take-back")
    assert ordered.exit_code == 0, ordered.output
    turned(couple.two)
    couple.settle()
    assert len(users(couple.two)) == 40
