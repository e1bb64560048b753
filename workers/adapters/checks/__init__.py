"""The checks of FT_HEALTH, made of its tables. A kind is imported when a table names it: the tick worker's memory is bounded."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from ftplugin.health.checks import Check
from ftplugin.health.tables import HealthTable

HOMES = {"axl": "axl", "tcp": "tcp", "http": "web", "disk": "local", "database": "local", "command": "local"}


def build(tables: Sequence[HealthTable]) -> list[Check]:
    """One check for each table; nothing is asked yet."""
    return [_check(table) for table in tables]


def _check(table: HealthTable) -> Check:
    module = importlib.import_module(f".{HOMES[table.kind]}", __name__)
    return Check(
        name=table.name,
        call=getattr(module, table.kind)(table),
        timeout_s=table.timeout_s,
        shared=table.shared,
    )
