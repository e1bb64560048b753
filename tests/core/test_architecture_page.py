"""docs/architecture.md names only files that are there."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
FOLDERS = ("ftplugin", "workers", "demo", "tests", "docs")


def test_every_file_that_the_page_names_is_there() -> None:
    there = [path.as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix != ".pyc"]
    named = set(re.findall(r"`([\w./]+(?:\.(?:py|css|txt|md)|/))`", PAGE))
    named |= set(re.findall(r"\]\(([\w-]+\.md)\)", PAGE))
    assert len(named) > 60, named
    missing = [name for name in named if not any(f"{path}/".endswith((f"/{name}", f"/{name}/")) for path in there)]
    assert missing == []


def test_every_package_and_every_folder_of_tests_is_named() -> None:
    packages = {path.parent.name for path in (ROOT / "ftplugin").glob("*/__init__.py")}
    tests = {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")}
    assert {name for name in packages if not re.search(rf"\b{name}\b", PAGE)} == set()
    assert {name for name in tests if f"tests/{name}" not in PAGE} == set()
