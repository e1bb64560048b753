"""What a switch leaves as the result of its task, for Flower and ``AsyncResult``: every step, also of one that failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ftplugin.clock import SystemClock
from ftplugin.core.sequence import OnFailure, Step, StepName
from ftplugin.core.terms import Role
from workers.switch_run import Run, StepFailed


class Notes:
    """The ports that a running switch writes to; remembers what task and page were shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        nothing: Any = lambda *_, **__: True  # noqa: E731
        self.clock = SystemClock()
        self.journal = SimpleNamespace(begin=nothing, step=nothing, end=nothing)
        self.runtime = SimpleNamespace(publish=nothing)
        self.dispatch = SimpleNamespace(progress=lambda step, detail: self.shown.append(step))
        self.log = SimpleNamespace(report=nothing)


def test_result_lists_each_step_with_its_outcome_and_duration() -> None:
    notes = Notes()
    ports: Any = notes
    run = Run(ports, switch_id="s", kind="promote", rule="F1", reason="dead", actor="")

    def refused() -> str:
        raise StepFailed("a vote moved")

    run.do(Step(name=StepName.LOCK, limit_s=1.0, on_failure=OnFailure.ABORT), lambda: "")
    run.begin(4)
    with pytest.raises(StepFailed):
        run.do(Step(name=StepName.OWN, limit_s=1.0, on_failure=OnFailure.ABORT), refused)
    result = run.end("failed", Role.STANDBY, "own: a vote moved")
    assert [line.split(",")[0] for line in result["steps"]] == ["lock: ok", "own: failed"]
    assert all(line.endswith(" s") for line in result["steps"])
    assert result["outcome"] == "failed" and result["switch_id"] == "s" and notes.shown[:2] == ["lock", "own"]
