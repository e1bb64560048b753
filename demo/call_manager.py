"""A call manager that knows who owns each port: the demo's stand-in for a Cisco one, and the oracle for split-brain.

Protocol: TCP, one JSON object a line in both directions, one answer to each request, in order. Every answer has ``ok``.

    {"op": "hello", "node": "server1"}        names the client; from then on it must be heard every ``keepalive_s``
    {"op": "register", "port": 7001}          grants the port, or {"ok": false, "owner": "server2", "free_in_s": 12.0,
                                              "detail": …}
    {"op": "unregister", "port": 7001}        gives it back at once
    {"op": "heartbeat"}                       any other request counts as one too
    {"op": "others"}                          {"others": {"7001": "server2"}}: ports of this client that others own too
    {"op": "owners"}                          control: {"owners": {"7001": [{"node": …, "vanished": false}]}}
    {"op": "set", "release_delay_s": 2, …}    control: also ``keepalive_s`` and ``mode``; answers the values in force

A client *vanishes* when its connection ends, or when it has said nothing for the keepalive limit (a frozen process
keeps its connection, so only silence shows it). Its ports stay with it for the release delay, counted from the end of
the connection or, after silence, from the moment it was last heard, and are free then. The same node may come back
within the delay and finds them its own.

Modes: ``static`` refuses a second owner. ``free_in_s`` of the refusal: when the port is free if that owner is not heard
again; each sign of life of it begins the time anew. ``dynamic`` grants it silently, as a real cluster does with
dynamically registered ports: then two own the port, the history shows it, and each of them is told that asks for
``others``.

History: one JSON object a line, times in seconds of CLOCK_MONOTONIC as this process read it; see ``demo.oracle``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import signal
import time
from dataclasses import dataclass
from typing import Any, TextIO

LINE_BYTES_MAX = 4096
CONTROL_IDLE_S = 3600.0
WRITE_LIMIT_S = 2.0
MODES = ("static", "dynamic")


@dataclass
class Owner:
    """One registration. ``vanished_s``: when its client was last heard, None while it is connected."""

    node: str
    client: int
    vanished_s: float | None = None


class Registry:
    """Who owns which port, and its history. No I/O but the history file; the caller brings the clock."""

    def __init__(self, history: TextIO, *, mode: str, release_delay_s: float, keepalive_s: float) -> None:
        self.history, self.mode = history, mode
        self.release_delay_s, self.keepalive_s = release_delay_s, keepalive_s
        self.owners: dict[int, list[Owner]] = {}
        self.heard_s: dict[int, float] = {}
        self._refused: set[tuple[int, str]] = set()
        self.note("start", time.monotonic(), mode=mode)

    def note(self, event: str, at_s: float, **facts: Any) -> None:
        self.history.write(json.dumps({"at_s": round(at_s, 6), "event": event} | facts) + "\n")
        self.history.flush()

    def register(self, port: int, node: str, client: int, now_s: float) -> Owner | None:
        """Grant the port to the client. Returns the owner that stands in the way, None when granted."""
        self.expire(now_s)
        owners = self.owners.setdefault(port, [])
        for owner in [o for o in owners if o.node == node]:
            if owner.vanished_s is None and owner.client == client:
                return None
            owners.remove(owner)  # the same node on a new connection: it takes over its own registration
            self.note("release", now_s, port=port, node=node, client=owner.client)
        others = list(owners)
        if others and self.mode == "static":
            if (port, node) not in self._refused:
                self._refused.add((port, node))
                self.note("refuse", now_s, port=port, node=node, owner=others[0].node)
            return others[0]
        for owner in [o for o in others if o.vanished_s is not None]:
            owners.remove(owner)  # dynamic: a client that is gone makes room
            self.note("expire", now_s, port=port, node=owner.node, client=owner.client)
        owners.append(Owner(node, client))
        self._refused.discard((port, node))
        self.note("grant", now_s, port=port, node=node, client=client)
        return None

    def free_in_s(self, owner: Owner, now_s: float) -> float:
        """Seconds until a port of this owner is free if it is not heard again."""
        if owner.vanished_s is not None:
            return max(0.0, owner.vanished_s + self.release_delay_s - now_s)
        return max(0.0, self.heard_s.get(owner.client, now_s) + max(self.keepalive_s, self.release_delay_s) - now_s)

    def others(self, client: int) -> dict[str, str]:
        """Ports of the client that another node, not gone, owns as well, and which one."""
        found: dict[str, str] = {}
        for port, owners in sorted(self.owners.items()):
            mine = next((o.node for o in owners if o.client == client), None)
            other = next((o.node for o in owners if o.node != mine and o.vanished_s is None), None)
            if mine is not None and other is not None:
                found[str(port)] = other
        return found

    def unregister(self, port: int, node: str, client: int, now_s: float) -> bool:
        for owner in [o for o in self.owners.get(port, []) if o.node == node and o.client == client]:
            self.owners[port].remove(owner)
            self.note("release", now_s, port=port, node=node, client=client)
            return True
        return False

    def vanish(self, client: int, heard_s: float, now_s: float) -> None:
        """The client is gone: its ports stay with it for the release delay from ``heard_s`` on."""
        self.heard_s.pop(client, None)
        for port, owners in self.owners.items():
            for owner in owners:
                if owner.client == client and owner.vanished_s is None:
                    owner.vanished_s = heard_s
                    self.note("vanish", now_s, port=port, node=owner.node, client=client, heard_s=round(heard_s, 6))
        self.expire(now_s)

    def expire(self, now_s: float) -> None:
        for port, owners in self.owners.items():
            for owner in [o for o in owners if o.vanished_s is not None]:
                if owner.vanished_s is not None and now_s >= owner.vanished_s + self.release_delay_s:
                    owners.remove(owner)
                    self.note("expire", now_s, port=port, node=owner.node, client=owner.client)

    def set(self, request: dict[str, Any], now_s: float) -> dict[str, Any]:
        """Change limits or mode while running. Raises ValueError naming the field."""
        for name in ("release_delay_s", "keepalive_s"):
            if name in request:
                value = request[name]
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 86_400:
                    raise ValueError(f"{name}={value!r}: must be seconds from 0 to 86400")
                setattr(self, name, float(value))
        if "mode" in request:
            if request["mode"] not in MODES:
                raise ValueError(f"mode={request['mode']!r}: must be one of {', '.join(MODES)}")
            self.mode = request["mode"]
            self.note("mode", now_s, mode=self.mode)
        return {"release_delay_s": self.release_delay_s, "keepalive_s": self.keepalive_s, "mode": self.mode}

    def view(self) -> dict[str, list[dict[str, Any]]]:
        return {
            str(port): [{"node": o.node, "vanished": o.vanished_s is not None} for o in owners]
            for port, owners in sorted(self.owners.items())
            if owners
        }


class CallManager:
    """Serves the registry over TCP."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._clients = 0

    async def serve(self, host: str, port: int) -> None:
        """Until SIGTERM or SIGINT. Raises OSError when the address is taken."""
        server = await asyncio.start_server(self._client, host, port, limit=LINE_BYTES_MAX)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        expiry = asyncio.create_task(self._expire())
        print(f"call manager on {host}:{port}, mode {self.registry.mode}", flush=True)
        await stop.wait()
        expiry.cancel()
        server.close()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            self.registry.expire(time.monotonic())

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        client, node, heard_s = self._clients, "", time.monotonic()
        try:
            while True:
                limit_s = self.registry.keepalive_s if node else CONTROL_IDLE_S
                line = await asyncio.wait_for(reader.readline(), limit_s)
                if not line:
                    heard_s = time.monotonic()
                    break
                self.registry.heard_s[client] = heard_s = time.monotonic()
                node, answer = self._answer(line, node, client, heard_s)
                writer.write(json.dumps(answer).encode() + b"\n")
                await asyncio.wait_for(writer.drain(), WRITE_LIMIT_S)
        except (OSError, ValueError, TimeoutError):
            pass  # silent, reset or not speaking lines: all of them mean that the client is gone
        finally:
            self.registry.vanish(client, heard_s, time.monotonic())
            writer.transport.abort()

    def _answer(self, line: bytes, node: str, client: int, now_s: float) -> tuple[str, dict[str, Any]]:
        try:
            request = json.loads(line)
            op = request["op"]
            if op == "hello":
                node = str(request["node"])
                return node, {"ok": True, "mode": self.registry.mode, "keepalive_s": self.registry.keepalive_s}
            if op == "owners":
                return node, {"ok": True, "owners": self.registry.view()}
            if op == "set":
                return node, {"ok": True} | self.registry.set(request, now_s)
            if not node:
                return node, {"ok": False, "detail": "say hello with the name of the node first"}
            if op == "heartbeat":
                return node, {"ok": True, "keepalive_s": self.registry.keepalive_s}
            if op == "others":
                return node, {"ok": True, "others": self.registry.others(client)}
            port = int(request["port"])
            if op == "register":
                other = self.registry.register(port, node, client, now_s)
                if other is None:
                    return node, {"ok": True}
                free_in_s = round(self.registry.free_in_s(other, now_s), 3)
                detail = f"port {port} is owned by {other.node}"
                return node, {"ok": False, "owner": other.node, "free_in_s": free_in_s, "detail": detail}
            if op == "unregister":
                return node, {"ok": self.registry.unregister(port, node, client, now_s)}
            return node, {"ok": False, "detail": f"unknown op {op!r}"}
        except (ValueError, KeyError, TypeError) as error:
            return node, {"ok": False, "detail": f"request cannot be read: {error}"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Grants ports to one owner and writes who owned which port when.")
    parser.add_argument("--listen", default="127.0.0.1:7001", metavar="ADDRESS:PORT")
    parser.add_argument("--history", type=pathlib.Path, default=pathlib.Path("call_manager.jsonl"))
    parser.add_argument("--mode", choices=MODES, default="static")
    parser.add_argument("--release-delay-s", type=float, default=1.0, help="a vanished owner keeps its ports so long")
    parser.add_argument("--keepalive-s", type=float, default=3.0, help="silence after which a client has vanished")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    host, _, port = options.listen.rpartition(":")
    with options.history.open("a", encoding="utf-8") as history:
        registry = Registry(
            history, mode=options.mode, release_delay_s=options.release_delay_s, keepalive_s=options.keepalive_s
        )
        try:
            asyncio.run(CallManager(registry).serve(host, int(port)))
        except OSError as error:
            raise SystemExit(f"call manager cannot listen on {options.listen}: {error}") from None


if __name__ == "__main__":
    main()
