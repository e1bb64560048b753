"""Who answers at the VIP (spec 5.3)."""

from __future__ import annotations

from typing import Any

from celery import shared_task


@shared_task(bind=True, name="workers.vip_destination", ignore_result=True, send_events=False)
def vip_destination(task: Any, *_: Any, **__: Any) -> None:
    """Returns at once when the same task is still running. Takes no arguments and ignores what it is given."""
    task.node.run_once("vip_destination", task.node.agent.probe_vip)
