"""The doctor's table for people and its document for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from .finding import Status
from .run import Examination

WIDTH_CHARS = 110
WORD_CHARS = 9  # "warning" and two blanks
INDENT = " " * (2 + WORD_CHARS)


def summary(found: Examination) -> str:
    """One line: how many are wrong, warnings, unknown, ok."""
    counts = ", ".join(f"{found.count(status)} {status}" for status in Status)
    return f"{counts}." + ("" if found.configured else " This server is not configured yet.")


def exit_code(found: Examination) -> int:
    """0: ok or warnings only; 1: something is wrong; 2: the node is not configured."""
    return 2 if not found.configured else int(found.count(Status.WRONG) > 0)


def document(found: Examination) -> dict[str, Any]:
    counts = {str(status): found.count(status) for status in Status}
    return {"configured": found.configured, "counts": counts, "findings": [asdict(f) for f in found.findings]}


def table(found: Examination) -> list[str]:
    """Grouped by subject, worst first; ends with the summary."""
    return [*_lines(found), "", summary(found)]


def _lines(found: Examination) -> Iterator[str]:
    subject = None
    for finding in found.findings:
        if finding.subject is not subject:
            if subject is not None:
                yield ""
            subject = finding.subject
            yield subject[:1].upper() + subject[1:]
        first = f"  {finding.status:<{WORD_CHARS}}"
        yield from textwrap.wrap(finding.found, WIDTH_CHARS, initial_indent=first, subsequent_indent=INDENT)
        if finding.todo:
            arrow, below = f"{INDENT}-> ", f"{INDENT}   "
            yield from textwrap.wrap(finding.todo, WIDTH_CHARS, initial_indent=arrow, subsequent_indent=below)
