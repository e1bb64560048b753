"""Two real portals: server1 under the test client, server2 served over HTTP, each with its own database and Redis keys."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from waitress import create_server

from ftplugin.core.records import StepResult
from ftplugin.core.terms import Role
from ftplugin.store.events import EventStore
from ftplugin.store.journal import SqlJournal

from .conftest import OWN, MakeSite, Site, free_port

PEER_HOST = "127.0.0.1"


@dataclass
class Pair:
    """``own`` is server1, ``peer`` server2. ``stop`` ends the peer's HTTP server for good."""

    own: Site
    peer: Site
    port: int
    server: Any
    stopped: bool = field(default=False)

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            self.server.close()
            self.server.task_dispatcher.shutdown()
            end_s = time.monotonic() + 5
            while self._listens():  # what was accepted before the end may still hang on
                assert time.monotonic() < end_s, "the peer's server did not end"
                time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((PEER_HOST, self.port)) == 0

    def address(self, where: str) -> None:
        """Let server1 look for server2 at another address."""
        self.own.configure(server2_address=where)


@contextlib.contextmanager
def two_portals(make_site: MakeSite, folder: pathlib.Path, **config: Any) -> Iterator[Pair]:
    port = free_port()
    place = {"FT_OWN_ADDRESS": f"http://{PEER_HOST}:{port}", "FT_PREFIX": "b", "FT_INSTANCE_DIR": str(folder / "peer")}
    peer = make_site(**place, **config)
    own = make_site(FT_INSTANCE_DIR=str(folder / "own"), **config)
    server = create_server(peer.app, host=PEER_HOST, port=port, threads=4, ident=None)

    def serve() -> None:
        with contextlib.suppress(OSError):  # its socket is closed under it when the peer is to be dead
            server.run()

    threading.Thread(target=serve, daemon=True).start()
    pair = Pair(own, peer, port, server)
    addresses = {"server1_address": OWN, "server2_address": f"http://{PEER_HOST}:{server.effective_port}"}
    for site in (own, peer):
        site.configure(**addresses)
        site.agent()
        site.role(Role.STANDBY)
    yield pair
    pair.stop()


def keep(site: Site, name: str, at_s: float, **facts: Any) -> None:
    """One durable event as the agent keeps it."""
    clock = site.portal.clock
    moment = {"wall_s": at_s, "at_s": clock.now_s(), "boot_id": clock.boot_id}
    assert EventStore(site.portal.database, 30).record(name, moment | facts)


def journal(site: Site, at_s: float, **changes: Any) -> str:
    """One ended switch in the site's journal, begun at ``at_s``."""
    facts = {"kind": "promote", "rule": "F1", "reason": "active peer is dead", "epoch": 5, "actor": ""} | changes
    outcome = facts.pop("outcome", "done")
    switch_id = facts.pop("switch_id", f"id-{at_s:.0f}")
    took_s = facts.pop("took_s", 2.0)
    then = SqlJournal(site.portal.database, wall_s=lambda: at_s)
    assert then.begin(switch_id=switch_id, **facts)
    assert then.step(switch_id, 0, StepResult(step="fence", outcome="ok", duration_s=0.5, detail="both channels"))
    then = SqlJournal(site.portal.database, wall_s=lambda: at_s + took_s)
    role = Role.ACTIVE if facts["kind"] == "promote" and outcome == "done" else Role.STANDBY
    assert then.end(switch_id, outcome, role, "active and ready")
    return switch_id


def a_failover(pair: Pair, at_s: float) -> str:
    """server1 stopped being active at ``at_s``, server2 began 34 s later; with log lines on both."""
    keep(pair.own, "role_found", at_s - 900, active=False, role="undecided")
    keep(pair.own, "active_begun", at_s - 800, epoch=4, since_wall_s=at_s - 800)
    keep(pair.own, "active_ended", at_s, epoch=4, earliest_wall_s=at_s, latest_wall_s=at_s)
    keep(pair.peer, "role_found", at_s - 900, active=False, role="standby")
    causes = {"timeout": 3, "connection error (connection refused)": 2}
    evidence = {"bad_streak": 5, "causes": causes, "first_bad_age_s": 30.0, "vip": "nobody", "lan": "up"}
    switch_id = journal(pair.peer, at_s + 33)
    keep(pair.peer, "evidence", at_s + 32, switch_id=switch_id, **evidence)
    keep(pair.peer, "active_begun", at_s + 34, epoch=5, since_wall_s=at_s + 34)
    pair.peer.role(Role.ACTIVE, epoch=5)
    for site, after_s, text in ((pair.own, 10, "lease has run out"), (pair.peer, 33, "F1: active peer is dead")):
        site.portal.report._write(at_s + after_s, "agent", text)
    return switch_id


@contextlib.contextmanager
def saying(answer: bytes, *, drip_s: float = 0.0) -> Iterator[str]:
    """Something that listens and answers every connection with these bytes; its URL."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((PEER_HOST, 0))
        listener.listen(8)
        listener.settimeout(0.1)
        ended = threading.Event()

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                pieces = [answer] if not drip_s else [answer[i : i + 1] for i in range(len(answer))]
                for piece in pieces:
                    connection.sendall(piece)
                    if drip_s and ended.wait(drip_s):
                        return

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://{PEER_HOST}:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join(5)
