"""The agent channel: demote(epoch) to the peer's own broker, its signed word back (spec 2, ChannelPort).

It works while the peer's portal is dead. Celery's own way of sending hangs for over 20 s on a peer that answers nothing
(facts, Celery 9) and would need more rights there, so the message is written here (``agent_message``) and pushed with
one command: an address instead of a name, and a connection of its own for each message. The send runs on a thread that
is left behind at the limit; its own limits end it then.
"""

from __future__ import annotations

import json
import threading
from typing import Any, Callable, Mapping, Sequence

import redis

from ftplugin import protocol
from ftplugin.core.settings import Settings, SettingsError, parse_address
from ftplugin.core.terms import Designation
from ftplugin.store.keys import AGENT_QUEUE, Keys

from .agent_message import message
from .deadline_redis import DeadlineRedis
from .redis_votes import Login, no_login, over_tls, peer_redis_url
from .runner import DaemonPool

SEND_S_MAX = 2.0  # spec 5.5
SENDS_MAX = 4  # at most so many are left behind at once; a further one is refused
OWN_LIMIT_S = 0.2
WORD_CLEANUP_S = 300


class AgentChannel:
    """ChannelPort between the Redis of both nodes.

    settings, designation: asked at every call. own_url: the node-local Redis, where the peer's words arrive.
    """

    def __init__(
        self,
        *,
        own_url: str,
        settings: Callable[[], Settings],
        designation: Callable[[], Designation],
        keys: Keys,
        secret_keys: Sequence[str],
        peer_login: Login = no_login,
        peer_tls: Mapping[str, str] | None = None,
        pool: DaemonPool | None = None,
    ) -> None:
        self._settings, self._designation, self._keys, self._secrets = settings, designation, keys, secret_keys
        self._login, self._tls = peer_login, peer_tls
        self._pool = pool or DaemonPool()
        self._own = DeadlineRedis(own_url)
        self._lock = threading.Lock()
        self._sending = 0
        self._peer: tuple[tuple[str, Mapping[str, Any]], DeadlineRedis] | None = None

    def demote(self, epoch: int, nonce: str, limit_s: float) -> bool:
        """True when the peer's broker took demote(epoch) within min(limit_s, 2) seconds."""
        limit_s = min(limit_s, SEND_S_MAX)
        with self._lock:
            if limit_s <= 0 or self._sending >= SENDS_MAX:
                return False
            self._sending += 1
        call = self._pool.submit(lambda: self._send(epoch, nonce, limit_s), lambda _: self._sent())
        if call is None:
            self._sent()
            return False
        return call.ended.wait(limit_s) and call.result is True

    def _sent(self) -> None:
        with self._lock:
            self._sending -= 1

    def _send(self, epoch: int, nonce: str, limit_s: float) -> bool:
        client: DeadlineRedis | None = None
        try:
            queue = self._keys.queue(AGENT_QUEUE)
            demote = protocol.make_demote(self._secrets, self._designation(), epoch, nonce)
            url, options = self._place()
            client = DeadlineRedis(url, **options)
            client.call(limit_s, "LPUSH", queue, json.dumps(message(demote, queue)))
            return True
        except (redis.RedisError, OSError, SettingsError, protocol.ProtocolError):
            return False
        finally:
            if client is not None:
                client.close()

    def _place(self) -> tuple[str, dict[str, Any]]:
        """(URL, options) of the peer's Redis, as they are now."""
        settings, peer = self._settings(), self._designation().other
        host = parse_address(f"{peer}_address", settings.address_of(peer)).host
        url = over_tls(peer_redis_url(host, settings.agent_port), self._tls)
        return url, {**self._login(), **(self._tls or {})}

    def word(self, nonce: str) -> tuple[int, bool] | None:
        """(epoch, clear) if the peer's agent has answered this nonce; an unsigned word is no answer."""
        try:
            text = self._own.call(OWN_LIMIT_S, "GET", self._keys.word_prefix + nonce)
            return protocol.read_word(self._secrets, self._designation().other, nonce, text) if text else None
        except (
            redis.RedisError,
            OSError,
            ValueError,
        ):  # ProtocolError, and what is no text: whoever has the login wrote it
            return None

    def answer(self, nonce: str, epoch: int, clear: bool, limit_s: float) -> None:
        """Put the own signed word into the peer's Redis; a peer that cannot be reached goes without."""
        word = protocol.make_word(self._secrets, self._designation(), nonce, epoch, clear)
        try:
            peer = self._peer_redis(*self._place())
            peer.call(limit_s, "SET", self._keys.word_prefix + nonce, word, "EX", WORD_CLEANUP_S)
        except (redis.RedisError, OSError, SettingsError):
            return

    def _peer_redis(self, url: str, options: Mapping[str, Any]) -> DeadlineRedis:
        """One kept connection, to where the settings say the peer is now."""
        with self._lock:
            known = self._peer
            if known is not None and known[0] == (url, options):
                return known[1]
            client = DeadlineRedis(url, **options)
            self._peer = ((url, options), client)
        if known is not None:
            known[1].close()
        return client

    def close(self) -> None:
        self._own.close()
        if self._peer is not None:
            self._peer[1].close()
