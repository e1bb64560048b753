"""``ft keys``: which keys count, a new one without a gap, one that shall never count again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from .common import REFUSED, SOURCE, UNREACHABLE, actor_name, fail, json_option, node_of, say
from ..extension import Portal
from ..local_programs import with_own_keys
from ..pairing import rotation
from ..pairing.command import tell
from ..pairing.exchange import PairingError
from ..pairing.files import SecretFileError
from ..pairing.keyring import write_keys
from ..pairing.secrets import KEYS_FILE


@click.group(name="keys")
def keys() -> None:
    """Keys of the pair: show, rotate, revoke. A key is named by 8 digits; the key itself is never shown."""


def _refusing(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def inner(*args: Any, **values: Any) -> None:
        try:
            command(*args, **values)
        except (PairingError, SecretFileError) as error:
            fail(REFUSED, str(error))
        except OSError as error:
            fail(UNREACHABLE, f"the file of keys could not be written: {error}")

    return inner


def _told(node: Portal) -> rotation.Tell:
    return functools.partial(tell, node)


def _record(node: Portal, text: str) -> None:
    node.report.line(SOURCE, f"{text} by {actor_name()}")


@keys.command(name="show")
@json_option
@click.pass_context
@_refusing
def show(context: click.Context, as_json: bool) -> None:
    """The keys of this server and of the other one, the signing one first. Exit code 1 while they differ."""
    node = node_of(context)
    own, theirs, problem = rotation.named(node.config.secret_keys), None, ""
    try:
        theirs = [str(name) for name in tell(node, "keys", {}).get("keys", [])]
    except PairingError as error:
        problem = str(error)
    where = str(node.config.secrets.keys_file or "FT_SECRET_KEYS")
    lines = [f"this server:  {', '.join(own) or 'none; run ft pair'}    ({where})"]
    lines += [f"other server: {', '.join(theirs) if theirs else problem}"]
    say({"own": own, "other": theirs, "problem": problem, "file": where}, as_json, lines)
    if theirs != own:
        raise SystemExit(REFUSED)


@keys.command(name="rotate")
@json_option
@click.pass_context
@_refusing
def rotate(context: click.Context, as_json: bool) -> None:
    """Make a new key on both servers, without a gap and without a restart; takes about two seconds.

    Both must answer. Whatever breaks off leaves both able to talk; run it again then.
    """
    node = node_of(context)
    name = rotation.rotate(
        node.config.secrets.keys_file,
        _told(node),
        lambda text: click.echo(text[0].upper() + text[1:], err=as_json),
        behind=lambda: with_own_keys(node.config.instance_dir),
    )
    _record(node, f"the keys were rotated: {name} alone counts now,")
    say({"key": name}, as_json, [f"Done: key {name} alone counts now."])


@keys.command(name="revoke")
@click.argument("name")
@click.option("--alone", is_flag=True, help="Do not tell the other server: it is lost, or not trusted any more.")
@json_option
@click.pass_context
@_refusing
def revoke(context: click.Context, name: str, alone: bool, as_json: bool) -> None:
    """Never accept the key NAME again, here and on the other server."""
    node = node_of(context)
    rotation.revoke(node.config.secrets.keys_file, name, None if alone else _told(node))
    _record(node, f"key {name} was revoked{' on this server alone' if alone else ''}")
    say({"revoked": name}, as_json, [f"Key {name} is no longer accepted{' here' if alone else ''}."])


@keys.command(name="to-file")
@json_option
@click.pass_context
@_refusing
def to_file(context: click.Context, as_json: bool) -> None:
    """Write the keys of FT_SECRET_KEYS into a file of mode 0600, which 'ft keys rotate' can change."""
    node = node_of(context)
    kept = node.config.secrets
    if kept.keys_file is not None:
        fail(REFUSED, f"the keys are in {kept.keys_file} already")
    path = kept.folder / KEYS_FILE
    if path.exists():
        fail(REFUSED, f"{path}: is there already; take FT_SECRET_KEYS out of the configuration to use it, or remove it")
    write_keys(path, node.config.secret_keys)
    _record(node, f"the keys of FT_SECRET_KEYS were written into {path}")
    say(
        {"file": str(path)},
        as_json,
        [f"Written: {path}. Now take FT_SECRET_KEYS out of the configuration and restart."],
    )
