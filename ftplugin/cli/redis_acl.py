"""``ft redis-acl``: the users that the other server, or both at the witness, log in as."""

from __future__ import annotations

import click

from .common import REFUSED, UNREACHABLE, fail, json_option, node_of, say
from .pair import own_redis
from ..pairing import redis_users
from ..pairing.files import SecretFileError


@click.command(name="redis-acl")
@click.option("--witness", is_flag=True, help="The user of both servers at the witness, for its redis.conf.")
@click.option("--apply", "applied", is_flag=True, help="Write the file and tell the running Redis of this server.")
@json_option
@click.pass_context
def redis_acl(context: click.Context, witness: bool, applied: bool, as_json: bool) -> None:
    """The line for redis.conf (or an ACL file) with exactly the rights that are needed, and the password as a hash.

    'ft pair' writes it into redis-users.conf of the instance folder, which redis.conf includes. Needs Redis 7 or newer.
    """
    node = node_of(context)
    config, kept = node.config, node.config.secrets
    if witness:
        if applied:
            fail(
                REFUSED,
                "--apply is for this server's own Redis; put the line of --witness into the witness's redis.conf",
            )
        user, password = config.witness_user or redis_users.WITNESS_USER, config.witness_password
        if not password:
            fail(
                REFUSED, "FT_WITNESS_PASSWORD is empty: make a password with 'ft key' and set it on both servers first"
            )
        text = redis_users.line(user, redis_users.hashed(password), redis_users.witness_rules(node.keys))
        return say({"user": user, "line": text}, as_json, [text])
    try:
        known = redis_users.hash_in(kept.redis_users_file, kept.own_user)
        # one password for both directions, as where FT_PEER_REDIS_PASSWORD is given
        known = known or (redis_users.hashed(kept.peer_password.given) if kept.peer_password.given else "")
        if not known:
            fail(REFUSED, f"{kept.redis_users_file} is not there: run 'ft pair', which makes the passwords")
        text = redis_users.line(kept.own_user, known, redis_users.peer_rules(node.keys))
        if applied:
            redis_users.write_users(kept.redis_users_file, kept.own_user, known, node.keys)
            client = own_redis(node)
            if client is None:
                fail(UNREACHABLE, f"written: {kept.redis_users_file}; this server's Redis does not answer")
            redis_users.apply(client, kept.own_user, known, node.keys)
    except (SecretFileError, redis_users.RedisUsersError) as error:
        fail(REFUSED, str(error))
    except OSError as error:
        fail(UNREACHABLE, f"{kept.redis_users_file} could not be written: {error}")
    say({"user": kept.own_user, "line": text, "applied": applied}, as_json, [text])
