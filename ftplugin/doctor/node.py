"""This server's agent, programs, database, disk, and the switches that people forget: pause, drain, hold, freeze."""

from __future__ import annotations

import os
import pathlib
import shutil
import time
from collections.abc import Iterator

from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError

from ftplugin import local_programs
from ftplugin.health import reading
from ftplugin.standing import in_force
from ftplugin.state import AGENT, agent_age_s
from ftplugin.store.database import DatabaseUnreachable
from ftplugin.store.tables import EVENT

from .finding import Answers, Finding, Place, Report, Subject

FREE_WRONG_BYTES, FREE_WARNING_BYTES = 50 * 2**20, 500 * 2**20  # below the first the health check fails as well
FROZEN = ("T", "t")
PROGRAMS = ("tick", "switch", "guard")


def agent(where: Place, answers: Answers) -> list[Finding]:
    """The agent here ticks, runs by the settings in the database, and its health checks are good."""
    report = Report(id="server.agent", subject=Subject.SERVER)
    if answers.snapshot.role is None:
        return [report.unknown("Whether the agent ticks is not known: Redis does not answer.", "Make Redis answer.")]
    clock, document, stale_s = where.portal.clock, answers.document(AGENT), where.timing.stale_s
    age_s = agent_age_s(document, clock.boot_id, clock.now_s())
    todo = "Start tick worker and beat, and read why they stopped: 'ft log' and their supervisor's log."
    if age_s is None:
        return [report.wrong("The agent has not ticked since this server was started.", todo)]
    if age_s > stale_s:
        return [report.wrong(f"The agent last ticked {age_s:.0f} s ago, limit {stale_s:g} s.", todo)]
    findings = [report.ok(f"The agent ticked {age_s:.1f} s ago.")]
    runs_by = document.get("settings_revision")
    if isinstance(runs_by, int) and runs_by != where.revision and not where.settings_error:
        found = f"The agent runs by settings revision {runs_by}, the database has {where.revision}."
        todo = "Give agent, portal and this command the same FT_DATABASE_URL; restart the agent if it stays so."
        findings.append(report.warning(found, todo))
    return findings + _health(where, answers)


def _health(where: Place, answers: Answers) -> list[Finding]:
    """What mod=IPSWS says, what is degraded, and which check trusts any certificate."""
    health, findings = reading.of(where.portal, answers.snapshot, where.settings), []
    report = Report(id="server.health", subject=Subject.SERVER)
    blind = [table.name for table in where.portal.config.health if table.options.get("verify") is False]
    if blind:
        found = f"Health checks that trust any certificate: {', '.join(blind)}."
        todo = "Name the CA's file as ca_file in their tables of FT_HEALTH, and take verify = false out."
        findings.append(report.warning(found, todo))
    if health.degraded:
        todo = "Cure what it names. It makes nothing KO, so nothing switches for it."
        findings.append(report.warning(f"Degraded: {'; '.join(health.degraded)}.", todo))
    if health.ok:
        return [*findings, report.ok("The agent's health checks are good (mod=IPSWS says OK).")]
    bad = "; ".join(health.failed)
    make = report.wrong if where.settings.application_error else report.warning
    return [*findings, make(f"mod=IPSWS says KO: {bad}.", "Cure what it names; then it says OK by itself.")]


def modes(where: Place, answers: Answers) -> list[Finding]:
    """Hot Standby mode, and what holds automatic switching back."""
    report = Report(id="server.mode", subject=Subject.SERVER)
    clock, agent_says, findings = where.portal.clock, answers.document(AGENT), list[Finding]()
    if not where.settings_error and not where.settings.enabled:
        todo = "Turn it on when both servers are ready: 'ft settings set enabled=yes'."
        findings.append(report.warning("Hot Standby mode is off: nothing switches.", todo))
    if answers.snapshot.role is None:
        found = "Whether it is paused, drained, frozen or held is not known: Redis does not answer."
        return [*findings, report.unknown(found, "Make Redis answer.")]
    if pause := in_force(answers.document("pause"), clock.boot_id, clock.now_s()):
        found = f"Automatic switching is paused by {pause.get('owner', '?')}: {pause.get('reason', '')}."
        findings.append(report.warning(found, "End it: 'ft resume'."))
    if answers.document("drain"):
        found = f"This server is drained by {answers.document('drain').get('owner', '?')}: it is never promoted."
        findings.append(report.warning(found, "Make it eligible again: 'ft drain --end'."))
    age_s = agent_age_s(agent_says, clock.boot_id, clock.now_s())
    if age_s is None or age_s > where.timing.stale_s:
        found = "Whether automatic switches are frozen or held is not known: the agent does not tick."
        return [*findings, report.unknown(found, "Start the agent first.")]
    if agent_says.get("frozen"):
        found = "Too many switches: automatic ones are frozen."
        findings.append(report.warning(found, "Find out why, then 'ft acknowledge-freeze'."))
    if agent_says.get("manual_hold"):
        found = "Since the last switchover failback and the VIP rule are held."
        findings.append(report.warning(found, "Release it when you are done: 'ft release-hold'."))
    return findings or [report.ok("Hot Standby mode is on and nothing holds automatic switching back.")]


def database(where: Place) -> list[Finding]:
    """It takes a write, which is rolled back: epoch and journal are durable before anything acts."""
    report = Report(id="server.database", subject=Subject.SERVER)
    base = where.portal.database
    started_s = time.monotonic()
    try:
        base.prepare(limit_s=0.0)
        with base.engine.connect() as connection:
            connection.execute(insert(EVENT).values(at_wall_s=time.time(), name="doctor", facts={}))
            connection.rollback()
    except (SQLAlchemyError, DatabaseUnreachable, OSError) as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        todo = "Make it answer and let this user write to it: without it no server is promoted."
        return [report.wrong(f"The database {base.shown_url} cannot be written: {cause}.", todo)]
    took_ms = (time.monotonic() - started_s) * 1000
    return [report.ok(f"The database {base.shown_url} can be written ({took_ms:.0f} ms).")]


def disk(where: Place) -> list[Finding]:
    """Room for database and logs in the instance folder."""
    report = Report(id="server.disk", subject=Subject.SERVER)
    folder = where.portal.config.instance_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free, inodes = shutil.disk_usage(existing).free, os.statvfs(existing)
    found = f"{free // 2**20} MiB free in {folder}"
    todo = "Make room, or lower FT_LOG_DAYS: a full disk makes the health checks fail and stops promotions."
    if free < FREE_WRONG_BYTES:
        return [report.wrong(f"{found}, at least {FREE_WRONG_BYTES // 2**20} MiB are needed.", todo)]
    if inodes.f_files and not inodes.f_favail:
        return [report.wrong(f"No file can be made in {folder}: no inode is left.", todo)]
    if free < FREE_WARNING_BYTES:
        return [report.warning(f"{found}.", todo)]
    return [report.ok(f"{found}.")]


def programs(where: Place) -> list[Finding]:
    """Guard and workers, if this process can see them at all: in a container of their own it cannot."""
    seen: dict[str, list[tuple[int, str]]] = {}
    for name, pid, _ in local_programs.running():
        seen.setdefault(name, []).append((pid, _state_of(pid)))
    findings = []
    for name in PROGRAMS:
        report = Report(id=f"server.{name}", subject=Subject.SERVER)
        what = "guard" if name == "guard" else f"{name} worker"
        command = "python -m workers.guard" if name == "guard" else f"python -m workers {name}"
        running = seen.get(name, [])
        frozen = [pid for pid, state in running if state in FROZEN]
        if frozen:
            todo = f"Resume it ('kill -CONT {frozen[0]}') or restart it."
            findings.append(report.wrong(f"The {what} (pid {frozen[0]}) is stopped by a signal.", todo))
        elif running:
            findings.append(report.ok(f"The {what} runs (pid {', '.join(str(pid) for pid, _ in running)})."))
        elif seen:
            todo = f"Start it under its supervisor: '{command}'."
            findings.append(report.wrong(f"No {what} runs here, though other programs of this node do.", todo))
        else:
            todo = f"Look where it should run, for '{command}'."
            findings.append(report.unknown(f"From here no {what} can be seen.", todo))
    return [*findings, *_keys(where)]


def _keys(where: Place) -> Iterator[Finding]:
    """Where a file holds the keys, every program here reads it."""
    report = Report(id="server.keys", subject=Subject.SERVER)
    path = where.portal.config.secrets.keys_file
    behind = local_programs.with_own_keys(where.portal.config.instance_dir) if path is not None else []
    if behind:
        todo = "Take FT_SECRET_KEYS out of its environment and restart it; until then no key can be rotated."
        yield report.wrong(
            f"{', '.join(behind)}: has FT_SECRET_KEYS and does not read {path}, as others here do.", todo
        )


def _state_of(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
