from __future__ import annotations

import pathlib
from typing import Iterator

import pytest

from .node_process import NodeProcesses


@pytest.fixture
def node(tmp_path: pathlib.Path) -> Iterator[NodeProcesses]:
    processes = NodeProcesses(tmp_path)
    processes.set(interval_s=0.5, timeout_s=0.5, threshold=3)
    try:
        yield processes
    finally:
        processes.close()
