"""The services answer their controllers: HTTP ones their status page, command ones by the exit code of ``status``.

The other kinds are asked by the program that the workers bring for that: the plugin itself does not import them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ftplugin.core.settings import SettingsError, parse_address

from .finding import Finding, Place, Report, Status, Subject
from .portal_http import FAILURES, fetch, in_words

STATES = ("standby", "starting", "active", "stopping")
EXIT_ACTIVE, EXIT_STOPPED = 0, 3
CHECK = ("-m", "workers.check_services")


def config(where: Place) -> list[Finding]:
    """FT_SERVICES can be read at all."""
    report = Report(id="services.list", subject=Subject.SERVICES)
    tables = where.portal.config.services
    if not tables:
        todo = "List in FT_SERVICES what may run on one server only (docs/services.md), on both servers."
        return [report.warning("FT_SERVICES is empty: a switch moves nothing but the role.", todo)]
    names = [str(table.get("name", "")) for table in tables]
    if not all(names) or len(set(names)) != len(names):
        return [report.wrong(f"FT_SERVICES has a name that is empty or twice: {names}.", "Give each its own name.")]
    return [report.ok(f"FT_SERVICES lists {', '.join(names)}.")]


def one_by_one(where: Place) -> Iterator[tuple[str, Subject, Callable[[Place], list[Finding]]]]:
    """A check for each service and for the portal's control, so that none waits for another."""
    for number, table in enumerate(where.portal.config.services, start=1):
        name = str(table.get("name") or number)
        yield f"service {name}", Subject.SERVICES, partial(_asked, name=name, table=table)
    if where.portal.config.portal:
        yield "portal control", Subject.SERVICES, _portal


def _portal(where: Place) -> list[Finding]:
    """FT_PORTAL names the portal that runs: the watchdog restarts what it names."""
    report = Report(id="portal control", subject=Subject.SERVICES)
    found = _by_workers(where, report, "portal", where.portal.config.portal, "--portal")
    if found.status is Status.OK and not found.found.startswith(("portal answers: active", "portal answers: starting")):
        todo = "Let FT_PORTAL name the unit, program or commands by which this portal runs (docs/services.md)."
        return [report.wrong(f"FT_PORTAL names what does not run: {found.found}", todo)]
    return [found]


def _asked(where: Place, name: str, table: Mapping[str, Any]) -> list[Finding]:
    report = Report(id=f"service {name}", subject=Subject.SERVICES)
    if table.get("kind") == "http":
        return [_http(where, report, name, table)]
    if table.get("kind") == "command":
        return [_command(where, report, name, table)]
    return [_by_workers(where, report, name, table)]


def _http(where: Place, report: Report, name: str, table: Mapping[str, Any]) -> Finding:
    url = str(table.get("url", ""))
    parts = urlsplit(url)
    todo = f"Start {name}, or correct its url and token in FT_SERVICES."
    token = str(table.get("token", ""))
    try:
        address = parse_address("url", f"{parts.scheme}://{parts.netloc}")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        page = fetch(address, parts.path.rstrip("/") + "/status", where.limit_s, headers)
    except SettingsError as error:
        return report.wrong(f"{name}: {error.message}, not {url!r}.", todo)
    except FAILURES as error:
        return report.wrong(f"{name} at {url}: {in_words(error, where.limit_s)}.", todo)
    if page.status in (401, 403):
        return report.wrong(f"{name} at {url} refuses the token (HTTP status {page.status}).", todo)
    try:
        state = json.loads(page.body).get("state")
    except (ValueError, AttributeError):
        state = None
    if page.status != 200 or state not in STATES:
        found = f"{name} at {url} gives HTTP status {page.status} and state {state!r}."
        return report.wrong(found, "It must answer GET /status as docs/services.md says.")
    return report.ok(f"{name} answers: {state}.")


def _command(where: Place, report: Report, name: str, table: Mapping[str, Any]) -> Finding:
    argv = table.get("status")
    if not isinstance(argv, (list, tuple)) or not argv or not all(isinstance(word, str) for word in argv):
        return report.wrong(
            f"{name} has no status command.", 'Give status as a list, as ["systemctl", "is-active", "x"].'
        )
    shown, todo = " ".join(argv), f"Run its status command by hand, as the user of the workers, and cure {name}."
    environ = {key: value for key, value in os.environ.items() if not key.startswith("FT_")}  # no secret goes out
    try:
        process = subprocess.Popen(  # nosec B603 # by the administrator's configuration, no shell
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return report.wrong(f"{name}: {shown!r} cannot be run: {error}.", todo)
    try:
        code = process.wait(where.limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(1)
        return report.wrong(f"{name}: {shown!r} did not end within {where.limit_s:g} s.", todo)
    if code not in (EXIT_ACTIVE, EXIT_STOPPED):
        return report.wrong(f"{name}: {shown!r} ends with {code}, which counts as dead.", todo)
    return report.ok(f"{name} answers: {'active' if code == EXIT_ACTIVE else 'stopped, its standby'}.")


def _by_workers(where: Place, report: Report, name: str, table: Mapping[str, Any], *flags: str) -> Finding:
    by_hand = f"Run python {' '.join(CHECK)} by hand, as the user of the workers, and cure {name}."
    environ = {key: value for key, value in os.environ.items() if not key.startswith("FT_")}
    try:
        process = subprocess.Popen(  # nosec B603 # by the administrator's configuration, no shell
            [sys.executable, *CHECK, "--table", *flags, f"--prefix={where.portal.config.prefix}"],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        return report.unknown(f"{name} could not be asked: {error}.", by_hand)
    try:
        said, _ = process.communicate(json.dumps(dict(table), default=str), where.limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return report.unknown(f"{name} did not answer its controller within {where.limit_s:g} s.", by_hand)
    try:
        found = json.loads(said)
        state, detail = str(found["state"]), str(found["detail"])
    except (ValueError, LookupError, TypeError):
        return report.unknown(f"{name} could not be asked: {' '.join(CHECK)} ended with {process.returncode}.", by_hand)
    why, key = f": {detail.rstrip('.')}" if detail else "", "FT_PORTAL" if flags else "FT_SERVICES"
    if state == "wrong":
        return report.wrong(f"{name} is refused{why}.", f"Correct it in {key} (docs/services.md).")
    if state == "unknown":
        return report.wrong(f"{name} does not answer its controller{why}.", by_hand)
    return report.ok(f"{name} answers: {state}{why}.")
