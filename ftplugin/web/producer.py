"""Sends tasks by name to the node's own switch worker; imports no worker code (design 2).

The limits are those measured to keep a send to a dead or frozen broker short: no pool, no retries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

SWITCH_TASK = "workers.switch"
CONNECT_LIMIT_S, ANSWER_LIMIT_S = 0.5, 0.5
ORDER_EXPIRES_S = 20  # an order that nobody took by then is dropped: judged on this host, by its own wall clock


class Producer:
    """redis_url: the node-local broker (FT_REDIS_URL). queue: name of the switch queue."""

    def __init__(self, redis_url: str, queue: str) -> None:
        self.queue = queue
        self._celery = Celery("ftplugin", broker=redis_url, set_as_current=False)
        self._celery.conf.update(
            broker_pool_limit=None,
            broker_connection_timeout=1,
            broker_connection_retry=False,
            broker_connection_retry_on_startup=False,
            task_publish_retry=False,
            task_ignore_result=True,
            broker_transport_options={
                "socket_connect_timeout": CONNECT_LIMIT_S,
                "socket_timeout": ANSWER_LIMIT_S,
                "health_check_interval": 0,
                "retry_on_timeout": False,
                "max_retries": 0,
                "interval_start": 0,
                "interval_step": 0,
                "interval_max": 0,
            },
        )
        with self._celery.connection_for_write() as connection:
            connection.transport  # imports kombu's Redis parts now: the first fence must not wait for that

    def switch(self, order: Mapping[str, Any]) -> str:
        """Send one order to the switch worker. Empty text: the broker took it; else why it did not."""
        try:
            self._celery.send_task(
                SWITCH_TASK,
                kwargs={"order": dict(order)},
                queue=self.queue,
                expires=ORDER_EXPIRES_S,
                retry=False,
                ignore_result=True,
            )
        except (OperationalError, RedisError, OSError) as error:
            return f"the node's Redis did not take the order: {error}"
        return ""
