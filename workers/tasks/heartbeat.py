"""One tick of the agent: collect, decide, persist, execute."""

from __future__ import annotations

from typing import Any

from celery import shared_task


@shared_task(bind=True, name="workers.heartbeat", ignore_result=True)
def heartbeat(task: Any, *_: Any, **__: Any) -> None:
    """Returns at once when the same task is still running. Takes no arguments and ignores what it is given."""
    task.node.run_once("heartbeat", task.node.tick)
