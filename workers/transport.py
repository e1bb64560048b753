"""The Redis transport of a node's worker: a garbled message is refused and counted instead of ending the worker.

The peer may write to the agent queue. With kombu's own channel one line there that is no JSON object takes the worker
down; and of what is readable nothing is taken but the fields of a demote (``adapters.agent_message``).
"""

from __future__ import annotations

import logging
from typing import Any, Callable, cast

from kombu.transport.redis import Channel, Transport
from kombu.transport.virtual import QoS

from ftplugin.store.keys import AGENT_QUEUE

from .adapters.agent_message import cleaned

GARBLED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
logger = logging.getLogger(__name__)


class NodeQoS(QoS):
    """Keeps no list of taken messages in Redis and puts none back.

    kombu's list would bring the message of a killed worker back after an hour: a switch that late is worse than none,
    and whoever sent it decides afresh. Keeping it also costs two transactions a message.
    """

    restore_at_shutdown = False


class NodeChannel(Channel):
    """Channel whose readers outlive a message that cannot be read."""

    refused: Callable[[str], None] = staticmethod(lambda text: logger.error("refused: %s", text))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.QoS = cast(Any, NodeQoS)

    def _brpop_read(self, **options: Any) -> Any:
        return self._guarded(super()._brpop_read, options)

    def _receive(self) -> Any:
        return self._guarded(super()._receive, {})

    def _guarded(self, read: Callable[..., Any], options: dict[str, Any]) -> Any:
        try:
            return read(**options)
        except GARBLED as error:
            logger.debug("garbled message", exc_info=True)
            type(self).refused(f"a message in the queue cannot be read: {type(error).__name__}: {error}")
            return None


class NodeTransport(Transport):
    """Hands on what was read from a queue; from the agent queue demote messages alone, made anew."""

    Channel = NodeChannel

    def _deliver(self, message: Any, queue: str) -> None:
        if queue.rpartition("-")[2] == AGENT_QUEUE:
            message = cleaned(message, queue)  # ValueError: refused where it was read
        super()._deliver(message, queue)  # type: ignore[no-untyped-call]
