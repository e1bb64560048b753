"""The whole policy as text, reviewed as a change of behaviour.

    FT_WRITE_GOLDEN=1 python -m pytest tests/core/test_golden_table.py

writes ``policy.golden.txt`` again; look at its diff before committing it.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from ftplugin.core.diagnosis import Diagnosis
from ftplugin.core.policy import TABLE, Rule
from ftplugin.core.vetoes import VETOES
from ftplugin.core.terms import Role, SplitStance

from .cases import ADVERSE, DEAD, PROMOTING, held_by
from .ticks import A, S, S1, S2, U, Ticks, settings

GOLDEN = pathlib.Path(__file__).with_name("policy.golden.txt")


AXES = {
    "this is": (S1, S2),
    "the peer says": tuple(SplitStance),
    "the peer's epoch is": ("lower", "higher"),
    "nobody active for": ("0 ticks", "N ticks"),
    "given up here": ("no", "yes"),
}


def rules_of(role: Role, diagnosis: Diagnosis) -> Iterator[tuple[str, Rule]]:
    """(condition, rule): one for a fixed row; one per outcome of a row that looks closer, by what it depends on."""
    row = TABLE[role, diagnosis]
    if isinstance(row, Rule):
        yield "", row
        return
    found: dict[tuple[str, ...], Rule] = {}
    for point in product(*AXES.values()):
        me, stance, epoch, streak, given_up = point
        t = Ticks(S1 if me == S1 else S2, role)
        said = t.good(A if role is A else U, stance=stance, epoch=1 if epoch == "lower" else 9)
        view = t.view(peer=said, services=DEAD, given_up=("cti",) if given_up == "yes" else ())
        found[point] = row(view, replace(t.memory, nobody_streak=99 if streak == "N ticks" else 0), settings())
    matters = [
        i
        for i in range(len(AXES))
        if any(found[p] != found[(*p[:i], value, *p[i + 1 :])] for p in found for value in list(AXES.values())[i])
    ]
    lines = {tuple(point[i] for i in matters): rule for point, rule in found.items()}
    for point, rule in lines.items():
        yield ", ".join(f"{list(AXES)[i]} {value or 'nothing'}" for i, value in zip(matters, point, strict=True)), rule


def line(role: Role, diagnosis: Diagnosis, rule: Rule, condition: str) -> str:
    actions = " + ".join(rule.actions) or "-"
    return f"{role:<9} {diagnosis.name:<13} {rule.id:<3} {actions} | {rule.why}" + (
        f" [{condition}]" if condition else ""
    )


def dump() -> str:
    lines = ["# (role, diagnosis) -> rule, actions | why", ""]
    for role in (U, S, A):
        for diagnosis in Diagnosis:
            lines += [line(role, diagnosis, rule, condition) for condition, rule in rules_of(role, diagnosis)]
        lines.append("")
    lines += [
        "# vetoes, in the order in which they are asked: " + ", ".join(VETOES),
        "# what holds each promoting rule back",
        "",
    ]
    for rule in PROMOTING:
        lines.append(f"{rule.id} {rule.why}")
        lines += [f"    {adverse:<26} {held_by(rule, adverse) or '-'}" for adverse in ADVERSE]
    return "\n".join(lines) + "\n"


def test_the_policy_is_the_reviewed_one() -> None:
    text = dump()
    if os.environ.get("FT_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    assert (
        text.splitlines() == GOLDEN.read_text().splitlines()
    ), "the policy changed: FT_WRITE_GOLDEN=1 writes it, review the diff"
