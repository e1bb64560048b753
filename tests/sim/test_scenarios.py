"""Every story of ``scenarios/`` comes out as written. ``FT_STORY=1`` prints each story (with ``pytest -s``)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .script import ScriptError, ScriptFailure, load, run

FOLDER = Path(__file__).with_name("scenarios")
SCENARIOS = [load(path) for path in sorted(FOLDER.glob("*.txt"))]


@pytest.mark.parametrize(
    ("scenario", "seed"), [pytest.param(s, seed, id=f"{s.name}-{seed}") for s in SCENARIOS for seed in s.seeds]
)
def test_scenario(scenario: object, seed: int) -> None:
    story = run(scenario, seed)  # type: ignore[arg-type]
    if os.environ.get("FT_STORY"):
        print("\n".join(story))


def test_every_scenario_says_what_it_is_about() -> None:
    assert [s.name for s in SCENARIOS if not s.title] == []


def write(folder: Path, text: str) -> Path:
    path = folder / "story.txt"
    path.write_text(text)
    return path


def test_an_expectation_that_does_not_hold_is_told_with_line_and_story(tmp_path: Path) -> None:
    path = write(tmp_path, "# nobody boots\nsettings T=1\nby 3 active server1\n")
    with pytest.raises(ScriptFailure, match="line 3 at 3.00 s: expected active server1; found active nobody"):
        run(load(path), 1)


@pytest.mark.parametrize(
    "line",
    [
        "at 1 explode server1",
        "by 1 happy server1",
        "settings U=1",
        "whenever",
        "at 1 boot server3",
        "keep seed=x",
        "at 1 kill server1 cat",
    ],
)
def test_a_line_that_cannot_be_read_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises((ScriptError, ValueError)):
        run(load(write(tmp_path, f"# story\n{line}\nuntil 2\n")), 1)


def test_settings_that_the_product_refuses_are_refused_with_the_field_and_the_way_out(tmp_path: Path) -> None:
    path = write(tmp_path, "# no lease is left\nsettings T=1 t=1 N=3 stop=5\nat 0 boot both\nuntil 9\n")
    with pytest.raises(ScriptError, match="threshold leaves an active server no time to stop .* at least 7 failures"):
        run(load(path), 1)
