"""What every controller is given, and what it must offer (spec 6)."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from typing import Protocol

from ftplugin.core.view import ServiceReading


class ServiceError(ValueError):
    """One FT_SERVICES table is wrong; the message names the service, the field, its value and the way out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Common:
    """What a controller of any kind gets from its table and its node.

    name: of the service. start_limit_s, stop_limit_s, status_limit_s: how long each may take, in seconds.
    start_file: where this node's processes share what they know of it, see start_file.py; None when there is but one.
    ask_outside: whether agents, systemd and supervisord may be asked now if what the table names exists. The guard does
    not ask: it must run, and demote the rest, though one agent is broken.
    prefix: FT_PREFIX, of several instances on this server: what is named by the service alone must have it too.
    at_boot: it may start by itself at boot, as the portal does, which runs on both servers.
    """

    name: str
    start_limit_s: float
    stop_limit_s: float
    status_limit_s: float
    start_file: pathlib.Path | None = None
    ask_outside: bool = True
    prefix: str = ""
    at_boot: bool = False


class Service(Protocol):
    """A controller: ``ServicePort`` of workers/ports.py."""

    name: str
    start_limit_s: float
    stop_limit_s: float
    status_limit_s: float

    def promote(self, epoch: int, lease_left_s: float) -> ServiceReading: ...

    def demote(self, epoch: int) -> ServiceReading: ...

    def status(self) -> ServiceReading: ...

    def restart(self, own: bool) -> ServiceReading: ...

    def renew(self, epoch: int, lease_left_s: float, limit_s: float) -> None: ...
