"""A switchover order (rule M1), and what speaks against one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from ftplugin.core.terms import Designation
from ftplugin.said import Said

NONE = Said("none")


def new_order(target: Designation, expected_active: str | None, actor: str, reason: str) -> dict[str, Any]:
    """A switchover order (rule M1) for the switch worker."""
    return {
        "kind": "manual",
        "rule": "M1",
        "target": str(target),
        "expected_active": expected_active or None,
        "actor": actor[:200],
        "reason": reason[:500],
        "switch_id": str(uuid.uuid4()),
    }


def order_problem(status: Mapping[str, Any], target: Designation, expected_active: str | None) -> str:
    """Why a switchover to ``target`` cannot be asked for now; empty when it can."""
    if status["problem"]:
        return Said("%(problem)s Nobody here could carry the order out.", problem=status["problem"])
    if (expected_active or None) != status["active"]:
        return Said(
            "The active server is %(active)s now, not %(expected)s as you expected. Look at the status again, then decide.",
            active=status["active"] or NONE,
            expected=expected_active or NONE,
        )
    if status["active"] == target:
        return Said("%(server)s is active already.", server=target)
    return ""
