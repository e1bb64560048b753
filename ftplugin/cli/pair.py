"""``ft pair``: one server shows a one-time code, on the other it is typed; then they trust each other."""

from __future__ import annotations

import time
from typing import Any

import click
import redis

from .common import REFUSED, SOURCE, UNREACHABLE, WRONG, fail, json_option, node_of, say
from .offline import running
from ..core.settings import SettingsError
from ..extension import Portal
from ..pairing import redis_users
from ..pairing.answer import adopting, cannot_write
from ..pairing.exchange import PairingError
from ..pairing.files import SecretFileError
from ..pairing.keyring import fingerprint, new_key, read_keys
from ..pairing.session import CLOSED, DONE, OPEN_S, Session, Sessions

POLL_S = 0.3
RESTART = "Nothing has to be restarted: portal and workers read the new key and login within a second."


@click.command(name="pair")
@click.option(
    "--join", "address", metavar="ADDRESS", help="Join the server at this address, on which 'ft pair' has run."
)
@click.argument("code", required=False)
@click.option("--no-wait", is_flag=True, help="Show the code and end; it stays open for ten minutes.")
@json_option
@click.pass_context
def pair(context: click.Context, address: str | None, code: str | None, no_wait: bool, as_json: bool) -> None:
    """Give both servers the same new key and each a login at the other's Redis.

    On one server (a survivor, or the first one) run 'ft pair': it shows a code. On the other run 'ft pair --join
    ADDRESS CODE', with the address of the first one's portal. A machine that was paired before is shut out then.
    Without CODE it is asked for.
    """
    node = node_of(context)
    if problem := cannot_write(node.config):
        fail(REFUSED, problem)
    if not node.config.own_address:
        fail(WRONG, "FT_OWN_ADDRESS is empty: set it to IP and port of this server's portal first")
    try:
        if address is None:
            if code is not None:
                fail(WRONG, "CODE goes with --join ADDRESS, on the other server")
            _open(node, as_json, wait=not no_wait)
        else:
            typed = code or click.prompt("Code shown by 'ft pair' on the other server", err=True)
            _join(node, address, typed, as_json)
    except (PairingError, SettingsError, SecretFileError) as error:
        fail(REFUSED, str(error))
    except OSError as error:
        fail(UNREACHABLE, f"a file could not be written: {error}")


def _open(node: Portal, as_json: bool, *, wait: bool) -> None:
    first = _first_keys(node)
    sessions = Sessions(node.config.instance_dir, node.clock)
    code, session = sessions.open()
    node.report.line(SOURCE, "a pairing code was opened for ten minutes")
    command = f"ft pair --join {node.config.own_address} {code}"
    facts = {"code": code, "command": command, "valid_s": OPEN_S, "first_keys": first}
    if as_json and not wait:
        return say(facts, True, [])
    lines = [first] if first else []
    click.echo(
        "\n".join([*lines, f"Code: {code}    once, for ten minutes", f"On the other server: {command}"]), err=as_json
    )
    if wait:
        _wait(sessions, session, as_json)


def _first_keys(node: Portal) -> str:
    """On a server that was never paired: a key for its portal, and the file that its Redis includes."""
    kept = node.config.secrets
    assert kept.keys_file is not None, "cannot_write() comes first"
    if read_keys(kept.keys_file):  # the file itself: a key of a moment ago must not be written over
        return ""
    if running(node):  # they live on keys that they have read; a new file would end what the other server believes
        fail(
            REFUSED,
            f"{kept.keys_file} is gone, and this server's workers run with the keys that were in it. Run 'ft pair' on "
            "the other server and join it from here; or copy that file from there, mode 600",
        )
    news = {"key": new_key(), "peer_password": redis_users.new_password()}
    news["own_hash"] = redis_users.hashed(redis_users.new_password())
    with adopting(node.config, news) as take:
        take(None)
    return (
        f"First key {fingerprint(news['key'])}, in {kept.keys_file}. The portal must run for the other server to join."
    )


def _wait(sessions: Sessions, opened: Session, as_json: bool) -> None:
    try:
        while True:
            found = sessions.read()
            if found is None or found.session != opened.session:
                fail(REFUSED, "Another 'ft pair' has opened a newer code.")
            if found.state == DONE:
                return say({"paired": True, "result": found.result}, as_json, [f"Done: {found.result}.", RESTART])
            if found.state == CLOSED:
                fail(REFUSED, f"Not paired: {found.result}. Run 'ft pair' again.")
            if found.left_s(sessions.clock) <= 0:
                sessions.close(opened.session, "the ten minutes are over")
                continue
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        sessions.close(opened.session, "'ft pair' was ended")
        fail(REFUSED, "The code is void.")


def _join(node: Portal, address: str, code: str, as_json: bool) -> None:
    from ..pairing.join import join

    joined = join(node.config, node.version, address, code, own_redis(node))
    node.report.line(SOURCE, f"paired with {joined.peer.get('own_address')}; key {joined.fingerprint}")
    peer: dict[str, Any] = {name: joined.peer.get(name) for name in ("own_address", "version", "server1_address")}
    peer |= {name: joined.peer.get(name) for name in ("server2_address", "agent_port")}
    kept = node.config.secrets
    lines = [f"Paired with {peer['own_address']}; key {joined.fingerprint} in {kept.keys_file}."]
    lines += [
        f"Include {kept.redis_users_file} in the redis.conf of this server: the other one logs in as {kept.own_user}."
    ]
    if not peer["server1_address"]:
        addresses = f"server1_address={peer['own_address']} server2_address={node.config.own_address}"
        lines += [f"No addresses are set yet; on both servers: ft settings set {addresses}"]
    if peer["version"] != node.version:
        lines += [f"The other server runs version {peer['version']}, this one {node.version}: update the older one."]
    lines += [joined.trouble] if joined.trouble else []
    say(
        {"paired": True, "key": joined.fingerprint, "peer": peer, "trouble": joined.trouble}, as_json, [*lines, RESTART]
    )


def own_redis(node: Portal) -> redis.Redis | None:
    """This server's Redis if it answers: before the first start there is none."""
    try:
        node.runtime.client.ping()
    except (redis.RedisError, OSError):
        return None
    return node.runtime.client
