"""What decides imports no clock, no socket, no file and nothing that has them (ftplugin/core/README.md)."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

import ftplugin

FOLDER = pathlib.Path(ftplugin.__file__).parent
STANDARD = {"__future__", "collections", "collections.abc", "dataclasses", "datetime", "enum", "functools", "heapq"}
STANDARD |= {"ipaddress", "math", "re", "typing", "urllib.parse", "zlib"}
NOW = {"now", "today", "utcnow"}  # the only clock in these


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("package", ["core", "forecast"])
def test_a_package_that_decides_imports_nothing_that_is_not_pure(package: str) -> None:
    wrong = []
    for file in sorted((FOLDER / package).glob("*.py")):
        tree = ast.parse(file.read_text())
        for name in imported(tree):
            own = name.startswith("ftplugin.core") or (name.startswith(".") and not name.startswith(".."))
            if not own and name not in STANDARD:
                wrong.append(f"{file.name} imports {name}")
        clocks = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & NOW
        wrong += [f"{file.name} asks for {name}" for name in clocks if "datetime" in set(imported(tree))]
    assert wrong == []
