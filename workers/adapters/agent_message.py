"""The one message of the agent channel, as Celery writes it, and what is taken of it on the other side.

The sender writes the message itself: with Celery's own way of sending, the login at the other server's Redis would need
four more commands and the lists of queues. The receiver takes nothing of a message but the four fields of the signed
demote, and makes a new one of them: whoever may write into that queue can name no other task, no callback and no task
that follows.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from typing import Any

DEMOTE_TASK = "workers.demote"
FIELDS = {"sender": str, "epoch": int, "nonce": str, "signature": str}
TEXT_CHARS_MAX = 200
BODY_CHARS_MAX = 4_096


def message(demote: Mapping[str, Any], queue: str) -> dict[str, Any]:
    """The Celery message (protocol 2) of ``protocol.make_demote``'s fields. Never expires: wall clocks differ."""
    task_id = str(uuid.uuid4())
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = base64.b64encode(json.dumps([[], dict(demote), embed]).encode()).decode()
    headers: dict[str, Any] = {"lang": "py", "task": DEMOTE_TASK, "id": task_id, "root_id": task_id, "parent_id": None}
    headers |= {"shadow": None, "eta": None, "expires": None, "group": None, "group_index": None, "retries": 0}
    headers |= {"timelimit": [None, None], "argsrepr": "()", "kwargsrepr": "{}", "origin": "ft-agent"}
    headers |= {"ignore_result": True, "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {}}
    properties: dict[str, Any] = {"correlation_id": task_id, "reply_to": "", "delivery_mode": 2, "priority": 0}
    properties |= {"delivery_info": {"exchange": "", "routing_key": queue}, "body_encoding": "base64"}
    properties["delivery_tag"] = str(uuid.uuid4())
    return {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }


def cleaned(received: Any, queue: str) -> dict[str, Any]:
    """A new message with what a received one may say. Raises ValueError: it is no demote, and it is refused."""
    try:
        task, body = received["headers"]["task"], received["body"]
        if task != DEMOTE_TASK:
            raise ValueError(f"the agent channel carries {DEMOTE_TASK} alone, not {str(task)[:50]!r}")
        if not isinstance(body, str) or len(body) > BODY_CHARS_MAX:
            raise ValueError("a demote message has no body, or one that is too long")
        _, found, *_ = json.loads(base64.b64decode(body, validate=True))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"a demote message has not the form of one: {type(error).__name__}") from None
    if not isinstance(found, dict) or set(found) != set(FIELDS):
        raise ValueError(f"a demote message has the fields {', '.join(sorted(FIELDS))} and no other")
    for name, kind in FIELDS.items():
        if type(found[name]) is not kind or len(str(found[name])) > TEXT_CHARS_MAX:
            raise ValueError(f"a demote message has a {name} that cannot be one")
    return message(found, queue)
