"""The Redis of this server: its answer, what it keeps over a restart, its password, its memory, its address."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import redis

from ftplugin.tls import client_options

from .finding import Finding, Place, Report, Subject
from .redis_login import Login, in_words

PERSISTENCE_TODO = (
    'Put save "" and appendonly no into its configuration and restart it: an old snapshot brings an old role and vote '
    "back; what must last is in the database."
)
MEMORY_FULL = 0.9
REPLICA_TODO = "Each server needs a Redis of its own that takes writes: remove 'replicaof'."


def check(where: Place) -> list[Finding]:
    """Everything that its own login can ask it."""
    report = Report(id="redis.answers", subject=Subject.REDIS)
    place = _shown(where.portal.config.redis_url)
    try:
        login = Login(where.portal.config.redis_url, where.limit_s)
    except (redis.RedisError, OSError) as error:
        found = f"The Redis at {place} (FT_REDIS_URL): {in_words(error, where.limit_s)}."
        return [report.wrong(found, "Start it; its requirepass and the password in FT_REDIS_URL must be the same.")]
    try:
        return [
            *_answers(login, report, place),
            *persistence(login, "redis", Subject.REDIS),
            *_memory(login),
            *_password(login),
        ]
    except (redis.RedisError, OSError) as error:
        todo = "Let the login of FT_REDIS_URL do everything at its own Redis, also CONFIG, INFO and ACL."
        return [report.unknown(f"The Redis at {place} does not say all: {in_words(error, where.limit_s)}.", todo)]
    finally:
        login.close()


def _answers(login: Login, report: Report, place: str) -> Iterator[Finding]:
    version = login.info("server").get("redis_version", "?")
    if login.info("replication").get("role") != "master":
        yield report.wrong(f"The Redis at {place} is a replica.", REPLICA_TODO)
        return
    yield report.ok(f"Redis {version} answers at {place}.")


def persistence(login: Login, prefix: str, subject: Subject) -> Iterator[Finding]:
    """Nothing stale is loaded after a restart: no snapshots, no append-only file, no file left from before."""
    report = Report(id=f"{prefix}.persistence", subject=subject)
    config = {name: str(login.pairs("CONFIG", "GET", name).get(name, "")) for name in ("save", "appendonly")}
    on = [f'{name} "{value}"' for name, value in config.items() if value not in ("", "no")]
    if on:
        yield report.wrong(f"Persistence is on: {', '.join(on)}.", PERSISTENCE_TODO)
        return
    left = _left_over(login) if prefix == "redis" else None
    if left is not None:
        yield report.wrong(f"The next start loads the old snapshot {left}.", "Delete this file.")
        return
    yield report.ok('Persistence is off: save "", appendonly no.')


def _left_over(login: Login) -> pathlib.Path | None:
    """A snapshot is loaded at a start even with ``save ""``."""
    folder = str(login.pairs("CONFIG", "GET", "dir").get("dir", ""))
    name = str(login.pairs("CONFIG", "GET", "dbfilename").get("dbfilename", ""))
    path = pathlib.Path(folder, name)
    try:
        return path if folder and name and path.is_file() else None
    except OSError:
        return None  # another user's folder: the doctor may not look


def _memory(login: Login) -> Iterator[Finding]:
    report = Report(id="redis.memory", subject=Subject.REDIS)
    memory = login.info("memory")
    policy = str(login.pairs("CONFIG", "GET", "maxmemory-policy").get("maxmemory-policy", ""))
    limit, used = int(memory.get("maxmemory", 0)), int(memory.get("used_memory", 0))
    sizes = f"{used / 2**20:.1f} of {limit / 2**20:.0f} MiB" if limit else f"{used / 2**20:.1f} MiB, no limit"
    if policy != "noeviction":
        todo = "Set maxmemory-policy noeviction: the role and the vote must not be thrown out to make room."
        make = report.wrong if limit else report.warning
        yield make(f"maxmemory-policy is {policy} ({sizes} used).", todo)
    elif limit and used > MEMORY_FULL * limit:
        yield report.warning(f"Memory is nearly full: {sizes} used.", "Raise maxmemory; soon it refuses every write.")
    else:
        yield report.ok(f"maxmemory-policy is noeviction, {sizes} used.")


def _password(login: Login) -> Iterator[Finding]:
    report = Report(id="redis.password", subject=Subject.REDIS)
    default = login.pairs("ACL", "GETUSER", "default")
    flags = set(default.get("flags", []))
    if "on" in flags and "nopass" in flags:
        todo = "Set requirepass, put the password into FT_REDIS_URL, restart Redis, portal and workers."
        yield report.wrong("It has no password: whoever reaches it can make this server active.", todo)
    else:
        yield report.ok("It asks for a password.")


def at_its_address(where: Place) -> list[Finding]:
    """The other server reaches this Redis at the own address and the agent port, wherever FT_REDIS_URL points."""
    report = Report(id="redis.address", subject=Subject.REDIS)
    host, port = where.address_of(where.me).host, where.settings.agent_port
    outside = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    parts = urlsplit(where.portal.config.redis_url)
    todo = f"Let Redis listen there ('bind {host}', 'port {port}'), or set agent_port to its port."
    login = {"username": unquote(parts.username or "") or None, "password": unquote(parts.password or "") or None}
    scheme, tls = client_options(where.portal.config.tls, where.portal.config.agent_tls)
    opened: list[Login] = []
    try:
        for url, options in ((where.portal.config.redis_url, {}), (f"{scheme}://{outside}/0", {**login, **tls})):
            opened.append(Login(url, where.limit_s, **options))
        runs = {other.info("server").get("run_id", "") for other in opened}
    except (redis.RedisError, OSError) as error:
        why = in_words(error, where.limit_s)
        if not opened:
            found = f"Whether it answers at {outside} is not known: at FT_REDIS_URL, {why}."
            return [report.unknown(found, "Make it answer at FT_REDIS_URL first.")]
        return [report.wrong(f"The Redis at {outside}, where the other server looks for it: {why}.", todo)]
    finally:
        for other in opened:
            other.close()
    if len(runs) != 1:
        return [report.wrong(f"At {outside} is another Redis than at FT_REDIS_URL.", todo)]
    return [report.ok(f"It answers at {outside}, where the other server looks for it.")]


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path
