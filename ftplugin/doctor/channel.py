"""The agent channel both ways: our login at the peer's Redis, the peer's login at ours, and the witness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis
from redis.exceptions import NoPermissionError

from ftplugin.core.settings import Address
from ftplugin.pairing import redis_users
from ftplugin.pairing.files import SecretFileError
from ftplugin.tls import client_options

from .finding import Finding, Place, Report, Subject
from .own_redis import persistence
from .redis_login import Login, denied_to, forbidden, in_words, named, needed, needed_at_witness, needed_here

ACL_TODO = "Make its line 'user ...' anew with 'ft redis-acl' there, and load it."
FAILED_LOGIN_S = 120.0  # a failed login younger than this counts as now


def outwards(where: Place) -> list[Finding]:
    """We log in at the peer's Redis and may do there what the agent needs; nothing of it is done."""
    report = Report(id="channel.out", subject=Subject.CHANNEL)
    host, port = where.address_of(where.me.other).host, where.settings.agent_port
    config = where.portal.config
    scheme, tls = client_options(config.tls, config.agent_tls)
    login = {**config.peer_login(), **tls}
    return _tried(where, report, f"{where.me.other}'s Redis", Address(scheme, host, port), login)


def witness(where: Place) -> list[Finding]:
    """The same at the witness, if there is one."""
    report = Report(id="channel.witness", subject=Subject.CHANNEL)
    if not where.settings.witness:
        return []
    host, _, port = where.settings.witness.rpartition(":")
    config = where.portal.config
    scheme, tls = client_options(config.tls, config.witness_tls)
    address = Address(scheme, host.strip("[]"), int(port))
    return _tried(where, report, "the witness", address, {**config.witness_login(), **tls})


def _tried(where: Place, report: Report, whose: str, address: Address, account: dict[str, Any]) -> list[Finding]:
    is_witness = report.id == "channel.witness"
    place = f"{whose} at {address.url.partition('://')[2]}"
    try:
        login = Login(address.url + "/0", where.limit_s, **account)
    except (redis.AuthenticationError, NoPermissionError) as error:
        names = "FT_WITNESS_PASSWORD" if is_witness else "FT_PEER_REDIS_USER and FT_PEER_REDIS_PASSWORD"
        there = "requirepass there" if is_witness else "the line 'user ...' in its redis.conf"
        todo = f"Make {names} of this server fit {there}."
        return [report.wrong(f"{place}: {in_words(error, where.limit_s)}.", todo)]
    except (redis.RedisError, OSError) as error:
        todo = f"Start it, let it listen at {address.host}, and let the firewall pass port {address.port}."
        return [report.wrong(f"{place}: {in_words(error, where.limit_s)}.", todo)]
    try:
        return list(_permitted(where, login, report, place, is_witness))
    except redis.ResponseError as error:
        noauth = "NOAUTH" in str(error)
        todo = "Set the password of this login in the configuration of this server." if noauth else ACL_TODO
        return [report.wrong(f"{place}: {in_words(error, where.limit_s)}.", todo)]
    except (redis.RedisError, OSError) as error:
        todo = "Look whether it is frozen or overloaded."
        return [report.wrong(f"{place}: {in_words(error, where.limit_s)}.", todo)]
    finally:
        login.close()


def _permitted(where: Place, login: Login, report: Report, place: str, is_witness: bool) -> Iterator[Finding]:
    wanted = needed_at_witness(where.portal.keys) if is_witness else needed(where.portal.keys)
    denied = login.refused(wanted)
    votes = login.votes(where.portal.keys) if is_witness and not denied else ""
    if denied or votes:
        what = f"may not {named(denied)}" if denied else f"cannot vote by script: {votes}"
        yield report.wrong(f"{place}: our login {what}.", f"On that host: {ACL_TODO}")
    else:
        able = "vote" if is_witness else "vote, answer and send demote"
        yield report.ok(f"{place}: our login may {able}.")
    if is_witness:
        yield from persistence(login, "channel.witness", Subject.CHANNEL)


def inwards(where: Place) -> list[Finding]:
    """The peer's login at our Redis: it is there, may do what it needs and nothing more, and is used."""
    report = Report(id="channel.in", subject=Subject.CHANNEL)
    user = where.portal.config.peer_redis_user
    if not user:
        todo = "Make a user for it as in docs/install.md, step 3, and set FT_PEER_REDIS_USER on both servers."
        return [report.warning("FT_PEER_REDIS_USER is empty: the other server logs in here as 'default'.", todo)]
    try:
        login = Login(where.portal.config.redis_url, where.limit_s)
    except (redis.RedisError, OSError) as error:
        found = f"Our Redis cannot be asked about user {user}: {in_words(error, where.limit_s)}."
        return [report.unknown(found, "See the findings on the Redis of this server.")]
    try:
        return [*_account(where, login, report, user), *_file(where, user), *_used(where, login, user)]
    except redis.ResponseError as error:
        todo = "Let the login of FT_REDIS_URL use ACL, or look by hand with ACL GETUSER."
        return [report.unknown(f"Our Redis does not tell about user {user}: {error}.", todo)]
    finally:
        login.close()


def _account(where: Place, login: Login, report: Report, user: str) -> Iterator[Finding]:
    account = login.pairs("ACL", "GETUSER", user)
    flags = set(account.get("flags", []))
    if not account or "on" not in flags:
        state = "is switched off" if account else "is not there"
        todo = f"Add the line 'user {user} ...' of docs/install.md, step 3, to redis.conf and restart Redis."
        yield report.wrong(f"User {user} of our Redis, the other server's login, {state}.", todo)
        return
    if "nopass" in flags:
        todo = f"Give user {user} a password (>PASSWORD) in redis.conf, the one the other server has."
        yield report.wrong(f"User {user} of our Redis needs no password: whoever reaches it may order a switch.", todo)
        return
    keys = where.portal.keys
    denied = denied_to(login, user, [*needed(keys), *needed_here(keys)], account)
    everything = forbidden(keys)
    too_much = [c for c in everything if c not in denied_to(login, user, everything, account)]
    if denied:
        yield report.wrong(f"User {user} of our Redis may not {named(denied)}, which the other server needs.", ACL_TODO)
    if too_much:
        yield report.warning(f"User {user} of our Redis may do more than it needs: {named(too_much)}.", ACL_TODO)
    if not denied and not too_much:
        yield report.ok(f"User {user} of our Redis may do what the other server needs, and nothing more.")


def _file(where: Place, user: str) -> Iterator[Finding]:
    """The file that Redis reads at its start has the rights that this version needs: an upgrade may have added some."""
    report = Report(id="channel.in_file", subject=Subject.CHANNEL)
    path = where.portal.config.secrets.redis_users_file
    todo = "Run 'ft redis-acl --apply' on this server: it writes the file anew and tells the running Redis."
    try:
        lacking = redis_users.lacking_in(path, user, where.portal.keys)
    except FileNotFoundError:
        return  # not paired by 'ft pair': the administrator keeps the line elsewhere
    except (SecretFileError, OSError) as error:
        yield report.warning(f"The file of the other server's login cannot be used: {error}.", todo)
        return
    if lacking:
        found = f"{path} lacks {', '.join(lacking)} for user {user}: after its next start Redis would refuse that."
        yield report.wrong(found, todo)
    else:
        yield report.ok(f"{path} has every right that user {user} needs.")


def _used(where: Place, login: Login, user: str) -> Iterator[Finding]:
    """The peer is connected, or why it is not: Redis keeps a list of refused logins."""
    report = Report(id="channel.in_use", subject=Subject.CHANNEL)
    host = where.address_of(where.me.other).host
    words = [set(line.split()) for line in str(login.ask("CLIENT", "LIST")).splitlines()]
    mine = [line for line in words if f"user={user}" in line]
    if mine:
        yield report.ok(f"The other server is connected to our Redis as user {user}.")
        return
    entries = [dict(zip(entry[::2], entry[1::2], strict=False)) for entry in login.ask("ACL", "LOG", 20)]
    failed = [e for e in entries if e.get("reason") == "auth" and float(e.get("age-seconds", 1e9)) < FAILED_LOGIN_S]
    tried = [e for e in failed if f"addr={host}:" in str(e.get("client-info")) or e.get("username") == user]
    if tried:
        age_s = min(float(e["age-seconds"]) for e in tried)
        found = f"A login as {tried[0].get('username', '?')} at our Redis was refused {age_s:.0f} s ago."
        todo = f"Make FT_PEER_REDIS_PASSWORD of {where.me.other} ({host}) fit the user {user} of our Redis."
        yield report.wrong(found, todo)
        return
    todo = (
        f"See that its agent runs and that port {where.settings.agent_port} of this server can be reached from {host}."
    )
    yield report.warning(f"Nobody is connected to our Redis as user {user}.", todo)
