"""One tick of the agent: collect, decide, persist, execute."""

from __future__ import annotations

from typing import Any

from celery import shared_task


@shared_task(bind=True, name="workers.heartbeat", ignore_result=True, send_events=False)
def heartbeat(task: Any, *_: Any, **__: Any) -> None:
    """Waits up to half an interval for a tick that is still running. Ignores whatever arguments it is given."""
    task.node.heartbeat()
