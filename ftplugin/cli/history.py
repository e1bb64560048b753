"""``ft history``, ``ft log`` and ``ft zip-logs``: twins of the history and log pages."""

from __future__ import annotations

import datetime
import json
import pathlib
import shutil
import sys
import time
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from .common import REFUSED, SOURCE, UNREACHABLE, WRONG, actor_name, fail, json_option, node_of, say
from ..history import export
from ..history.story import Incident
from ..history.query import QueryError, id_of, query_of
from ..store.database import DatabaseUnreachable

POLL_S = 0.5
EXIT_HISTORY = (
    "Exit codes: 0 shown, also when the other server's part is missing (it says so, and JSON has complete: false); "
    "1 no such incident; 2 wrong usage or configuration; 3 the database of this server cannot be read."
)
EXIT_LOG = "Exit codes: 0 shown; 1 no log of that day, or the other server does not answer; 2 wrong usage."
EXIT_ZIP = "Exit codes: 0 written, manifest.json says what is missing; 1 the file cannot be written; 2 wrong usage."


@click.command(epilog=EXIT_HISTORY)
@click.argument("incident_id", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option("--csv", "as_csv", is_flag=True, help="One record for each incident.")
@click.option("--since", default="", metavar="DAY", help="As 2026-01-31; without it the last 30 days.")
@click.option("--until", default="", metavar="DAY", help="The last day; without it today.")
@click.option("--failed", is_flag=True, help="Only those that failed.")
@click.option("--automatic", is_flag=True, help="Only those that nobody asked for.")
@click.option("--no-peer", is_flag=True, help="Do not ask the other server.")
@click.pass_context
def history(
    context: click.Context,
    incident_id: str | None,
    as_json: bool,
    as_csv: bool,
    since: str,
    until: str,
    failed: bool,
    automatic: bool,
    no_peer: bool,
) -> None:
    """Switches and incidents of both servers, newest first; or the one with this ID, with both servers' log lines."""
    from ..history import source as history_source
    from ..peer_client import PeerClient

    if as_json and as_csv:
        raise click.UsageError("give --json or --csv, not both")
    node = node_of(context)
    client = None if no_peer else PeerClient(node)
    try:
        if incident_id:
            _one(node, id_of(incident_id), client, as_json)
            return
        values = {"from": since, "to": until, "failed": "1" * failed, "automatic": "1" * automatic}
        query = query_of(values, datetime.date.today())
        found = history_source.read(node, query.since_s, query.until_s, client)
    except QueryError as error:
        fail(WRONG, str(error))
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        fail(UNREACHABLE, f"the history cannot be read: {str(error).splitlines()[0]}")
    for line in found.missing:
        click.echo(f"Incomplete: {line}", err=True)
    incidents = query.wanted(found)
    if as_json:
        click.echo(json.dumps(export.listing(incidents, found), indent=2, default=str))
    elif as_csv:
        export.write_csv(incidents, _Out())
    else:
        for one in incidents:
            click.echo(_line(one))
        if found.cut_s is not None:
            click.echo(f"Only those since {_local(found.cut_s)}; give --since and --until for earlier ones.")
        if not incidents:
            click.echo("Nothing happened in these days that matches.")


class _Out:
    def write(self, text: str) -> None:
        click.echo(text, nl=False)


def _one(node: Any, incident_id: str, client: Any, as_json: bool) -> None:
    from ..history import source as history_source
    from ..history.merge import merged_lines

    one, found = history_source.find(node, incident_id, client)
    for line in found.missing:
        click.echo(f"Incomplete: {line}", err=True)
    if one is None:
        fail(REFUSED, f"id: no incident {incident_id!r} is known to this server; 'ft history' lists them")
    if as_json:
        click.echo(json.dumps({"schema": export.SCHEMA, **export.document(one)}, indent=2, default=str))
        return
    click.echo(_line(one))
    for event in one.events:
        if text := export.evidence_text(event):
            click.echo(f"  evidence, {event.server}: {text}")
    click.echo(
        f"  none active {export.measured_text(one.none_active)}; two active {export.measured_text(one.two_active)}"
    )
    for switch in one.switches:
        outcome = switch.outcome or "running"
        click.echo(
            f"{switch.server} {switch.kind} {switch.rule}, epoch {switch.epoch}: {outcome}. {switch.reason}; {switch.detail}"
        )
        for step in switch.steps:
            click.echo(f"  {step.step}: {step.outcome} after {step.duration_s:.2f} s. {step.detail}")
    merged = merged_lines(node, one, None if found.missing else client)
    if merged.problem:
        click.echo(f"Incomplete: {merged.problem}", err=True)
    offset = merged.offset
    click.echo(
        f"Log, the other clock {offset.ahead_s:+.3f} s ± {offset.error_s:.3f} s:"
        if offset
        else "Log, clock offset not known:"
    )
    for said in merged.lines:
        click.echo(f"{said.server} {said.text}")


def _line(one: Incident) -> str:
    lead = one.lead
    who = f"asked by {one.actor}" if one.actor else "automatic"
    where = f" to {export.promoted(one)}" if export.promoted(one) else ""
    rule = f", {lead.rule}, {who}" if lead else ""
    took = f" in {one.duration_s:.1f} s" if lead and one.duration_s is not None else ""
    return f"{_local(one.started_s)}  {one.kind}{where}{rule}: {one.outcome}{took}  [{one.incident_id}]"


def _local(moment_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment_s))


def day_name(text: str) -> str:
    """``FT_REPORT_yymmdd.txt`` of a day given as that name or as 2026-01-31; anything else unchanged, to be refused."""
    try:
        return f"FT_REPORT_{datetime.date.fromisoformat(text):%y%m%d}.txt"
    except ValueError:
        return text


@click.command(epilog=EXIT_LOG)
@click.argument("day_argument", metavar="[DAY]", required=False)
@click.option("--day", "day_option", help="The same as DAY.")
@click.option("--list", "only_list", is_flag=True, help="The names of the files.")
@click.option("--peer", is_flag=True, help="Of the other server.")
@click.option("--search", default="", metavar="TEXT", help="Only lines with this text, in any letter case.")
@click.option("--source", default="", metavar="WORD", help="Only lines of this source, as agent.")
@click.option("--follow", is_flag=True, help="Go on with new lines until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_context
def log(
    context: click.Context,
    day_argument: str | None,
    day_option: str | None,
    only_list: bool,
    peer: bool,
    search: str,
    source: str,
    follow: bool,
    as_json: bool,
) -> None:
    """The fault tolerance log of one DAY, as FT_REPORT_260131.txt or 2026-01-31; without it the newest: its last lines."""
    from ..logs.reader import SEARCH_CHARS_MAX

    if follow and (peer or as_json or only_list or day_argument or day_option):
        raise click.UsageError("--follow goes with --search and --source alone: it shows the newest log of this server")
    if len(search) > SEARCH_CHARS_MAX:
        raise click.UsageError(f"--search: at most {SEARCH_CHARS_MAX} characters (got {len(search)})")
    if day_argument and day_option and day_argument != day_option:
        raise click.UsageError("give DAY once")
    node = node_of(context)
    if follow:
        _follow(node, search, source)
    name = day_name(day_argument or day_option or "")
    days, page = (_peer_log if peer else _own_log)(node, name, search, source, only_list)
    if only_list:
        say(days, as_json, days)
        return
    if page is None:
        say({"day": None, "lines": []}, as_json, ["No log yet."])
        return
    lines = [text for _, text in page.lines]
    if page.earlier:
        click.echo(f"The last {len(lines)} of {page.matching} lines; the page and FT_REPORT itself have all.", err=True)
    document = {"day": page.name, "earlier": page.earlier, "matching": page.matching, "lines": lines}
    say(document | {"numbers": [number for number, _ in page.lines]}, as_json, lines)


def _own_log(node: Any, name: str, search: str, source: str, only_list: bool) -> Any:
    from ..logs.reader import ReportReader

    reader = ReportReader(node.report)
    days = reader.days()
    name = name or (days[0] if days else "")
    if only_list or not name:
        return days, None
    try:
        return days, reader.page(name, search=search, source=source, lines_max=LINES_MAX)
    except FileNotFoundError as error:
        fail(REFUSED, str(error))
    except ValueError as error:
        fail(WRONG, str(error))
    except OSError as error:
        fail(REFUSED, f"{name}: {error.strerror or error}")


LINES_MAX = 10_000  # of one day on a terminal; the page shows them in pieces


def _peer_log(node: Any, name: str, search: str, source: str, only_list: bool) -> Any:
    from ..peer_client import PeerClient
    from ..logs.peer import LogWanted, peer_days, peer_page

    if only_list:
        days, problem = peer_days(PeerClient(node))
        if problem:
            fail(REFUSED, problem)
        return days, None
    page, days, problem, code = peer_page(PeerClient(node), LogWanted(day=name, search=search, source=source))
    if problem:
        fail(WRONG if code == 400 else REFUSED, problem)
    return days, page if page.name else None


def _follow(node: Any, search: str, source: str) -> None:
    """Lines as they come, over midnight too; ended by an interrupt."""
    from ..logs.reader import ReportReader

    reader, name, last = ReportReader(node.report), "", 0
    while True:
        days = reader.days()
        if days and days[0] != name:
            name, last = days[0], 0 if name else max(0, reader.page(days[0]).total - 10)
        if name:
            try:
                page = reader.page(name, search=search, source=source, lines_max=LINES_MAX)
            except OSError:
                page = None  # deleted between two looks: the next day's file follows
            for number, text in page.lines if page else ():
                if number > last:
                    click.echo(text)
            last = page.total if page else last
        sys.stdout.flush()
        time.sleep(POLL_S)


@click.command(name="zip-logs", epilog=EXIT_ZIP)
@click.argument("file", type=click.Path(dir_okay=False, path_type=pathlib.Path))
@click.option("--days", type=click.IntRange(1, 31), default=3, show_default=True, help="Today and the days before.")
@click.option("--no-peer", is_flag=True, help="Without the other server's logs and history.")
@json_option
@click.pass_context
def zip_logs(context: click.Context, file: pathlib.Path, days: int, no_peer: bool, as_json: bool) -> None:
    """Write logs, history, settings, status, the doctor's report and versions for support to FILE. No secret is in it."""
    from ..logs.support_zip import ZipError, make_zip

    node = node_of(context)
    if file.exists():
        fail(WRONG, f"FILE: {file} exists already; give another name")
    node.report.line(SOURCE, f"logs zipped for support by {actor_name()}")
    try:
        with make_zip(node, days=days, peer=not no_peer) as made, open(file, "xb") as out:
            shutil.copyfileobj(made, out)
    except ZipError as error:
        fail(REFUSED, str(error))
    except OSError as error:
        fail(REFUSED, f"FILE: {file} cannot be written: {error.strerror}; give another place")
    document = {"file": str(file), "size_bytes": file.stat().st_size, "days": days, "peer": not no_peer}
    say(document, as_json, [f"Written: {file}"])
