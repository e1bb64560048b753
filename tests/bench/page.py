"""The status page with a peer that lives and with one that swallows everything: it reads the store, so it costs the same.

And ``/metrics`` beside it, which reads the same store.
"""

from __future__ import annotations

import contextlib
import http.server
import logging
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from ftplugin import FaultTolerance
from ftplugin.core.settings import parse_address
from ftplugin.status.short import short_status

from .alone import Alone, alone
from .figures import BenchError, Figure, Options, Section

BLOCKS, REQUESTS = 8, 12  # a run: the two peers take turns in blocks, so that what else the machine does hits both
RATIO_MAX = 1.2
UPDATE_BYTES_MAX = 5_000.0
STATUS = "/ft/admin/status"
METRICS, METRICS_RATIO_MAX = "/ft/metrics", 1.0
STATES = ("live", "black hole")


def measure(options: Options) -> Section:
    medians: dict[str, list[float]] = {state: [] for state in STATES}
    sizes: list[float] = []
    scrapes: list[float] = []
    with alone(1.0, 1.0, 3) as node:
        client = _page(node)
        address = _peer_of(client)
        for run in range(options.runs + 1):  # the first round warms up and does not count
            times_ms: dict[str, list[float]] = {state: [] for state in (*STATES, METRICS)}
            for block in range(BLOCKS):
                for state in STATES[:: 1 if block % 2 else -1]:
                    with _peer(state, *address):
                        took_ms, size = _ask(node, client, state)
                    times_ms[state] += took_ms
                times_ms[METRICS] += _ask(node, client, "live", METRICS)[0]
            if run:
                sizes.append(size)
                scrapes.append(statistics.median(times_ms[METRICS]))
                for state in STATES:
                    medians[state].append(statistics.median(times_ms[state]))
                options.say("   ".join(f"{state} {medians[state][-1]:.2f} ms" for state in STATES))
    of_page = tuple(scrape / live for scrape, live in zip(scrapes, medians["live"], strict=True))
    ratios = tuple(hole / live for live, hole in zip(medians["live"], medians["black hole"], strict=True))
    return Section(
        title="Status page",
        how=(
            f"`GET {STATUS}` in the portal's own process, {BLOCKS * REQUESTS} requests a run and peer in turns of "
            f"{REQUESTS}, gzip accepted, with a Redis and a database of its own. The live peer listens at its address "
            "and told its status a moment ago; the other one has a listener whose queue is full, so that each packet to it "
            "is swallowed, and the agent's documents say so. "
            f"`GET {METRICS}` is asked in turns with both, in the state of the live peer.",
        ),
        figures=(
            Figure(name="live peer: median", unit="ms", values=tuple(medians["live"])),
            Figure(name="black-holed peer: median", unit="ms", values=tuple(medians["black hole"])),
            Figure(name="black hole ÷ live", unit="", values=ratios, bound=RATIO_MAX),
            Figure(name="live update on the wire", unit="bytes", values=tuple(sizes), bound=UPDATE_BYTES_MAX, digits=0),
            Figure(name="metrics: median", unit="ms", values=tuple(scrapes)),
            Figure(name="metrics ÷ live page", unit="", values=of_page, bound=METRICS_RATIO_MAX),
        ),
    )


def _page(node: Alone) -> FlaskClient:
    app = Flask("bench")
    logging.getLogger(app.name).setLevel(logging.ERROR)
    config = node.node
    app.config.update(
        SECRET_KEY="bench",
        FT_OWN_ADDRESS=config.own_address,
        FT_PREFIX=config.prefix,
        FT_REDIS_URL=config.redis_url,
        FT_DATABASE_URL=config.database_url,
        FT_INSTANCE_DIR=str(config.instance_dir),
        FT_SECRET_KEYS=list(config.secret_keys),
        FT_METRICS_ALLOW=["127.0.0.1"],
    )
    FaultTolerance(app, authorize=lambda permission: True)
    return app.test_client()


def _peer_of(client: FlaskClient) -> tuple[str, int]:
    portal: Any = client.application.extensions["ftplugin"]
    address = parse_address("server2_address", portal.settings.current()[1].server2_address)
    return address.host, address.port


@contextlib.contextmanager
def _peer(state: str, host: str, port: int) -> Iterator[None]:
    """A listener that answers, or one whose queue is full: the kernel drops what comes after."""
    if state == "live":
        server = http.server.HTTPServer((host, port), http.server.BaseHTTPRequestHandler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield
        server.shutdown()
        server.server_close()
        return
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(8):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex((host, port))
        time.sleep(0.05)  # until the queue is full
        with socket.socket() as probe:
            probe.settimeout(0.3)
            if not probe.connect_ex((host, port)):
                raise BenchError(f"the peer at {host}:{port} takes connections although its queue is full")
        yield


def _ask(node: Alone, client: FlaskClient, state: str, path: str = STATUS) -> tuple[list[float], float]:
    """(milliseconds of each request, bytes of the last answer with its headers)."""
    times_ms, answer = [], None
    for _ in range(REQUESTS):
        _publish(node, client, state)
        start_s = time.perf_counter()
        answer = client.get(path, headers={"Accept-Encoding": "gzip"})
        times_ms.append(1000 * (time.perf_counter() - start_s))
        if answer.status_code != 200:
            raise BenchError(f"{path} answered {answer.status_code}")
    assert answer is not None
    return times_ms, float(len(answer.data) + sum(len(f"{name}: {value}\r\n") for name, value in answer.headers))


def _publish(node: Alone, client: FlaskClient, state: str) -> None:
    """What the agent writes at a tick."""
    node.agent_ticked()
    clock, now_s, portal = node.clock, node.clock.now_s(), client.application.extensions["ftplugin"]
    live = state == "live"
    said = {"designation": "server2", "role": "standby", "phase": "ready", "lease_left_s": 0.0, "agent_age_s": 0.3}
    beats = [[clock.wall_s() - i, 12.5, "ok" if live else "timeout", live] for i in range(40)]
    view = {
        "peer": {"cause": "ok", "state": said} if live else {"cause": "timeout", "state": None},
        "lan": {"carrier": "yes", "reference": "yes"},
        "vip": {"destination": "unknown"},
    }
    peer = {"at_s": now_s - (0 if live else 60), "boot_id": clock.boot_id, "status": short_status(portal)}
    documents: dict[str, dict[str, Any]] = {
        "view": view,
        "heartbeats": {"boot_id": clock.boot_id, "last_s": now_s, "beats": beats},
        "decision": {"rule": "S0", "sentence": "active: nothing to do", "at_wall_s": clock.wall_s(), "tick_s": now_s},
        "peer_status": peer | {"problem": "" if live else "no complete answer within the limit"},
    }
    if not node.runtime.publish_many(documents):
        raise BenchError("the Redis of the benchmark does not take what an agent writes")
