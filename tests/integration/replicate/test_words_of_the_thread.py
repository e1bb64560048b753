"""What the thread says of itself stays until it is over, and no longer; and whom it makes wait."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, insert, update

from ftplugin.replicate.engine import NICE, lower_priority
from ftplugin.replicate.shown import summary
from ftplugin.state import CONTENT

from ..web.conftest import free_port
from .conftest import Couple, Node, User, wait_until
from .test_rows import some, users

OTHER = Table("calls", MetaData(), Column("id", Integer, primary_key=True))  # of the portal, and not registered


def turn(node: Node, mark: str, cause: str = "ok") -> dict[str, Any]:
    """One turn of its thread, which has heard that the other server's mark is ``mark``; what pages say of it then."""
    node.site.agent()
    node.ft.runtime.publish("view", {"peer": {"cause": cause, "state": {"content_mark": mark}}})
    node.replicator._try_turn()
    return summary(node.ft.runtime.fetch(CONTENT), {}, boot_id=node.ft.clock.boot_id, now_s=node.ft.clock.now_s())


def own_mark(node: Node) -> str:
    return str((node.ft.runtime.fetch(CONTENT) or {})["mark"])


def test_why_nothing_comes_is_said_until_it_is_over_and_once_in_the_log(couple: Couple) -> None:
    two = couple.two
    two.edit(some)
    turn(two, "")
    address = two.ft.settings.current()[1].server1_address
    two.ft.settings.save({"server1_address": f"http://127.0.0.11:{free_port()}"}, "test", None, "test")
    for _ in range(3):
        found = turn(two, "0123456789ab")
        assert found["word"] == "error" and "server1 cannot be asked" in found["error"]
    assert two.site.log().count("server1 cannot be asked") == 1
    assert turn(two, own_mark(two))["word"] == "same"
    two.ft.settings.save({"server1_address": address}, "test", None, "test")
    couple.one.scan()
    two.replicator.things["users"].names.append("newer")  # type: ignore[union-attr]
    found = turn(two, "ba9876543210")
    assert found["word"] == "error" and "users is not the same on both servers" in found["error"]
    two.replicator.things["users"].names.remove("newer")  # type: ignore[union-attr]
    found = turn(two, own_mark(two))  # as when what could not be taken was taken back there
    assert (found["word"], found["error"]) == ("same", "")


def test_edits_without_end_do_not_keep_it_looking_and_none_is_forgotten(couple: Couple) -> None:
    one, thread = couple.one, couple.one.replicator
    thread._listener.listen(thread.things)
    OTHER.create(one.engine)
    one.edit(some)
    turn(one, "")
    look, before = thread._looks["users"], own_mark(one)
    look.soon_s = time.monotonic() + 0.3  # as after a look that has taken a while
    one.edit(lambda s: s.execute(update(User).values(name="edited")))
    turn(one, "")
    assert own_mark(one) == before and not thread._dirty
    wait_until(lambda: turn(one, "") and own_mark(one) != before, "the look that was put off")
    one.edit(lambda s: s.execute(insert(OTHER).values(id=1)))
    assert not thread._dirty, "what is not replicated is no reason to look"
    one.edit(lambda s: s.execute(update(User).values(name="again")))
    assert thread._dirty


def test_a_server_with_an_application_error_or_a_dead_agent_replicates_all_the_same(couple: Couple) -> None:
    couple.one.edit(some)
    turn(couple.one, "")
    turn(couple.two, "")
    turn(couple.two, own_mark(couple.one), "application error")
    assert len(users(couple.two)) == 3
    couple.one.edit(lambda s: s.execute(update(User).values(name="x")))
    couple.one.replicator._looks["users"].due_s = 0.0
    turn(couple.one, "")
    turn(couple.two, own_mark(couple.one), "agent has not ticked")
    assert {row[1] for row in users(couple.two)} == {"x"}


def test_only_a_thread_of_its_own_gives_way_to_others() -> None:
    before = os.getpriority(os.PRIO_PROCESS, os.getpid())
    lower_priority()  # under gevent a thread is a part of the main one
    assert os.getpriority(os.PRIO_PROCESS, os.getpid()) == before
    found: list[int] = []

    def own() -> None:
        lower_priority()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=own)
    thread.start()
    thread.join()
    assert found == [NICE]
