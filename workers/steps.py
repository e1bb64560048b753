"""Boot steps that make a Celery worker a worker of this node, however it is started."""

from __future__ import annotations

import threading
import time
from typing import Any

from celery import bootsteps, signals
from celery.utils.log import get_logger
from celery.worker.state import maybe_shutdown

from ftplugin.config import ConfigError
from ftplugin.store.keys import AGENT_QUEUE

from .locks import LockTaken
from .transport import NodeChannel

RECOVER_RETRY_S = 0.5
EXIT_USAGE, EXIT_LOCKED, EXIT_CONFIG = 64, 75, 78  # EX_USAGE, EX_TEMPFAIL, EX_CONFIG of sysexits.h
logger = get_logger(__name__)


class NodeStep(bootsteps.StartStopStep):
    """Builds the agent before the first message is taken. The queue consumed says which worker this is."""

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        node = worker.app.node
        queues = worker.app.amqp.queues
        role = _role(node, set(queues.consume_from))
        if role == "switch":  # the peer's demotions: a queue of their own, which the peer may write to
            queues.select_add(queues[node.keys.queue(AGENT_QUEUE)])
        try:
            node.start(role, keep_waiting=maybe_shutdown)
        except LockTaken as error:
            logger.critical("%s", error)
            raise SystemExit(EXIT_LOCKED) from None
        except ConfigError as error:
            logger.critical("%s", error)
            raise SystemExit(EXIT_CONFIG) from None
        NodeChannel.refused = staticmethod(lambda text: node.refuse("unreadable", text))

    def stop(self, worker: Any) -> None:
        worker.app.node.stop()


class EmbeddedBeat(bootsteps.StartStopStep):
    """Beat as a thread of the tick worker: one process instead of two. Enabled by ``python -m workers tick --beat``."""

    requires = (NodeStep,)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        self._service: Any = None
        super().__init__(worker, **kwargs)

    def include_if(self, worker: Any) -> bool:
        return bool(worker.app.node.beat_embedded)

    def start(self, worker: Any) -> None:
        from celery.beat import EmbeddedService

        self._service = EmbeddedService(worker.app, thread=True, scheduler_cls=worker.app.conf.beat_scheduler)
        self._service.start()

    def stop(self, worker: Any) -> None:
        if self._service is not None:
            self._service.service.stop()


def _role(node: Any, queues: set[str]) -> str:
    queues = queues - {node.keys.queue(AGENT_QUEUE)}  # named too, as "-Q ft-switch,ft-agent", or not
    for role in ("tick", "switch"):
        if queues == {node.keys.queue(role)}:
            return role
    wanted = " or ".join(node.keys.queue(role) for role in ("tick", "switch"))
    given = ", ".join(sorted(queues))
    logger.critical("a worker consumes exactly one queue: start it with -Q %s (given: %s)", wanted, given)
    raise SystemExit(EXIT_USAGE)


@signals.worker_ready.connect
def _on_ready(sender: Any, **_: Any) -> None:
    """The switch worker first resumes or undoes what a crash left open, in a task like any other switch."""
    app = sender.app
    if refusal := app.node.parts.rival():  # Redis did not answer when it was asked at first
        logger.critical("%s", refusal)
        raise SystemExit(EXIT_LOCKED)
    if app.node.role == "switch":
        threading.Thread(target=_send_recover, args=(app,), name="recover", daemon=True).start()


def _send_recover(app: Any) -> None:
    while True:
        try:
            app.send_task("workers.recover", queue=app.node.keys.queue("switch"), retry=False, ignore_result=True)
            return
        except Exception as error:  # kombu, redis and socket errors share no base class; each means: not taken
            logger.warning("recovery waits for the node's Redis: %r", error)
            time.sleep(RECOVER_RETRY_S)
