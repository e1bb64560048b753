"""Where the state of a switch task is kept, for Flower and ``AsyncResult``: the node-local Redis."""

from __future__ import annotations

from typing import Any

from celery.backends.redis import RedisBackend


class SwitchResults(RedisBackend):
    """Celery's Redis backend for senders that never wait for a result.

    The stock one subscribes to each result it might be asked for: one more connection, held for as long as the sender
    lives, that can block a tick when Redis is frozen.
    """

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Subscribe to nothing."""
