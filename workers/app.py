"""The Celery application of one node: JSON only, on the node-local Redis, every network call with a short limit.

Nothing of Celery's defaults that waits is kept: reconnects step from 0.2 to 1 s (``consumer``, ``beat``), a sender
gives up within about a second, and no message is taken off the queue before a thread is free to run it.
"""

from __future__ import annotations

import re
from typing import Any, cast

from celery import Celery
from kombu.entity import Exchange, Queue

from ftplugin.config import NodeConfig
from ftplugin.store.keys import AGENT_QUEUE, Keys

from .node import MakeParts, Node

CONNECT_LIMIT_S = 0.5
ANSWER_LIMIT_S = 1.0
HEALTH_CHECK_S = 2  # kombu drops a half-open connection after 1 s plus two of these; its default needs 51 s
RESULT_KEEP_S = 86_400
TICK_TASKS = ("workers.heartbeat", "workers.vip_destination", "workers.watchdog")
SWITCH_TASKS = ("workers.switch", "workers.demote", "workers.recover")
# One more than are ever busy at a time: a tick, the next two waiting for it, VIP and watchdog, each with its successor; or
# a promotion and the demotions that interrupt it. With all of them busy Celery reads no message for up to a second more.
POOL_THREADS = 8

TRANSPORT: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_LIMIT_S,
    "socket_timeout": ANSWER_LIMIT_S,
    "health_check_interval": HEALTH_CHECK_S,
    "retry_on_timeout": False,
    "ack_emulation": False,  # see transport.NodeQoS
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}


def masked(url: str) -> str:
    """The URL with its password replaced, as it may be shown in a message."""
    return re.sub(r"(://[^/@:]*:).*@", r"\1***@", url)


def create_app(config: NodeConfig, make_parts: MakeParts | None = None) -> Celery:
    """The application of this node.

    config: the node's configuration. make_parts: builds the agent and its ports when a worker starts; None takes the
    real ones (``build.build_parts``).
    """
    keys = Keys(config.prefix)
    app = Celery("workers", set_as_current=True, include=["workers.tasks"], task_cls="workers.tasks.base:NodeTask")
    app.node = Node(config, app, make_parts)
    app.conf.update(_settings(config, keys))
    from .steps import EmbeddedBeat, NodeStep

    app.steps["worker"].add(NodeStep)
    app.steps["worker"].add(EmbeddedBeat)
    return app


def _queue(name: str) -> Any:
    make_queue, make_exchange = cast(Any, Queue), cast(Any, Exchange)  # kombu has no annotations
    return make_queue(name, make_exchange(name), routing_key=name)


def _settings(config: NodeConfig, keys: Keys) -> dict[str, Any]:
    tick, switch, agent = (keys.queue(name) for name in ("tick", "switch", AGENT_QUEUE))
    routes: dict[str, dict[str, str]] = {name: {"queue": tick} for name in TICK_TASKS}
    routes |= {name: {"queue": switch} for name in SWITCH_TASKS}
    return {
        "broker_url": config.redis_url,
        "broker_transport": "workers.transport:NodeTransport",
        "broker_transport_options": dict(TRANSPORT),
        "broker_connection_timeout": 1,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_limit": None,
        "task_publish_retry": False,
        "task_queues": tuple(_queue(name) for name in (tick, switch, agent)),
        "task_default_queue": tick,
        "task_routes": routes,
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "result_backend": f"workers.results:SwitchResults+{config.redis_url}",
        "result_backend_transport_options": {
            "retry_policy": {"max_retries": 0, "interval_start": 0, "timeout": 1.0},
            "global_keyprefix": keys.results,
        },
        # by Celery's own names a "shutdown" to one instance, or to the portal's own Celery, would end every worker
        "control_exchange": keys.instance,
        "event_exchange": f"{keys.instance}.events",
        "event_queue_prefix": f"{keys.instance}.events",
        "result_expires": RESULT_KEEP_S,
        "redis_socket_timeout": ANSWER_LIMIT_S,
        "redis_socket_connect_timeout": CONNECT_LIMIT_S,
        "redis_retry_on_timeout": False,
        "worker_pool": "threads",
        "worker_concurrency": POOL_THREADS,
        "worker_consumer": "workers.consumer:NodeConsumer",
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,  # of the switch worker, for Flower: the tasks of a tick have send_events=False
        "task_send_sent_event": False,  # the portal sends orders too, and should not need a second message for each
        "worker_cancel_long_running_tasks_on_connection_loss": True,  # touches acks_late tasks alone; there are none
        "worker_enable_prefetch_count_reduction": False,
        "beat_scheduler": "workers.beat:NodeScheduler",
        "beat_max_loop_interval": 1,
        "beat_enable_remote_control": False,
        "enable_utc": True,
        "timezone": "UTC",
    }
