"""What the invariants excuse is no wider than spec 5 allows: a wrong agent beside a service that obeys no demotion is caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workers import execute, promotion

from . import ports
from .mutants import patched
from .script import ScriptFailure, load, run

ANSWERS = """# Ticks and portal of server1 are dead, its switch worker answers, and its service does not stop.
settings T=1 t=1 N=3
at 0 boot both
at 19 service_sticks server1 for 40
at 20 kill server1 tick+portal for 40
until 60
"""
SILENT = """# server1 is cut off, and its service does not stop.
settings T=1 t=1 N=3
at 0 boot both
at 19 service_sticks server1 for 40
at 20 lan_cut server1 for 40
until 70
"""


def told(tmp_path: Path, text: str, seed: int) -> None:
    path = tmp_path / "story.txt"
    path.write_text(text)
    run(load(path), seed)


@pytest.mark.parametrize("story", [ANSWERS, SILENT], ids=["answers", "silent"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_agent_as_it_is_breaks_nothing_beside_a_service_that_does_not_stop(
    tmp_path: Path, story: str, seed: int
) -> None:
    told(tmp_path, story, seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_agent_that_takes_an_answer_for_silence_is_caught(tmp_path: Path, seed: int) -> None:
    """The peer has answered the fence: no time that passes makes up for its confirmation (5.5)."""
    ask = promotion.Promotion._ask_to_stop

    def deaf(self: Any, step: Any) -> str:
        ask(self, step)
        return ""

    with patched(promotion.Promotion, "_ask_to_stop", deaf), pytest.raises(ScriptFailure, match="I-A"):
        told(tmp_path, ANSWERS, seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_agent_that_never_tells_a_service_to_stop_is_caught_though_it_would_not_obey(
    tmp_path: Path, seed: int
) -> None:
    def leave_alone(self: Any, service: Any, epoch: int) -> str:
        return f"{service.name} was not asked"

    with (
        patched(execute.SwitchRunner, "_stop", leave_alone),
        patched(ports, "guard_loop", lambda node: None),
        pytest.raises(ScriptFailure, match="I-D server1 is isolated for .* and owns"),
    ):
        told(tmp_path, SILENT, seed)
