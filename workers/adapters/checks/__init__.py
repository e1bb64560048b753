"""The checks of FT_HEALTH, made of its tables. A kind is imported when a table names it: the tick worker's memory is bounded."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftplugin.health.checks import Check
from ftplugin.health.tables import HealthTable

FetchMany = Callable[[Sequence[str]], Mapping[str, dict[str, Any] | None]]
HOMES = {"axl": "axl", "tcp": "tcp", "http": "web", "disk": "local", "database": "local", "command": "local"}
OF_REDIS = {"probers": "probers"}  # kinds that look at what the node's Redis holds


def build(tables: Sequence[HealthTable], fetch_many: FetchMany) -> list[Check]:
    """One check for each table; nothing is asked yet. fetch_many: documents of the node's Redis."""
    return [_check(table, fetch_many) for table in tables]


def _check(table: HealthTable, fetch_many: FetchMany) -> Check:
    module = importlib.import_module(f".{(HOMES | OF_REDIS)[table.kind]}", __name__)
    make = getattr(module, table.kind)
    return Check(
        name=table.name,
        call=make(table, fetch_many) if table.kind in OF_REDIS else make(table),
        timeout_s=table.timeout_s,
        shared=table.shared,
    )
