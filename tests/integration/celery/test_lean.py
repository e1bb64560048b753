"""A worker loads of Celery what it uses, whatever else is installed beside it."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from workers.lean import load_celery
load_celery()
import workers.app, celery.apps.worker
print([name for name in ("yaml", "msgpack", "psutil") if name in sys.modules])
import yaml
print(yaml.safe_load("a: 1"))
"""


def test_packages_that_celery_loads_only_because_they_are_there_are_left_out_and_still_there_for_others() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["[]", "{'a': 1}"], done.stderr
