"""The server on which 'ft pair' has opened a code: answers the other one's messages, three of them.

    hello    the session's salt and public key; tells nothing
    join     sealed facts of the other server, with the proof that it has the code; answered with the new key, sealed
    confirm  the other one has written its files. Only now the new key counts here, and it alone: a machine that was
             paired before is shut out at once, from the node API and from this server's Redis

Which server calls is no matter of its address: who has the code is the one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from ..config import NodeConfig
from ..core.settings import Settings, SettingsError, parse_address
from ..store.keys import Keys as Names
from . import exchange, redis_users
from .exchange import ForgedError, Keys, PairingError
from .files import staged
from .keyring import fingerprint, keys_text, new_key
from .session import ANSWERED, DONE, Change, Closed, Session, Sessions

MESSAGE_BYTES_MAX = 8_192
GIVEN = (
    "{key} is set in the configuration of this server and 'ft pair' cannot change it; take it out: {file} will hold it"
)


class Refused(PairingError):
    """The code is right, but the two servers do not fit together."""


class WrongCode(PairingError):
    """A proof that does not hold; counted."""


@dataclass(frozen=True, kw_only=True)
class Answering:
    """config, settings: of this server, now. client: its own Redis. say: writes a line of the log."""

    config: NodeConfig
    settings: Settings
    version: str
    sessions: Sessions
    client: redis.Redis
    say: Callable[[str], None]

    def answer(self, message: Mapping[str, Any], whence: str) -> dict[str, Any]:
        """The answer to one message from the address ``whence``.

        Raises Closed, WrongCode, Refused, PairingError (a message that cannot be read), SecretFileError, OSError.
        """
        if message.get("v") != exchange.VERSION:
            raise PairingError(f"this server pairs by version {exchange.VERSION}; update the older of the two")
        step = message.get("step")
        if step == "hello":
            return self._hello()
        if step == "confirm" and (again := self._confirmed_before(message)) is not None:
            return again
        with self.sessions.changing() as change:
            if message.get("session") != change.session.session:
                raise Closed("another code has been opened since; use that one")
            if step == "join":
                return self._join(change, message, whence)
            if step == "confirm":
                return self._confirm(change, message, whence)
        raise PairingError("unknown step; update the older of the two servers")

    def _hello(self) -> dict[str, Any]:
        with self.sessions.changing() as change:
            found = change.session
        return {"session": found.session, "salt": found.salt, "public": exchange.encode(found.public)}

    def _join(self, change: Change, message: Mapping[str, Any], whence: str) -> dict[str, Any]:
        public, sealed, proof = (str(message.get(name, "")) for name in ("public", "sealed", "proof"))
        keys = keys_of(change.session, public)
        if not keys.proves(proof, "join", sealed):
            left = change.count_wrong(whence)
            raise WrongCode(
                "wrong code; " + (f"{left} tries are left" if left > 0 else "this code is void from now on")
            )
        if change.session.state == ANSWERED:
            if json.loads(change.session.join)["proof"] != proof:
                raise Refused("this code has been used by another server; open a new one with 'ft pair'")
            return dict(json.loads(change.session.answer))
        facts = keys.opened("join", sealed)
        if problem := self._misfit(facts):
            self.say(f"pairing with {whence} refused: {problem}")
            raise Refused(problem)
        key, password = new_key(), redis_users.new_password()
        answer = {**facts_of(self.config, self.version), "key": key, "redis_password": password}
        answer |= {name: getattr(self.settings, name) for name in ("server1_address", "server2_address", "agent_port")}
        answered = keys.seal("answer", answer)
        reply = {"sealed": answered, "proof": keys.proof("answer", sealed, answered)}
        pending = {"key": key, "peer_password": facts["redis_password"], "own_hash": redis_users.hashed(password)}
        pending["address"] = facts["own_address"]
        change.set(state=ANSWERED, answer=json.dumps(reply), pending=json.dumps(pending))
        change.set(join=json.dumps({"public": public, "proof": proof}))
        return reply

    def _confirm(self, change: Change, message: Mapping[str, Any], whence: str) -> dict[str, Any]:
        if change.session.state != ANSWERED:
            raise PairingError("confirm comes after join")
        keys = keys_of(change.session, json.loads(change.session.join)["public"])
        sealed = json.loads(change.session.answer)["sealed"]
        if not keys.proves(message.get("proof"), "confirm", sealed):
            change.count_wrong(whence)
            raise WrongCode("the confirmation is not of the server that has joined")
        pending = json.loads(change.session.pending)
        with adopting(self.config, pending) as take:
            trouble = take(self.client)
        address = str(pending["address"])
        result = f"paired with {address}; key {fingerprint(pending['key'])} counts from now on, and it alone"
        reply = {"proof": keys.proof("confirm", sealed, "done")}
        change.end(DONE, result + (f". {trouble}" if trouble else ""))
        change.set(confirmed=json.dumps({"proof": message.get("proof"), "reply": reply}))
        self.say(f"{result} (from {whence}){f'; {trouble}' if trouble else ''}")
        return reply

    def _confirmed_before(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        found = self.sessions.read()
        if found is None or found.session != message.get("session") or not found.confirmed:
            return None
        kept = json.loads(found.confirmed)
        return dict(kept["reply"]) if kept["proof"] == message.get("proof") else None

    def _misfit(self, facts: Mapping[str, Any]) -> str:
        """Why the two servers cannot be a pair; "" when they can."""
        names = ("own_address", "url_prefix", "prefix", "redis_password", "version")
        if not all(isinstance(facts.get(name), str) for name in names):
            raise ForgedError("the joining server left out some facts")
        for name in ("url_prefix", "prefix"):
            own, other = getattr(self.config, name).strip("/"), facts[name].strip("/")
            if own != other:
                return f"FT_{name.upper()} is {other!r} there and {own!r} here; make them equal"
        try:
            theirs = parse_address("FT_OWN_ADDRESS", facts["own_address"])
            ours = parse_address("FT_OWN_ADDRESS", self.config.own_address)
        except SettingsError as error:
            return f"{error}; set it on both servers"
        if (theirs.host, theirs.port) == (ours.host, ours.port):
            return f"FT_OWN_ADDRESS is {theirs.url} on both servers; each needs its own"
        known = [a for a in (self.settings.server1_address, self.settings.server2_address) if a]
        places = [(a.host, a.port) for a in (parse_address("address", text) for text in known)]
        if places and (theirs.host, theirs.port) not in places:
            return (
                f"FT_OWN_ADDRESS there is {theirs.url}, and the settings here name {' and '.join(known)}; correct it "
                "there, or enter the new machine's address in the settings here first"
            )
        return ""


def keys_of(session: Session, public: str) -> Keys:
    """The keys of the exchange as this side makes them."""
    secret, private = exchange.decode(session.secret), exchange.decode(session.private)
    said = (session.session, session.salt, exchange.encode(session.public), public)
    return Keys.of(secret, private, exchange.decode(public), *said)


def facts_of(config: NodeConfig, version: str) -> dict[str, str]:
    """What each side tells the other about itself."""
    facts = {name: str(getattr(config, name)) for name in ("own_address", "url_prefix", "prefix")}
    return facts | {"version": version}


def cannot_write(config: NodeConfig) -> str:
    """Why 'ft pair' could not change the secrets of this server; "" when it can."""
    kept = config.secrets
    if kept.keys_file is None:
        return GIVEN.format(key="FT_SECRET_KEYS", file=kept.folder / "secret.keys")
    if kept.peer_password.given:
        return GIVEN.format(key="FT_PEER_REDIS_PASSWORD", file=kept.peer_password_file)
    return ""


@contextlib.contextmanager
def adopting(config: NodeConfig, news: Mapping[str, Any]) -> Iterator[Callable[[redis.Redis | None], str]]:
    """What was agreed on, written beside the files that count. Gives what then puts it in their place.

    news: key, peer_password, own_hash. The call gets the running Redis, or None, and returns what could not be done
    there, as a sentence; "" when all was done. Raises SecretFileError, OSError: then nothing has changed.
    """
    kept, names = config.secrets, Names(config.prefix)
    assert kept.keys_file is not None, "cannot_write() comes first"
    texts = {  # the login at the other's Redis, the other's login here, last the keys, which decide
        kept.peer_password_file: f"{news['peer_password']}\n",
        kept.redis_users_file: redis_users.users_text(kept.own_user, news["own_hash"], names),
        kept.keys_file: keys_text(kept.keys_file, [news["key"]]),
    }
    with staged(texts) as put:

        def take(client: redis.Redis | None) -> str:
            put()
            try:
                if client is not None:
                    redis_users.apply(client, kept.own_user, news["own_hash"], names)
            except redis_users.RedisUsersError as error:
                return (
                    f"{error}. It takes the user of {kept.redis_users_file} when it starts, if redis.conf includes that"
                )
            return ""

        yield take
