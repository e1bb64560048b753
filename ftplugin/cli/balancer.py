"""``ft balancer export NAME``, ``check FILE`` and ``asks``: twin of the balancer page."""

from __future__ import annotations

import pathlib
from dataclasses import asdict
from typing import Any

import click

from ..balancer.compare import compare
from ..balancer.exports import EXPORTS, make
from ..balancer.plan import File, Follow, Options
from ..balancer.probers import drifted, seen
from ..balancer.reading import BYTES_MAX, Unreadable, read
from ..core.settings import SettingsError
from ..extension import Portal
from .common import REFUSED, UNREACHABLE, fail, json_option, node_of, say


@click.group(name="balancer")
def balancer() -> None:
    """Configurations for load balancers, made from the settings; and whether one in use still fits them."""


def _options(command: Any) -> Any:
    for option in (
        click.option(
            "--follow",
            type=click.Choice([way.value for way in Follow]),
            help="Who decides: the pair (role), or the balancer (lead).",
        ),
        click.option("--vip", default="", help="Instead of the setting, which is empty with Windows NLB."),
        click.option(
            "--failback/--no-failback", default=None, help="Back to server #1 when it is good; else by the setting."
        ),
        click.option("--interface", default="", help="Network card of the VIP (keepalived, nlb)."),
        click.option("--prefix-length", type=int, help="Of the VIP's subnet, in bits (keepalived, nlb)."),
        click.option("--full-name", default=Options().full_name, help="Full internet name (nlb).", show_default=True),
        click.option(
            "--script-path", default=Options().script_path, help="Of ft-check (keepalived).", show_default=True
        ),
        click.option("--script-user", default=Options().script_user, help="Who runs it.", show_default=True),
        click.option("--ca-file", default="", help="Authority of the servers' certificates, a path on the balancer."),
    ):
        command = option(command)
    return command  # fmt: skip


def _given(node: Portal, values: dict[str, Any]) -> Options:
    prefix = node.config.url_prefix.strip("/")
    given = {name: value for name, value in values.items() if value is not None}
    return Options(url_prefix=f"/{prefix}" if prefix else "", **given)


def _settings(node: Portal) -> Any:
    revision, settings = node.settings.current()
    if node.settings.error:
        fail(UNREACHABLE, f"The settings could not be read: {node.settings.error}")
    return revision, settings


@balancer.command(name="export")
@click.argument("name", type=click.Choice(list(EXPORTS)))
@_options
@click.option("--file", "only", default="", help="Only the file of this name.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=pathlib.Path), help="Write the files there.")
@json_option
@click.pass_context
def export(
    context: click.Context, /, name: str, only: str, directory: pathlib.Path | None, as_json: bool, **values: Any
) -> None:
    """The configuration of the balancer NAME. Several files are told apart by a line with their names."""
    node = node_of(context)
    revision, settings = _settings(node)
    try:
        files = make(name, settings, revision, _given(node, values))
    except SettingsError as error:
        fail(REFUSED, str(error))
    if only:
        files = tuple(file for file in files if file.name == only) or fail(REFUSED, _no_such_file(only, files))
    if directory is not None:
        written = [str(path) for path in _write(directory, files)]
        say({"revision": revision, "files": written}, as_json, [f"written: {path}" for path in written])
        return
    alone = len(files) == 1
    lines = [file.text.rstrip("\n") if alone else f"# ==> {file.name} <==\n{file.text}" for file in files]
    say({"revision": revision, "files": {file.name: file.text for file in files}}, as_json, lines)


def _no_such_file(only: str, files: tuple[File, ...]) -> str:
    return f"--file: there is no {only!r}; the files are {', '.join(file.name for file in files)}"


def _write(directory: pathlib.Path, files: tuple[File, ...]) -> list[pathlib.Path]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file in files:
            path = directory / file.name
            path.write_text(file.text)
            if file.text.startswith("#!"):
                path.chmod(0o755)
    except OSError as error:
        fail(UNREACHABLE, f"{directory}: not written: {error.strerror or error}")
    return [directory / file.name for file in files]


@balancer.command(name="check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path))
@_options
@json_option
@click.pass_context
def check(context: click.Context, /, file: pathlib.Path, as_json: bool, **values: Any) -> None:
    """Read FILE, of HAProxy, keepalived or NGINX, and list where it differs from the settings.

    Exit codes: 0 it fits; 1 it differs, or it could not be understood.
    """
    node = node_of(context)
    revision, settings = _settings(node)
    try:
        with open(file, "rb") as opened:
            reading = read(opened.read(BYTES_MAX + 1))
        found = compare(reading, settings, revision, _given(node, values))
    except (Unreadable, SettingsError) as error:
        fail(REFUSED, f"{file}: {error}")
    except OSError as error:
        fail(UNREACHABLE, f"{file}: {error.strerror or error}")
    document = {
        "kind": reading.kind,
        "revision": revision,
        "differences": [item.to_json() for item in found.differences],
    }
    lines = [
        f"{item.what}: {item.found}, by the settings {item.wanted}. {item.effect}".rstrip()
        for item in found.differences
    ]
    lines = lines or [f"{file} ({reading.kind}) fits revision {revision} of the settings."]
    say(document | {"notes": list(found.notes)}, as_json, lines + [f"Note: {text}" for text in found.notes])
    if found.differences:
        raise SystemExit(REFUSED)


@balancer.command(name="asks")
@json_option
@click.pass_context
def asks(context: click.Context, as_json: bool) -> None:
    """Who asks this server's monitor, how often, and who does not fit the settings.

    Exit codes: 0 all fit; 1 one asks in another interval than the settings want.
    """
    node = node_of(context)
    _, settings = _settings(node)
    if node.runtime.read_role() is None:
        fail(UNREACHABLE, "The Redis of this server does not answer; nothing is known now.")
    found = seen(node.runtime.fetch_many, node.clock.boot_id, node.clock.now_s())
    apart = {(item.prober.address, item.prober.question): item for item in drifted(found, settings)}
    rows, lines = [], []
    for prober in found:
        drift = apart.get((prober.address, prober.question))
        facts = {"wanted_s": drift.wanted_s, "earlier_s": drift.earlier_s} if drift else None
        rows.append({**asdict(prober), "quiet": prober.quiet, "drift": facts})
        every = "once" if prober.interval_s is None else f"every {prober.interval_s:.3g} s"
        text = f"{prober.address} asks {prober.question} {every}, the last time {prober.age_s:.0f} s ago"
        lines.append(text + (f"; it says {prober.seen_as}" if prober.seen_as else ""))
        if drift is not None:
            lines.append(f"  by the settings it should be every {drift.wanted_s:.3g} s")
    say(rows, as_json, lines or ["nobody has asked lately"])
    if apart:
        raise SystemExit(REFUSED)
