"""``python -m workers.guard``: it demotes, reports, names what is wrong with its configuration, and stays small."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any, Callable, Iterator

import pytest

from workers import guard as guard_module

from .conftest import RedisProcess, Server, wait_until
from .guard_scene import POLL_S, STOP_S, Owner, Scene, freed


@pytest.fixture
def scene(redis_process: RedisProcess, tmp_path: pathlib.Path, serve: Callable[..., Server]) -> Iterator[Scene]:
    with Scene(redis_process, tmp_path, serve) as made:
        yield made


def environment(scene: Scene, services: list[dict[str, Any]]) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(pathlib.Path(guard_module.__file__).parents[1]),
        "FT_REDIS_URL": scene.redis.url,
        "FT_INSTANCE_DIR": str(scene.folder / "instance"),
        "FT_SECRET_KEYS": json.dumps(["0123456789abcdef0123456789abcdef"]),
        "FT_SERVICES": json.dumps(services),
    }


def test_process_demotes_reports_and_is_small(scene: Scene) -> None:
    owner = Owner()
    deadline_s = scene.role(left_s=2.5)
    services: list[dict[str, Any]] = [{"name": "cti", "kind": "http", "url": scene.serve(owner).url}]
    stopped = {"start": ["true"], "stop": ["true"], "status": ["/bin/sh", "-c", "exit 3"]}
    services.append({"name": "a", "kind": "command", **stopped})
    process = subprocess.Popen([sys.executable, "-m", "workers.guard"], env=environment(scene, services))
    try:
        wait_until(lambda: (scene.folder / "instance" / "guard.lease").exists())
        assert (scene.folder / "instance" / "command-a.start").exists(), "shared with the switch worker"
        rollup = pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        pss_kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        assert pss_kib < 20_000
        assert deadline_s <= freed(owner) <= deadline_s + POLL_S + STOP_S + 0.3
        logs = wait_until(lambda: list((scene.folder / "instance" / "logs").glob("FT_REPORT_*.txt")))
        wait_until(lambda: "guard : every service owns nothing" in logs[0].read_text())
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait(5)


def test_process_says_what_is_wrong_with_its_configuration(scene: Scene) -> None:
    argv = [sys.executable, "-m", "workers.guard"]
    environ = environment(scene, [{"name": "cti", "kind": "magic"}])
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "kind" in done.stderr and "Traceback" not in done.stderr


def test_guard_imports_nothing_heavy() -> None:
    heavy = ["celery", "kombu", "sqlalchemy", "flask", "requests", "werkzeug", "jinja2", "redis", "asyncio"]
    code = f"import sys, workers.guard; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == "[]"
