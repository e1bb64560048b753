"""The server on which the code is typed: asks the other one, writes its files, confirms."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from ..config import NodeConfig
from ..core.settings import parse_address
from ..http_client import HttpClient, HttpFailure
from . import exchange, redis_users
from .answer import MESSAGE_BYTES_MAX, adopting, facts_of
from .exchange import ForgedError, Keys, PairingError
from .keyring import KEYS_MAX, fingerprint, read_keys, write_keys

LIMIT_S = 5.0
CONFIRM_TRIES, CONFIRM_PAUSE_S = 5, 0.5


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What came of it. trouble: what is left to do by hand, a sentence; "" when nothing is."""

    key: str
    peer: Mapping[str, Any]
    trouble: str

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)


def join(config: NodeConfig, version: str, address: str, code: str, client: redis.Redis | None) -> Joined:
    """Pair this server with the one at ``address`` (as settings name it), on which ``code`` is open.

    Raises PairingError, SettingsError (the address), SecretFileError, OSError. A pair that worked works on then, unless
    the message says that nobody knows whether the other server has changed.
    """
    base = parse_address("ADDRESS", address).url
    typed = exchange.read_code(code)
    target = "/" + config.url_prefix.strip("/") + "/node/pair"
    other = _Other(config, base, target.replace("//", "/"))
    hello = other.ask("hello", {})
    session, salt, public = (str(hello.get(name, "")) for name in ("session", "salt", "public"))
    private = exchange.new_private()
    own_public = exchange.encode(exchange.public_of(private))
    secret = exchange.stretched(typed, exchange.decode(salt))
    keys = Keys.of(secret, private, exchange.decode(public), session, salt, public, own_public)
    password = redis_users.new_password()
    sealed = keys.seal("join", {**facts_of(config, version), "redis_password": password})
    message = {"session": session, "public": own_public, "sealed": sealed, "proof": keys.proof("join", sealed)}
    reply = other.ask("join", message)
    answered = str(reply.get("sealed", ""))
    if not keys.proves(reply.get("proof"), "answer", sealed, answered):
        raise ForgedError(
            f"who answered at {base} has not the code: it is not your other server, or somebody is in between"
        )
    facts = keys.opened("answer", answered)
    news = {"key": facts["key"], "peer_password": facts["redis_password"], "own_hash": redis_users.hashed(password)}
    assert config.secrets.keys_file is not None, "cannot_write() comes first"
    former = read_keys(config.secrets.keys_file)[: KEYS_MAX - 1]
    write_keys(
        config.secrets.keys_file, [*former, news["key"]]
    )  # until the other one has confirmed, the former one signs
    confirm = {"session": session, "proof": keys.proof("confirm", answered)}
    with adopting(config, news) as take:  # all is on the disk before the other one gives up the former key
        if not keys.proves(_confirmed(other, confirm).get("proof"), "confirm", answered, "done"):
            raise ForgedError(f"the last word of {base} is not signed; pair once more")
        trouble = take(client)
    return Joined(key=str(facts["key"]), peer=facts, trouble=trouble)


def _confirmed(other: _Other, message: Mapping[str, Any]) -> dict[str, Any]:
    """A lost confirmation would leave two servers with different keys: it is sent again."""
    for left in reversed(range(CONFIRM_TRIES)):
        try:
            return other.ask("confirm", message)
        except PairingError as error:
            if not left or not isinstance(error, _NoAnswer):
                raise PairingError(
                    f"{error}. Whether the other server has taken the new key is not known: look there "
                    "whether 'ft pair' says so. Pair once more"
                ) from None
            time.sleep(CONFIRM_PAUSE_S)
    raise AssertionError("the last try returns or raises")


class _NoAnswer(PairingError):
    pass


class _Other:
    def __init__(self, config: NodeConfig, url: str, target: str) -> None:
        self._client, self._url, self._target = HttpClient(config.tls.context), url, target

    def ask(self, step: str, message: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps({"v": exchange.VERSION, "step": step, **message}).encode()
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._client.ask(
                "POST", self._url, self._target, limit_s=LIMIT_S, headers=headers, body=body,
                bytes_max=MESSAGE_BYTES_MAX, fresh=True, keep=False,
            )  # fmt: skip
        except HttpFailure as failure:
            raise _NoAnswer(f"{self._url}: {failure.detail}; see that its portal runs and can be reached") from None
        try:
            found = json.loads(answer.text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            way = "see that the address is the portal's own, and FT_URL_PREFIX the same on both servers"
            raise PairingError(
                f"{self._url}{self._target} is no server to pair with (HTTP status {answer.status}); {way}"
            )
        if answer.status != 200:
            raise PairingError(f"{self._url}: {str(found.get('error', f'HTTP status {answer.status}'))[:400]}")
        return found
