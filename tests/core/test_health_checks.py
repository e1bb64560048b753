"""The engine of the health checks: pace, limits, what an answer means, and what is published."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable

import pytest

from ftplugin import Degraded
from ftplugin.health.checks import Check, Checker, CheckState, Record, document, judged

DEADLINE_S = 10.0


class Rounds:
    """A Checker with real threads, and the loop that an owner has."""

    def __init__(self, *checks: Check, period_s: float = 60.0) -> None:
        self.bell, self.period_s = threading.Event(), period_s
        self.checker = Checker(lambda: checks, time.monotonic, self.bell.set)

    def until(self, condition: Callable[[], Any]) -> None:
        end_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end_s, self.checker.records
            self.checker.turn(self.period_s)
            self.bell.wait(min(0.05, self.checker.wait_s(self.period_s)))
            self.bell.clear()

    def of(self, name: str) -> Record | None:
        return next((record for record in self.checker.records if record.name == name), None)

    def state(self, name: str) -> str:
        found = self.of(name)
        return "" if found is None else str(found.state)


def check(name: str, call: Callable[[], Any], timeout_s: float = 5.0, shared: bool = False) -> Check:
    return Check(name=name, call=call, timeout_s=timeout_s, shared=shared)


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        (None, "ok", ""),
        ("", "ok", ""),
        (True, "ok", ""),
        (False, "failed", "failed"),
        ("the queue is\nfull", "failed", "the queue is full"),
        (Degraded("slow"), "degraded", "slow"),
        (Degraded(""), "ok", ""),
        (3, "failed", "it returned int, not None, bool, text or Degraded"),
    ],
)
def test_what_an_answer_means(answer: object, state: str, detail: str) -> None:
    assert judged(answer) == (CheckState(state), detail)


def test_a_check_that_raises_is_failed_with_what_it_said() -> None:
    def broken() -> None:
        raise LookupError("no such queue")

    rounds = Rounds(check("queue", broken))
    rounds.until(lambda: rounds.checker.complete)
    found = rounds.of("queue")
    assert found is not None and (found.state, found.detail) == (CheckState.FAILED, "LookupError: no such queue")


def test_a_check_that_leaves_by_exit_is_failed_and_asked_again() -> None:
    answers: list[str] = []

    def leaves() -> None:
        answers.append("")
        if len(answers) == 1:
            raise SystemExit(3)

    rounds = Rounds(check("script", leaves, timeout_s=0.5), period_s=0.05)
    rounds.until(lambda: rounds.state("script") == "failed")
    found = rounds.of("script")
    assert found is not None and found.detail == "SystemExit: 3"
    rounds.until(lambda: rounds.state("script") == "ok")


def test_a_machine_without_threads_is_told_as_that_and_the_check_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    class NoThread(threading.Thread):
        def start(self) -> None:
            started.append(self.name)
            if len(started) == 1:
                raise RuntimeError("can't start new thread")
            super().start()

    monkeypatch.setattr(threading, "Thread", NoThread)
    rounds = Rounds(check("mail", lambda: "", timeout_s=0.5), period_s=0.05)
    rounds.until(lambda: rounds.state("mail") == "failed")
    found = rounds.of("mail")
    assert found is not None and found.detail == "cannot be started: can't start new thread"
    rounds.until(lambda: rounds.state("mail") == "ok")


def test_a_login_in_a_url_that_a_check_quotes_is_not_told() -> None:
    def broken() -> None:
        raise OSError("no route to https://ft:s3cret@10.0.0.9/api")

    rounds = Rounds(check("api", broken))
    rounds.until(lambda: rounds.checker.complete)
    found = rounds.of("api")
    assert found is not None and found.detail == "OSError: no route to https://***@10.0.0.9/api"


def test_a_check_that_hangs_is_failed_at_its_limit_delays_none_and_costs_one_thread() -> None:
    release, calls, fine = threading.Event(), [], []
    rounds = Rounds(
        check("hung", lambda: calls.append(1) or release.wait(30) and None, timeout_s=0.3),
        check("fine", lambda: fine.append(1)),
        period_s=0.1,
    )
    before = threading.active_count()
    rounds.until(lambda: rounds.state("hung") == "failed" and len(fine) >= 8)
    assert len(calls) == 1 and threading.active_count() <= before + 2
    found = rounds.of("hung")
    assert found is not None and found.detail.startswith("no answer within 0.3 s")
    assert rounds.state("fine") == "ok"
    release.set()
    rounds.until(lambda: rounds.state("hung") == "ok" and len(calls) >= 2)


def test_a_check_is_not_started_again_before_its_period_unless_wanted() -> None:
    calls: list[float] = []
    rounds = Rounds(check("one", lambda: calls.append(time.monotonic())))
    rounds.until(lambda: rounds.state("one") == "ok")
    rounds.checker.turn(60.0, newer_than_s=calls[0] - 1.0)
    assert len(calls) == 1, "it was started after that moment"
    wanted_s = time.monotonic()
    rounds.checker.turn(60.0, newer_than_s=wanted_s)
    rounds.until(lambda: len(calls) == 2 and rounds.checker.records[0].checked_s >= wanted_s)


def test_a_change_of_a_state_is_told_once() -> None:
    answers = ["down", "down", ""]
    rounds = Rounds(check("cucm", lambda: answers.pop(0) if answers else ""), period_s=0.02)
    told: list[str] = []
    rounds.until(lambda: told.extend(rounds.checker.changes()) or len(told) == 2)
    assert told == ["health check cucm failed: down", "health check cucm is well"]


def test_the_document_names_what_failed_and_what_both_servers_have() -> None:
    rounds = Rounds(
        check("cucm", lambda: "down", shared=True),
        check("disk2", lambda: "full"),
        check("slow", lambda: Degraded("throttled"), shared=True),
    )
    rounds.until(lambda: rounds.checker.complete)
    found = document(rounds.checker.records, checked_s=5.0, boot_id="b", also_shared=["billing"])
    assert found["ok"] is False and found["failed"] == ["cucm: down", "disk2: full"]
    assert found["degraded"] == ["slow: throttled"] and found["shared_failed"] == ["billing", "cucm"]
    assert [Record.of_json(row) for row in found["checks"]] == rounds.checker.records


@pytest.mark.parametrize(
    "value", [None, 3, {}, {"name": "x", "state": "better"}, {"name": "x", "state": "ok", "detail": ""}]
)
def test_a_record_that_another_version_has_written_is_passed_over(value: object) -> None:
    assert Record.of_json(value) is None
