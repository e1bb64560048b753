"""What every command shares: exit codes, the node it speaks to, output."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from sqlalchemy.exc import SQLAlchemyError

from ..config import ConfigError, NodeConfig
from ..core.settings import Problem
from ..extension import NAME, Portal
from ..store.database import DatabaseUnreachable
from ..store.instance import claim

REFUSED, WRONG, UNREACHABLE = 1, 2, 3
SOURCE = "command line"
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


def fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    raise SystemExit(code)


def node_of(context: click.Context) -> Portal:
    """The mounted portal under ``flask ft``, else one made of FT_CONFIG_FILE and the environment."""
    from flask.cli import NoAppException, ScriptInfo

    info = context.find_object(ScriptInfo)
    if info is not None:
        try:
            mounted: Portal | None = info.load_app().extensions.get(NAME)
        except NoAppException as error:
            if not os.environ.get("FT_CONFIG_FILE"):
                fail(WRONG, f"{error}\nOr set FT_CONFIG_FILE to the configuration of this server.")
            mounted = None
        if mounted is not None:
            return mounted
    try:
        node = Portal(NodeConfig.from_environment(unpaired=True))
    except (ConfigError, DatabaseUnreachable) as error:
        fail(WRONG, str(error))
    try:
        refusal = claim(node.database, node.config.prefix)
    except (DatabaseUnreachable, SQLAlchemyError):
        return node  # each command says what it could not do
    if refusal:
        fail(WRONG, refusal)
    return node


def say(value: Any, as_json: bool, lines: list[str]) -> None:
    click.echo(json.dumps(value, indent=2, default=str) if as_json else "\n".join(lines))


def listed(problems: Sequence[Problem]) -> str:
    return "\n".join(f"{problem.field}: {problem.message}" for problem in problems)


def said_why(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Callback of ``--reason``: blanks alone say nothing, and it is recorded."""
    if not value.strip():
        raise click.BadParameter("is empty; say why, it is recorded", context, parameter)
    return value.strip()


def actor_name() -> str:
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):
        return SOURCE
