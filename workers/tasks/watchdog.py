"""Look after the services (spec 6)."""

from __future__ import annotations

from typing import Any

from celery import shared_task


@shared_task(bind=True, name="workers.watchdog", ignore_result=True, send_events=False)
def watchdog(task: Any, *_: Any, **__: Any) -> None:
    """Returns at once when the same task is still running. Takes no arguments and ignores what it is given."""
    task.node.run_once("watchdog", task.node.agent.watch_services)
