"""TCP connects as health check, as to a call manager's CTI ports 2748 and 2749: side by side, within one limit."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence

from ftplugin.health.checks import Degraded
from ftplugin.health.tables import HealthTable

Endpoint = tuple[str, int]


def tcp(table: HealthTable) -> Callable[[], str]:
    """Check of kind "tcp": "" when all addresses (``need = "any"``: one of them) take a connection."""
    addresses, any_will_do = table.options["addresses"], table.options["need"] == "any"

    def check() -> str:
        bad = unreachable(addresses, table.timeout_s)
        text = "; ".join(f"{shown(address)}: {why}" for address, why in bad.items())
        return Degraded(text) if bad and any_will_do and len(bad) < len(addresses) else text

    return check


def shown(address: Endpoint) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unreachable(addresses: Sequence[Endpoint], limit_s: float) -> dict[Endpoint, str]:
    """Those that take no connection within ``limit_s`` seconds in all, each with its reason."""
    end_s = time.monotonic() + limit_s
    bad: dict[Endpoint, str] = {}
    with selectors.DefaultSelector() as waiting:
        for address in addresses:
            why, sock = _begin(address)
            if sock is not None:
                waiting.register(sock, selectors.EVENT_WRITE, address)
            elif why:
                bad[address] = why
        while waiting.get_map() and (left_s := end_s - time.monotonic()) > 0:
            for key, _ in waiting.select(left_s):
                assert isinstance(key.fileobj, socket.socket), "only sockets are registered"
                code = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                waiting.unregister(key.fileobj)
                key.fileobj.close()
                if code:
                    bad[key.data] = os.strerror(code).lower()
        for key in list(waiting.get_map().values()):
            bad[key.data] = f"no connection within {limit_s:g} s"
            assert isinstance(key.fileobj, socket.socket), "only sockets are registered"
            key.fileobj.close()
    return {address: bad[address] for address in addresses if address in bad}


def _begin(address: Endpoint) -> tuple[str, socket.socket | None]:
    """("", a socket that connects), or why there is none."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:  # socket.gaierror is one
        return (error.strerror or str(error)).lower(), None
    try:
        sock.connect(where)
    except BlockingIOError:
        return "", sock
    except OSError as error:
        sock.close()
        return (error.strerror or str(error)).lower(), None
    return "", sock  # connected at once: it is writable, so the selector says so
