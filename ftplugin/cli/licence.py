"""``ft licence show`` and ``ft licence install FILE``: twin of the licence page."""

from __future__ import annotations

import pathlib
from typing import Any

import click

from .common import REFUSED, SOURCE, UNREACHABLE, actor_name, fail, json_option, node_of, say
from ..licence.document import BYTES_MAX
from ..licence.keep import LicenceState
from ..licence.problems import LicenceRefused


@click.group(name="licence")
def licence() -> None:
    """Show or install the licence of this server, IPSFT_lic.xml."""


def _facts(found: LicenceState) -> dict[str, Any]:
    return {
        "state": found.word,
        "settings_can_be_saved": found.refused is None,
        "days_left": found.days_left,
        "problem": found.sentence,
        "licence": found.licence.to_json() if found.licence else None,
    }


@licence.command(name="show")
@json_option
@click.pass_context
def show(context: click.Context, as_json: bool) -> None:
    """The licence and its state. Exit code 1 while settings cannot be saved."""
    found = node_of(context).licence.state()
    facts = _facts(found)
    lines = [f"state: {found.word}"] + [f"{name}: {text}" for name, text in (facts["licence"] or {}).items()]
    say(facts, as_json, lines + ([found.sentence] if found.sentence else []))
    if found.refused is not None:
        raise SystemExit(REFUSED)


@licence.command(name="install")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path))
@json_option
@click.pass_context
def install(context: click.Context, file: pathlib.Path, as_json: bool) -> None:
    """Check FILE and keep it as the licence of this server. A file that is refused replaces nothing."""
    node = node_of(context)
    if not node.licence.state().needed:
        fail(REFUSED, "No licence is needed: FT_LICENCE_KEY is not set.")
    try:
        with open(file, "rb") as opened:
            made = node.licence.install(opened.read(BYTES_MAX + 1))
    except LicenceRefused as refused:
        fail(REFUSED, f"{file}: {refused}")
    except OSError as error:
        fail(UNREACHABLE, f"the licence was not kept: {error}")
    text = f"licence {made.serial} for {made.holder}, until {made.expires}, installed by {actor_name()}"
    node.report.line(SOURCE, text)
    say(_facts(node.licence.state()), as_json, [f"The licence of {made.holder} is installed, until {made.expires}."])
