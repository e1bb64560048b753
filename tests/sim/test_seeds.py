"""A thousand seeded sites keep every invariant, and every rule and fault was really exercised."""

from __future__ import annotations

import os

import pytest

from .__main__ import run_many, summary
from .faults import FAULTS, SERVICE_FAULTS
from .mutants import MUTANTS, Mutant, caught_by

SEEDS = int(os.environ.get("FT_SIM_SEEDS", "1000"))
RULES_THAT_ACT = ("C0", "C1", "C2", "C3", "C4", "F1", "F2", "B1", "X1", "I1", "P1", "L1", "W1", "H1")


@pytest.mark.timeout(1200)
def test_a_thousand_random_sites_keep_every_invariant() -> None:
    results = run_many(range(SEEDS))
    text = summary(results, took_s=1.0)
    print(text)
    assert not [r for r in results if r.violation], text
    assert all(r.ticks >= 2 * 150 for r in results), "a seed ran too few ticks"
    covered = {rule for r in results for rule in r.rules}
    assert not [rule for rule in RULES_THAT_ACT if rule not in covered], text
    injected = {name for r in results for name in r.faults}
    assert injected == {fault.__name__ for fault in (*FAULTS, *SERVICE_FAULTS)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_planted_fault_is_caught(mutant: Mutant) -> None:
    assert caught_by(mutant), f"nothing notices: {mutant.name}"
