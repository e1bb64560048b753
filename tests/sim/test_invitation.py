"""A server that is invited (P1) passes an unanswered fence at once only where the inviting server's own voter gives the lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workers.promotion import Promotion

from .script import load, run

STORY = """# The portal of the active server dies and stays dead, its agent invites the other server.
settings T=0.2 t=0.1 N=4 stop=0.1
at 0 boot both
by 10 active server1
at 19 {fault}
at 20 kill server1 portal
by 23 active server2, owns server2
until 24
"""
SIGNED = "the peer had signed that it stopped, and its own voter has given the lock"


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why each unanswered fence of a run was passed."""
    found: list[str] = []
    real = Promotion._pass_unanswered

    def noted(promotion: Promotion) -> str:
        found.append(real(promotion))
        return found[-1]

    monkeypatch.setattr(Promotion, "_pass_unanswered", noted)
    return found


def told(tmp_path: Path, fault: str, seed: int) -> None:
    path = tmp_path / "story.txt"
    path.write_text(STORY.format(fault=fault))
    run(load(path), seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_its_own_voter_answers_and_its_word_is_enough(tmp_path: Path, passed: Any, seed: int) -> None:
    told(tmp_path, "link_cut_at server2 fence for 2", seed)
    assert passed[0] == SIGNED


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cut_off_before_the_lock_its_word_is_not_enough(tmp_path: Path, passed: Any, seed: int) -> None:
    """It may have taken the role again meanwhile, by its own voter alone."""
    told(tmp_path, "link_cut_at server2 lock for 2", seed)
    assert passed and SIGNED not in passed
