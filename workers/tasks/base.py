"""Base of the tasks: gives them their node."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from celery import Task

if TYPE_CHECKING:
    from workers.node import Node


class NodeTask(Task):
    """A task that runs in a worker of this node."""

    abstract = True

    @property
    def node(self) -> Node:
        return cast("Node", self.app.node)
