"""Virtual time: greenlets instead of threads, one heap of wake-ups, and processes that can be killed, frozen and thawed."""

from __future__ import annotations

import heapq
import itertools
from typing import Any, Callable

import greenlet


class Process:
    """One process of a simulated host. A frozen one keeps its due wake-ups until it is thawed; a dead one loses them."""

    def __init__(self, name: str) -> None:
        self.name, self.alive, self.frozen = name, True, False
        self.stalled: list[Task] = []


class Task:
    """One thread of a process."""

    __slots__ = ("process", "let", "wake", "done")

    def __init__(self, process: Process, call: Callable[[], Any], hub: Any) -> None:
        self.process, self.done, self.wake = process, False, 0
        self.let = greenlet.greenlet(call, parent=hub)


class Kernel:
    """The scheduler. ``now`` is the true time of the simulated world, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.closed = False
        self.hub = greenlet.getcurrent()
        self.current: Task | None = None
        self._heap: list[tuple[float, int, Task | None, int, Callable[[], None] | None]] = []
        self._order = itertools.count()
        self._kept: list[Task] = []

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Run ``call`` in the hub at that time (faults, measurements)."""
        heapq.heappush(self._heap, (when, next(self._order), None, 0, call))

    def spawn(self, process: Process, call: Callable[[], Any]) -> Task:
        task = Task(process, self._guarded(call), self.hub)
        self._kept.append(task)
        self._schedule(task, self.now)
        return task

    def _guarded(self, call: Callable[[], Any]) -> Callable[[], Any]:
        def body() -> None:
            task = self.current
            assert task is not None
            try:
                call()
            finally:
                task.done = True

        return body

    def _schedule(self, task: Task, when: float) -> None:
        task.wake += 1
        heapq.heappush(self._heap, (when, next(self._order), task, task.wake, None))

    def sleep(self, seconds: float) -> None:
        """Suspend the current task. A dead process never comes back from here."""
        task = self.current
        assert task is not None
        self._schedule(task, self.now + max(0.0, seconds))
        self._switch_to_hub()

    def wake(self, task: Task) -> None:
        """Make a sleeping task runnable now."""
        if not task.done:
            self._schedule(task, self.now)

    def _switch_to_hub(self) -> None:
        task = self.current
        self.hub.switch()
        if self.closed or (task is not None and not task.process.alive):
            raise greenlet.GreenletExit
        self.current = task

    def check(self) -> None:
        """Called by every port: a killed process does nothing more, not even in a ``finally``."""
        if self.closed or (self.current is not None and not self.current.process.alive):
            raise greenlet.GreenletExit

    def kill(self, process: Process) -> None:
        process.alive = False
        process.stalled.clear()

    def freeze(self, process: Process) -> None:
        process.frozen = True

    def thaw(self, process: Process) -> None:
        process.frozen = False
        stalled, process.stalled = process.stalled, []
        for task in stalled:
            self._schedule(task, self.now)

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            when, _, task, wake, call = heapq.heappop(self._heap)
            self.now = max(self.now, when)
            if call is not None:
                self.current = None
                call()
                continue
            if task is None or task.done or wake != task.wake or not task.process.alive:
                continue
            if task.process.frozen:
                task.process.stalled.append(task)
                continue
            self.current = task
            task.let.switch()
            self.current = None
        self.now = max(self.now, until)

    def close(self) -> None:
        """End every task. Their ``finally`` blocks run, but every port refuses."""
        self.closed = True
        for task in self._kept:
            if not task.done and task.let:
                self.current = None
                task.let.throw()
        self._kept.clear()
        self._heap.clear()

    def side_by_side(
        self, calls: list[Callable[[], Any]], limit: float, enough: Callable[[Any], bool] | None = None
    ) -> list[Any]:
        """The Runner port: children in the same process, results in order, None for late ones."""
        parent = self.current
        assert parent is not None
        results: list[Any] = [None] * len(calls)
        left = [len(calls)]
        finished = [False]

        def child(index: int, call: Callable[[], Any]) -> Callable[[], None]:
            def body() -> None:
                results[index] = call()
                left[0] -= 1
                if not finished[0] and (left[0] == 0 or (enough is not None and enough(results[index]))):
                    finished[0] = True
                    self.wake(parent)

            return body

        for index, call in enumerate(calls):
            self.spawn(parent.process, child(index, call))
        if calls:
            self.sleep(limit)
        finished[0] = True
        return list(results)
