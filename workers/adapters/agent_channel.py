"""The agent channel: demote(epoch) to the peer's own broker, its signed word back (spec 2, ChannelPort).

It works while the peer's portal is dead. Celery's defaults hang for over 20 s on a peer that answers nothing
(facts, Celery 9), so this file has its own small Celery application: no pool, no retries, short socket limits, an
address instead of a name, and a connection of its own for each message. The whole send runs on a thread that is
left behind at the limit; the socket limits end that thread soon after.
"""

from __future__ import annotations

import threading
import urllib.parse
from typing import Any, Callable, Sequence

import redis
from celery import Celery
from kombu.exceptions import KombuError

from ftplugin import protocol
from ftplugin.core.settings import Settings, SettingsError, parse_address
from ftplugin.core.terms import Designation
from ftplugin.store.keys import Keys

from .deadline_redis import DeadlineRedis
from .redis_votes import peer_redis_url
from .runner import DaemonPool

SEND_S_MAX = 2.0  # spec 5.5
SENDS_MAX = 4  # at most so many are left behind at once; a further one is refused
OWN_LIMIT_S = 0.2
WORD_CLEANUP_S = 300
DEMOTE_TASK = "workers.demote"


def make_app(broker: str, connect_s: float, socket_s: float) -> Celery:
    """A Celery application that can only send, and gives up in time. Limits in seconds."""
    app = Celery("ft-peer", broker=broker, set_as_current=False)
    app.conf.update(
        broker_pool_limit=None,
        broker_connection_timeout=connect_s,
        broker_connection_retry=False,
        broker_connection_retry_on_startup=False,
        task_publish_retry=False,
        task_ignore_result=True,
        result_backend=None,
        broker_transport_options={
            "socket_connect_timeout": connect_s,
            "socket_timeout": socket_s,
            "health_check_interval": 0,
            "retry_on_timeout": False,
            "max_retries": 0,
            "interval_start": 0,
            "interval_step": 0,
            "interval_max": 0,
        },
    )
    return app


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
        peer_user: str = "",
        peer_password: str = "",
        pool: DaemonPool | None = None,
    ) -> None:
        self._settings, self._designation, self._keys, self._secrets = settings, designation, keys, tuple(secret_keys)
        self._user, self._password = peer_user, peer_password
        self._pool = pool or DaemonPool()
        self._own = DeadlineRedis(own_url)
        self._lock = threading.Lock()
        self._sending = 0
        self._app: tuple[tuple[str, float], Celery] | None = None
        self._peer: tuple[str, DeadlineRedis] | None = None

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
        try:
            app = self._application(limit_s)
            message = protocol.make_demote(self._secrets, self._designation(), epoch, nonce)
            with app.connection_for_write() as connection:
                app.send_task(
                    DEMOTE_TASK,
                    kwargs=message,
                    queue=self._keys.queue("switch"),
                    connection=connection,
                    retry=False,
                    ignore_result=True,
                )
            return True
        except (redis.RedisError, OSError, SettingsError, KombuError):
            return False

    def _application(self, limit_s: float) -> Celery:
        broker = self._broker()
        known = self._app
        if known is not None and known[0] == (broker, limit_s):
            return known[1]
        if known is not None:
            known[1].close()
        app = make_app(broker, connect_s=max(0.05, limit_s / 2), socket_s=max(0.05, limit_s / 2))
        self._app = ((broker, limit_s), app)
        return app

    def _peer_url(self) -> str:
        settings, peer = self._settings(), self._designation().other
        return peer_redis_url(parse_address(f"{peer}_address", settings.address_of(peer)).host, settings.agent_port)

    def _broker(self) -> str:
        url = self._peer_url()
        if not (self._user or self._password):
            return url
        login = ":".join(urllib.parse.quote(text, safe="") for text in (self._user, self._password))
        return url.replace("redis://", f"redis://{login}@", 1)

    def word(self, nonce: str) -> tuple[int, bool] | None:
        """(epoch, clear) if the peer's agent has answered this nonce; an unsigned word is no answer."""
        try:
            text = self._own.call(OWN_LIMIT_S, "GET", self._keys.word_prefix + nonce)
            return protocol.read_word(self._secrets, self._designation().other, nonce, text) if text else None
        except (redis.RedisError, OSError, protocol.ProtocolError):
            return None

    def answer(self, nonce: str, epoch: int, clear: bool, limit_s: float) -> None:
        """Put the own signed word into the peer's Redis; a peer that cannot be reached goes without."""
        word = protocol.make_word(self._secrets, self._designation(), nonce, epoch, clear)
        try:
            peer = self._peer_redis(self._peer_url())
            peer.call(limit_s, "SET", self._keys.word_prefix + nonce, word, "EX", WORD_CLEANUP_S)
        except (redis.RedisError, OSError, SettingsError):
            return

    def _peer_redis(self, url: str) -> DeadlineRedis:
        """One kept connection, to where the settings say the peer is now."""
        with self._lock:
            known = self._peer
            if known is not None and known[0] == url:
                return known[1]
            login: dict[str, Any] = {"username": self._user or None, "password": self._password or None}
            client = DeadlineRedis(url, **login)
            self._peer = (url, client)
        if known is not None:
            known[1].close()
        return client

    def close(self) -> None:
        self._own.close()
        if self._peer is not None:
            self._peer[1].close()
