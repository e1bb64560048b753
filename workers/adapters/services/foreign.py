"""Controllers of other packages: entry points of the group ``ftplugin.services``; the entry's name is the kind.

    [options.entry_points]
    ftplugin.services =
        pbx = our_package.pbx:PbxService

Such a controller is code that this product does not know: it may raise, hang or answer nonsense. So each call runs in a
thread that is left behind at its limit, and whatever is no ``ServiceReading`` counts as unknown.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Callable

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading
from workers.adapters.runner import DaemonPool

from .common import Common, Service

GROUP = "ftplugin.services"
METHODS = ("promote", "demote", "status", "restart", "renew")
THREADS_MAX = 8  # of one service: once so many calls hang, further ones are refused at once


class Broken(Exception):
    """An entry point cannot be used; the text says which, of which package, and why."""


def names() -> set[str]:
    """Kinds that installed packages offer."""
    return {entry.name for entry in entry_points(group=GROUP)}


def load(kind: str) -> Any:
    """The kind as KINDS of tables.py wants it. Raises Broken."""
    found = list(entry_points(group=GROUP, name=kind))
    if len(found) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in found))
        raise Broken(f"{kind!r} is offered by {packages}: uninstall all but one")
    entry = found[0]
    told = f"{kind!r} ({entry.value} of {_package(entry)})"
    try:
        made = entry.load()
    except Exception as error:  # its module may raise anything while it is imported
        raise Broken(f"{told} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(made):
        raise Broken(f"{told} is no class or function but {type(made).__name__}")
    for attribute in ("KEYS", "REQUIRED"):
        value = getattr(made, attribute, None)
        if not isinstance(value, (list, tuple)) or not all(isinstance(word, str) for word in value):
            raise Broken(f"{told} has no {attribute}: it must be a tuple of texts (docs/services.md)")
    return Kind(told, made)


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown package"


class Kind:
    """A foreign kind, as callable as the product's own."""

    def __init__(self, told: str, make: Any) -> None:
        self._told, self._make = told, make
        self.KEYS, self.REQUIRED = tuple(make.KEYS), tuple(make.REQUIRED)

    def __call__(self, common: Common, **own: Any) -> Service:
        """Raises ValueError."""
        try:
            inner = self._make(common, **own)
        except ValueError:
            raise
        except Exception as error:  # foreign code may raise anything; the table's author must be told which
            raise ValueError(f"kind: {self._told} failed: {type(error).__name__}: {error}") from error
        missing = [word for word in METHODS if not callable(getattr(inner, word, None))]
        if missing:
            raise ValueError(f"kind: {self._told} has no {', '.join(missing)} (docs/services.md)")
        return ForeignService(common, inner)


class ForeignService:
    """ServicePort around a foreign controller: every call ends in time with a reading."""

    def __init__(self, common: Common, inner: Any) -> None:
        self.name, self._inner = common.name, inner
        self.start_limit_s, self.stop_limit_s = common.start_limit_s, common.stop_limit_s
        self.status_limit_s = common.status_limit_s
        self._pool = DaemonPool(THREADS_MAX)

    def promote(self, epoch: int, lease_left_s: float) -> ServiceReading:
        """Begin to own: the start goes on beside it, the call itself has the status limit."""
        return self._call(partial(self._inner.promote, epoch, lease_left_s), self.status_limit_s)

    def demote(self, epoch: int) -> ServiceReading:
        return self._call(partial(self._inner.demote, epoch), self.stop_limit_s)

    def status(self) -> ServiceReading:
        return self._call(self._inner.status, self.status_limit_s)

    def restart(self, own: bool) -> ServiceReading:
        return self._call(partial(self._inner.restart, own), self.stop_limit_s)

    def renew(self, epoch: int, lease_left_s: float, limit_s: float) -> None:
        self._wait(partial(self._inner.renew, epoch, lease_left_s, limit_s), limit_s)

    def _call(self, function: Callable[[], Any], limit_s: float) -> ServiceReading:
        said, problem = self._wait(function, limit_s)
        if not problem and not isinstance(said, ServiceReading):
            problem = f"its controller answered {type(said).__name__}, no ServiceReading"
        if problem:
            return ServiceReading(name=self.name, state=ServiceState.UNKNOWN, detail=problem)
        reading: ServiceReading = said
        return reading

    def _wait(self, function: Callable[[], Any], limit_s: float) -> tuple[Any, str]:
        call = self._pool.submit(function)
        if call is None:
            return None, f"{THREADS_MAX} calls of its controller hang"
        if not call.ended.wait(limit_s):
            return None, f"its controller did not answer within {limit_s:g} s"
        if call.error is not None:
            return None, f"its controller failed: {type(call.error).__name__}: {call.error}"
        return call.result, ""
