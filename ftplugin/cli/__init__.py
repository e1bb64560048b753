"""``flask ft …`` and ``ft …``: a twin of the admin page's buttons.

Under ``flask`` the app's configuration is used; ``ft`` reads FT_CONFIG_FILE and the environment. Settings are read and
saved in the database directly, so both work without a running portal.

Exit codes: 0 done; 1 refused (the message says why); 2 wrong usage or configuration; 3 Redis or database not reachable.
"""

from __future__ import annotations

import secrets

import click

from .alerts import alerts
from .backup import backup, restore
from .balancer import balancer
from .common import json_option, node_of, say
from .database import database
from .history import history, log, zip_logs
from .keys import keys
from .leave import leave
from .licence import licence
from .pair import pair
from .redis_acl import redis_acl
from .replication import COMMANDS as REPLICATION_COMMANDS
from .settings import settings
from .status import rules, status, why
from .switch import COMMANDS as SWITCH_COMMANDS
from .tls import tls
from .uninstall import uninstall

EXIT_CODES = (
    "Exit codes: 0 done; 1 refused, the message says why; 2 wrong usage or configuration; 3 Redis or database not "
    "reachable. Where a command means something else, its own --help says so."
)


@click.group(name="ft", help="Hot standby: status, switchover, settings, log.", epilog=EXIT_CODES)
def group() -> None:
    """The command group, also mounted as ``flask ft``."""


ft = group  # the name that the ``flask.commands`` entry point looks up


@group.command()
@json_option
def key(as_json: bool) -> None:
    """A new key for FT_SECRET_KEYS; put it on both servers."""
    made = secrets.token_urlsafe(32)
    say({"key": made}, as_json, [made])


@group.command()
@click.option(
    "--limit",
    "limit_s",
    type=click.FloatRange(0.2, 30),
    default=2.0,
    show_default=True,
    help="Seconds for each question.",
)
@json_option
@click.pass_context
def doctor(context: click.Context, limit_s: float, as_json: bool) -> None:
    """Look for what may be set up wrong on this server and between the two, and say what to do. Changes nothing.

    Exit codes: 0 nothing is wrong, though there may be warnings; 1 something is wrong; 2 this server is not configured.
    """
    from ..doctor import examine, show

    found = examine(node_of(context), limit_s)
    say(show.document(found), as_json, show.table(found))
    raise SystemExit(show.exit_code(found))


for _command in (alerts, balancer, licence, database, pair, keys, redis_acl, tls, backup, restore, uninstall, leave):
    group.add_command(_command)
for _command in (settings, history, log, zip_logs, status, why, rules, *SWITCH_COMMANDS, *REPLICATION_COMMANDS):
    group.add_command(_command)


def main() -> None:
    """Entry point of the console script ``ft``."""
    group(prog_name="ft")
