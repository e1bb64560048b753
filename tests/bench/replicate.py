"""Replication against what it has to do at least: rows against a plain bulk upsert, files against cp and sha256sum."""

from __future__ import annotations

import contextlib
import gc
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import Session

from ftplugin import protocol
from ftplugin.core.terms import Designation, Role
from ftplugin.core.view import NodeState
from ftplugin.replicate.engine import Replicator
from tests.integration.replicate.conftest import Base, Couple, Group, Kind, User, a_couple

from .figures import BenchError, Figure, Options, Section

ROWS = 10_000
FILES, BYTES = 2_000, 500 * 1_000_000
RATIO_MAX, MEMORY_MB_MAX, IDLE_BYTES_MAX = 3.0, 50.0, 200.0
COMMAND_LIMIT_S = 300


def measure(options: Options) -> Section:
    names = ("upsert", "rows", "rows, read again", "rows MB", "copy", "files", "files MB")
    kept: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.runs):
        with _couple() as couple:
            _rows(couple, options, kept)
            _files(couple, options, kept)
        options.say("   ".join(f"{name} {values[-1]:.2f}" for name, values in kept.items()))
    rows = tuple(mine / plain for mine, plain in zip(kept["rows"], kept["upsert"], strict=True))
    again = tuple(mine / plain for mine, plain in zip(kept["rows, read again"], kept["upsert"], strict=True))
    files = tuple(mine / plain for mine, plain in zip(kept["files"], kept["copy"], strict=True))
    return Section(
        title="Replication",
        how=(
            f"Two real portals in one process, each with its own Redis and databases, over HTTP on loopback. {ROWS} rows of "
            "eight columns (text, time, decimal, JSON, enum) are changed on one: the time from the look there to the last "
            "commit on the other, both ledgers written. Against it one ORM bulk upsert of the same rows into a copy. "
            "Nobody else writes there in between, so its rows are not read again before they are written; the second ratio is "
            "with another program's commit in between. "
            "The objects that the benchmark itself holds are frozen for the garbage collector on both sides.",
            f"{FILES} files with together {BYTES // 10**6} MB: reading and hashing them on one, transfer, check, and writing "
            "to the disk on the other. Against it `cp -r` and then `sha256sum` of all of them, in the same run and folder. "
            "Memory is the growth of the process's largest resident size, with both portals in it.",
        ),
        figures=(
            Figure(name=f"{ROWS} changed rows", unit="s", values=tuple(kept["rows"])),
            Figure(name="one bulk upsert of them", unit="s", values=tuple(kept["upsert"])),
            Figure(name="rows: replication ÷ upsert", unit="", values=rows, bound=RATIO_MAX),
            Figure(name="the same, with a commit in between", unit="", values=again),
            Figure(name="rows: memory", unit="MB", values=tuple(kept["rows MB"]), bound=MEMORY_MB_MAX, digits=0),
            Figure(name=f"{FILES} files", unit="s", values=tuple(kept["files"])),
            Figure(name="cp and sha256sum of them", unit="s", values=tuple(kept["copy"])),
            Figure(name="files: replication ÷ (cp + sha256sum)", unit="", values=files, bound=RATIO_MAX),
            Figure(name="files: memory", unit="MB", values=tuple(kept["files MB"]), bound=MEMORY_MB_MAX, digits=0),
            Figure(name="idle: bytes a tick", unit="B", values=(_idle_bytes(),), bound=IDLE_BYTES_MAX, digits=0),
        ),
    )


@contextlib.contextmanager
def _couple() -> Iterator[Couple]:
    """Two portals whose own threads are still: what is measured runs here."""
    ensure, Replicator.ensure = Replicator.ensure, lambda replicator: None  # type: ignore[method-assign,assignment]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ft-bench-"))
    try:
        with a_couple(folder) as couple:
            yield couple
    finally:
        Replicator.ensure = ensure  # type: ignore[method-assign]
        shutil.rmtree(folder)


def _timed(work: Callable[[], Any]) -> float:
    gc.collect()
    gc.freeze()  # what the benchmark itself holds is no garbage of either side
    start_s = time.perf_counter()
    work()
    took_s = time.perf_counter() - start_s
    gc.unfreeze()
    return took_s


def _peak_mb(work: Callable[[], float]) -> tuple[float, float]:
    """(what ``work`` returns, growth of the largest resident size meanwhile)."""
    gc.collect()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # VmHWM counts from here
    before = _resident_kb("VmRSS")
    took_s = work()
    return took_s, max(0.0, (_resident_kb("VmHWM") - before) * 1024 / 1e6)


def _resident_kb(name: str) -> int:
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise BenchError(f"/proc/self/status has no {name}")


def _rows(couple: Couple, options: Options, kept: dict[str, list[float]]) -> None:
    rows = [_row(n) for n in range(ROWS)]
    for node in couple:
        node.edit(lambda session: session.add(Group(id=1, name="staff")))
    _upsert(couple.one.engine, rows)
    first_mb = _peak_mb(lambda: _timed(lambda: couple.settle(active=True)))[1]  # all of them, new
    plain = create_engine(f"sqlite:///{couple.one.folder.parent}/plain.sqlite3")
    Base.metadata.create_all(plain)
    _upsert(plain, rows)
    for row in rows:
        row["name"] += " changed"
    kept["upsert"].append(_timed(lambda: _upsert(plain, rows)))
    plain.dispose()
    _upsert(couple.one.engine, rows)

    def replicate() -> float:
        def work() -> None:
            couple.one.scan()
            if couple.two.pull()["users"].taken != ROWS:
                raise BenchError("not every row was taken")

        return _timed(work)

    took_s, grown_mb = _peak_mb(replicate)
    kept["rows"].append(took_s)
    kept["rows MB"].append(max(first_mb, grown_mb))
    for row in rows:
        row["name"] += " again"
    _upsert(couple.one.engine, rows)
    couple.two.edit(lambda session: session.add(Group(id=2, name="written since the look")))
    kept["rows, read again"].append(replicate())
    if couple.one.roots()["users"] != couple.two.roots()["users"]:
        raise BenchError("the two do not hold the same")


def _row(n: int) -> dict[str, Any]:
    import datetime
    import decimal

    born = datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=n)
    facts: dict[str, Any] = {
        "id": n,
        "group_id": 1,
        "name": f"user {n}",
        "born": born,
        "balance": decimal.Decimal(n) / 4,
    }
    return {**facts, "options": {"language": "fr", "n": n}, "kind": Kind.PHONE, "enabled": n % 2 == 0}


def _upsert(engine: Any, rows: list[dict[str, Any]]) -> None:
    with Session(engine) as session:
        statement = upsert(User)
        values = {name: getattr(statement.excluded, name) for name in rows[0] if name != "id"}
        session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values), rows)
        session.commit()


def _files(couple: Couple, options: Options, kept: dict[str, list[float]]) -> None:
    chance = random.Random(options.seed)
    base = couple.one.folder.parent / "source"
    for n in range(FILES):
        path = base / f"{n % 50}" / f"{n}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(BYTES // FILES))
    os.utime(base)
    _run("cp", "-r", f"{base}/.", str(couple.one.folder))

    def copy() -> None:
        _run("cp", "-r", str(base), str(base.with_name("copy")))
        _run("sh", "-c", f"find {base.with_name('copy')} -type f -print0 | xargs -0 sha256sum")

    kept["copy"].append(_timed(copy))
    shutil.rmtree(base.with_name("copy"))
    couple.two.scan()

    def replicate() -> float:
        def work() -> None:
            couple.one.scan(active=True)
            found = couple.two.pull()["files"]
            if found.behind or found.problems or found.error:
                raise BenchError(f"not every file was taken: {found}")

        return _timed(work)

    took_s, grown_mb = _peak_mb(replicate)
    kept["files"].append(took_s)
    kept["files MB"].append(grown_mb)
    if couple.one.roots()["files"] != couple.two.roots()["files"]:
        raise BenchError("the two do not hold the same")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=COMMAND_LIMIT_S)


def _idle_bytes() -> float:
    """How much longer the signed state is for the digest of everything."""
    state = NodeState(designation=Designation.SERVER1, role=Role.STANDBY, version="1.0")
    plain, marked = (
        protocol.make_state(["k" * 32], found, "n" * 12, "c" * 12)
        for found in (state, replace(state, content_mark="0123456789ab"))
    )
    return float(len(marked) - len(plain))
