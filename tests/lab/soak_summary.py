"""The summary of a soak, and its section of docs/benchmarks.md."""

from __future__ import annotations

import pathlib
from collections import Counter
from dataclasses import dataclass, field

from tests.bench.figures import Figure, Section

from .soak_judge import Bounds

MANUAL = "M1"
STARTS = ("C0", "C2", "C3")  # who starts alone or first has not switched


@dataclass(kw_only=True)
class Summary:
    """What a soak saw. Times in seconds."""

    seed: int
    witness: bool
    quiet: bool
    bounds: Bounds
    rounds: int = 0
    lasted_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    promotions: Counter[str] = field(default_factory=Counter)  # by rule
    none_s: float = 0.0
    none_outside_longest_s: float = 0.0
    both_allowed_s: float = 0.0
    both_s: float = 0.0
    owners_allowed: int = 0
    owners: int = 0
    failovers_s: list[float] = field(default_factory=list)
    returns_s: list[float] = field(default_factory=list)
    stall_s: float = 0.0
    violations: list[str] = field(default_factory=list)
    timeline: pathlib.Path | None = None

    @property
    def manual(self) -> int:
        return self.promotions[MANUAL]

    @property
    def starts(self) -> int:
        return sum(self.promotions[rule] for rule in STARTS)

    @property
    def automatic(self) -> int:
        return self.promotions.total() - self.manual - self.starts


def section_of(summary: Summary) -> Section:
    """For docs/benchmarks.md."""
    return _quiet(summary) if summary.quiet else _faults(summary)


def _title(summary: Summary, what: str) -> str:
    return f"Soak{what}, {'with' if summary.witness else 'without'} a witness, {summary.lasted_s / 60:.3g} minutes"


def _quiet(summary: Summary) -> Section:
    return Section(
        title=_title(summary, " without faults"),
        how=(
            "`make soak QUIET=1`: the lab's site at T = 1 s, N = 3, t = 1 s, each host a network namespace, and four busy "
            "loops on the machine's cores beside it. Nothing else is done to it. At the end, under the same load, the "
            "active node is killed with everything on it: the control. Its bound is I-B with "
            "2 T for an agent alone and 3 s for a shared machine.",
        ),
        figures=(
            Figure(name="switches", unit="", values=(summary.promotions.total(),), bound=0, digits=0),
            *_both(summary),
            Figure(name="none active, in all", unit="s", values=(summary.none_s,)),
            Figure(
                name="control: the other server is active",
                unit="s",
                values=tuple(summary.failovers_s) or (float("inf"),),
                bound=summary.bounds.failover_s,
            ),
            *_end(summary),
        ),
    )


def _faults(summary: Summary) -> Section:
    allowed = (
        "With a witness two are never allowed to be active."
        if summary.witness
        else "Two may be active while only the link between the nodes is cut (I-C), until the end of the cut and "
        f"{summary.bounds.decide_s:.1f} s for one to yield; that is counted apart."
    )
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(summary.faults.items()))
    rules = ", ".join(f"{rule} {count}" for rule, count in sorted(summary.promotions.items()))
    return Section(
        title=_title(summary, ""),
        how=(
            f"`make soak SEED={summary.seed}`: {summary.rounds} rounds on the lab's site at T = 1 s, N = 3, t = 1 s, each "
            "host a network namespace. A round is one or two random faults at a time, each healed after 1 to 10 s; then "
            "the pair must come back by itself to exactly one active server, which owns its service and is served by the "
            "VIP, and nothing may move while it is quiet. Both nodes are asked every 20 ms on their own hosts; owners "
            f"are the call manager's. {allowed}",
            f"Faults: {kinds}. Promotions by rule: {rules or 'none'}.",
        ),
        figures=(
            Figure(name="faults", unit="", values=(summary.faults.total(),), digits=0),
            Figure(name="switches, automatic", unit="", values=(summary.automatic,), digits=0),
            Figure(name="switches, manual", unit="", values=(summary.manual,), digits=0),
            Figure(name="promotions at a start", unit="", values=(summary.starts,), digits=0),
            Figure(name="none active, in all", unit="s", values=(summary.none_s,)),
            Figure(name="none active, longest while one could be", unit="s", values=(summary.none_outside_longest_s,)),
            *_both(summary),
            *_slowest("failover from one fault to `ACTIVE`", summary.failovers_s, summary.bounds.failover_s),
            *_slowest("way back after healing", summary.returns_s, summary.bounds.back_s),
            *_end(summary),
        ),
    )


def _both(summary: Summary) -> tuple[Figure, ...]:
    return (
        Figure(name="two active, allowed (I-C)", unit="s", values=(summary.both_allowed_s,)),
        Figure(name="two active, not allowed", unit="s", values=(summary.both_s,), bound=0),
        Figure(name="ports with two owners, allowed (I-C)", unit="", values=(summary.owners_allowed,), digits=0),
        Figure(name="ports with two owners, not allowed", unit="", values=(summary.owners,), bound=0, digits=0),
    )


def _slowest(name: str, values_s: list[float], bound_s: float) -> tuple[Figure, ...]:
    return (Figure(name=name, unit="s", values=tuple(values_s), bound=bound_s),) if values_s else ()


def _end(summary: Summary) -> tuple[Figure, ...]:
    return (
        Figure(name="longest stall of the machine", unit="s", values=(summary.stall_s,)),
        Figure(name="violations", unit="", values=(len(summary.violations),), bound=0, digits=0),
    )
