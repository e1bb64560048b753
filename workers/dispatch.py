"""Dispatch port: a switch sequence becomes a task of the switch worker, and its steps that task's visible state."""

from __future__ import annotations

import logging
import queue
import re
import threading
from typing import Any, Mapping

from celery import Celery

ORDER_EXPIRES_S = 10.0  # an order not begun by then is void; the agent decides afresh at its next tick
ANSWER_LIMIT_S = 0.4  # two waits, for connection and answer, stay below the second a tick may spend here
STEPS_KEPT = 100
logger = logging.getLogger(__name__)


class CeleryDispatch:
    """DispatchPort of a real node."""

    def __init__(self, app: Celery, switch_queue: str) -> None:
        self._app, self._queue_name = app, switch_queue
        self._local = threading.local()
        self._last_task_id = ""
        self._open: set[str] = set()
        self._showing = threading.Lock()
        self._steps: queue.Queue[tuple[str, str, str]] = queue.Queue(maxsize=STEPS_KEPT)
        self._teller: threading.Thread | None = None

    def switch(self, order: Mapping[str, Any]) -> bool:
        """Start the sequence ``order`` on the switch queue. False when Redis did not take it within a second."""
        options = dict(self._app.conf.broker_transport_options)
        options |= {"socket_timeout": ANSWER_LIMIT_S, "socket_connect_timeout": ANSWER_LIMIT_S}
        options["health_check_interval"] = 0
        try:
            with self._app.connection_for_write(transport_options=options) as link:
                with self._app.amqp.Producer(link, auto_declare=False) as producer:
                    self._app.send_task(
                        "workers.switch",
                        [dict(order)],
                        producer=producer,
                        queue=self._queue_name,
                        expires=ORDER_EXPIRES_S,
                        retry=False,
                    )
            return True
        except Exception as error:  # kombu, redis and socket errors share no base class; each means: not taken
            logger.error("the switch order was not taken by the node's Redis: %r", error)
            return False

    def begin(self, task_id: str) -> None:
        """The calling thread runs this switch task from now on."""
        self._local.task_id = self._last_task_id = task_id
        with self._showing:
            self._open.add(task_id)

    def end(self) -> None:
        """The calling thread's task is over: a step still waiting must not overwrite its result."""
        with self._showing:
            self._open.discard(self._local.task_id)
        self._local.task_id = ""

    def progress(self, step: str, detail: str) -> None:
        """Show ``step`` in the task's state. Returns at once: showing must not cost a switch its time."""
        task_id = getattr(self._local, "task_id", "") or self._last_task_id
        if not task_id:
            return
        if self._teller is None:
            self._teller = threading.Thread(target=self._tell, name="progress", daemon=True)
            self._teller.start()
        try:
            self._steps.put_nowait((task_id, step, detail))
        except queue.Full:
            logger.warning("step %s is not shown: Redis has not taken the last %d steps", step, STEPS_KEPT)

    def _tell(self) -> None:
        while True:
            task_id, step, detail = self._steps.get()
            try:
                self._show(task_id, step, detail)
            except Exception as error:  # display only: the journal has every step
                logger.warning("step %s of task %s is not shown: %r", step, task_id, error)

    def _show(self, task_id: str, step: str, detail: str) -> None:
        """State PROGRESS with {step, detail} for AsyncResult; an event named by the step for Flower's list."""
        with self._showing:
            if task_id not in self._open:
                return
            self._app.backend.store_result(task_id, {"step": step, "detail": detail}, "PROGRESS")
        name = re.sub(r"[^a-z0-9]+", "-", step.lower()).strip("-") or "step"
        with self._app.connection_for_write() as link:
            with self._app.events.Dispatcher(link, buffer_while_offline=False) as events:
                events.send(f"task-{name}", uuid=task_id, step=step, detail=detail)
