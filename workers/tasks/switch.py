"""Switch sequences, the peer's demote message, and recovery after a start; all in the switch worker.

A message may come late or garbled: its form is checked here, its signature and epoch by the agent. What is refused is
logged and counted, and changes nothing.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task

from ftplugin.protocol import ProtocolError
from workers.node import order_problem

DEMOTE_FIELDS = {"sender", "epoch", "nonce", "signature"}


@shared_task(bind=True, name="workers.switch", track_started=True)
def switch(task: Any, order: Any = None, *_: Any, **__: Any) -> dict[str, Any]:
    """Carry out one order {kind, rule, epoch, …}; the result says how it ended."""
    node = task.node
    problem = order_problem(order)
    if problem:
        node.refuse("unreadable", problem)
        return {"outcome": "refused", "detail": problem}
    node.dispatch.begin(task.request.id)
    try:
        return dict(node.agent.run_order(dict(order)))
    except Exception as error:
        node.parts.log.report("workers", f"switch {order['kind']} failed: {type(error).__name__}: {error}")
        raise
    finally:
        node.dispatch.end()


@shared_task(bind=True, name="workers.demote", ignore_result=True)
def demote(task: Any, *args: Any, **kwargs: Any) -> None:
    """The agent channel's one command, sent by the peer (protocol.make_demote)."""
    node = task.node
    if args or set(kwargs) != DEMOTE_FIELDS:
        node.refuse("unreadable", f"a demote message has the fields {', '.join(sorted(DEMOTE_FIELDS))} and no other")
        return
    node.dispatch.begin(task.request.id)
    try:
        node.agent.handle_demote(**kwargs)
    except ProtocolError as error:
        node.refuse(error.cause, f"demote message: {error}")
    finally:
        node.dispatch.end()


@shared_task(bind=True, name="workers.recover", ignore_result=True)
def recover(task: Any, *_: Any, **__: Any) -> None:
    """Resume or undo a switch that a crash left open (I-G)."""
    task.node.run_once("recover", task.node.agent.recover)
