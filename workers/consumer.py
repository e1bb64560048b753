"""The worker's side of the broker connection: reconnects in steps of 0.2 to 1 s and says once what it waits for.

Celery's own consumer waits 2, 4, 6 … 30 s between attempts and no setting changes that.
"""

from __future__ import annotations

import time
from typing import Any

from celery.utils.log import get_logger
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from .app import masked

STEP_S = 0.2
STEP_S_MAX = 1.0
SAY_AGAIN_S = 30.0
logger = get_logger(__name__)


class NodeConsumer(Consumer):
    """Consumer of one queue of the node-local Redis."""

    def ensure_connected(self, conn: Any) -> Any:
        """``conn`` once it is connected; tries for ever, as long as the worker is not told to stop."""
        url = masked(self.app.conf.broker_url)
        said_s: float | None = None

        def on_error(error: Exception, interval_s: float) -> None:
            nonlocal said_s
            if said_s is None or time.monotonic() - said_s > SAY_AGAIN_S:
                text = "Redis %s (FT_REDIS_URL) cannot be reached: %s Trying again until it answers."
                logger.error(text, url, str(error).rstrip(".") + ".")
                said_s = time.monotonic()

        conn = conn.ensure_connection(
            on_error,
            None,
            interval_start=STEP_S,
            interval_step=STEP_S,
            interval_max=STEP_S_MAX,
            callback=maybe_shutdown,
        )
        if said_s is not None:
            logger.warning("Redis %s answers again.", url)
        self.first_connection_attempt = False
        self.broker_connection_retry_attempt = 0
        return conn

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Drop the broken connection. What closing it raises must not end the worker.

        kombu 5.7 raises an AttributeError there when a message was taken but not yet acknowledged as Redis died.
        """
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:
            logger.warning("closing the broken connection to Redis: %r", error)
            self.connection = None

    # Celery drops each of these with a log line; here they are counted too, for the page.

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        self._refuse(f"the body of a message cannot be read: {exc}")
        message.ack()

    def on_unknown_message(self, body: Any, message: Any) -> None:
        self._refuse("a message is not a task")
        super().on_unknown_message(body, message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._refuse(f"a message asks for a task that is not known: {exc}")
        super().on_unknown_task(body, message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._refuse(f"a task message is not valid: {exc}")
        super().on_invalid_task(body, message, exc)

    def _refuse(self, text: str) -> None:
        self.app.node.refuse("unreadable", text[:300])
