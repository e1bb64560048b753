"""Faults as verbs. Each is a line in the timeline; ``repair`` takes all of them back.

A node is 1 or 2; where a host is meant it may also be a name: witness, balancer, client, callmanager, gateway.
Verbs that start processes must be called by a thread that lives as long as the site: the kernel ends a supervisor when
the thread that started it has ended.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time
from typing import Any, Iterator

from demo.cluster import Cluster

from .impostor import IPSWS, MANNERS, WELL
from .lan import ROOT, Lan
from .timeline import Timeline

BEHIND = 10_000  # the real portal listens at its port + this while an impostor stands in its place
COMMAND_LIMIT_S = 5.0
FILLER = "filler"


class Faults:
    """What can go wrong on a site. ``lan``, ``cluster`` and ``timeline`` are set by the site."""

    lan: Lan
    cluster: Cluster
    timeline: Timeline

    def __init__(self) -> None:
        self.down: set[int] = set()
        self._silent: set[int] = set()  # cut from the LAN by a verb about its processes
        self._stopped: set[tuple[int, str]] = set()
        self._impostors: dict[int, list[subprocess.Popen[bytes]]] = {}
        self._offset_s = {1: 0.0, 2: 0.0}

    def note(self, text: str) -> float:
        """A line in the timeline. Its time, CLOCK_MONOTONIC."""
        return self.timeline.note(text)

    @staticmethod
    def host(node: int | str) -> str:
        return f"node{node}" if isinstance(node, int) else node

    # --- processes

    def kill(self, node: int | str, program: str) -> float:
        """kill -9 for one program; its supervisor restarts it. When."""
        at_s = self.note(f"kill -9 {program} of {self.host(node)}")
        self.cluster.kill(node, program)
        return at_s

    def freeze(self, node: int | str, program: str | None = None) -> float:
        """SIGSTOP for one program, or for a whole node, which is then silent on the LAN too, as a paused machine. When."""
        at_s = self.note(f"freeze {program or 'everything'} of {self.host(node)}")
        if program is None and isinstance(node, int):
            self._silence(node)
            self._signal_impostors(node, signal.SIGSTOP)
        self.cluster.freeze(node, program)
        return at_s

    def thaw(self, node: int | str, program: str | None = None) -> float:
        """Let it go on; a whole node is on the LAN again, without any other fault of its cable. When."""
        at_s = self.note(f"thaw {program or 'everything'} of {self.host(node)}")
        if program is None and isinstance(node, int):
            self._unsilence(node)
            self._signal_impostors(node, signal.SIGCONT)
        self.cluster.thaw(node, program)
        return at_s

    def stop(self, node: int, program: str) -> float:
        """End one program; its supervisor leaves it so. When."""
        at_s = self.note(f"stop {program} of {self.host(node)}")
        self._stopped.add((node, program))
        self.cluster.node(node).control("stopProcess", program)
        return at_s

    def start(self, node: int, program: str) -> float:
        """Start a program that was stopped. When."""
        at_s = self.note(f"start {program} of {self.host(node)}")
        self.cluster.node(node).control("startProcess", program)
        self._stopped.discard((node, program))
        return at_s

    def kill_for_good(self, node: int, program: str) -> float:
        """kill -9 for one program, and nothing restarts it: its supervisor is stopped. All others go on. When."""
        pid, supervisor = self.cluster.node(node).pid(program), self.cluster.node(node).session
        at_s = self.note(f"kill -9 {program} of {self.host(node)}, for good")
        os.kill(supervisor, signal.SIGSTOP)
        os.killpg(pid, signal.SIGKILL)
        return at_s

    def restart_killed(self, node: int) -> float:
        """Let the supervisor restart what ``kill_for_good`` has killed. When."""
        at_s = self.note(f"the supervisor of {self.host(node)} restarts")
        os.kill(self.cluster.node(node).session, signal.SIGCONT)
        return at_s

    def kill_node(self, node: int) -> float:
        """kill -9 for everything of a node, its supervisor too; the host itself goes on and refuses connections. When."""
        at_s = self.note(f"kill -9 everything of {self.host(node)}")
        self._end(node)
        return at_s

    def power_off(self, node: int) -> float:
        """Silent from one moment to the next, and everything dead. When."""
        at_s = self.note(f"power off {self.host(node)}")
        self._silence(node)
        self._end(node)
        return at_s

    def start_node(self, node: int) -> float:
        """Start a dead node again, its files as they were left. When."""
        at_s = self.note(f"start {self.host(node)}")
        self._unsilence(node)
        self.cluster.start_node(node)
        self.down.discard(node)
        return at_s

    def reboot(self, node: int, down_s: float) -> float:
        """Power off and, after that many seconds, on again; waits so long. When it was started again."""
        self.power_off(node)
        time.sleep(down_s)
        return self.start_node(node)

    def _end(self, node: int) -> None:
        self.down.add(node)
        self._signal_impostors(node, signal.SIGKILL)
        self.cluster.stop_supervision(node)
        self._end_impostors(node)
        self._stopped = {(n, program) for n, program in self._stopped if n != node}

    def _silence(self, node: int) -> None:
        self._silent.add(node)
        self.lan.cut(self.host(node))

    def _unsilence(self, node: int) -> None:
        if node in self._silent:
            self._silent.discard(node)
            self.lan.heal(self.host(node))

    # --- the LAN

    def cut(self, node: int | str, *, carrier: bool = False) -> float:
        """Cut a host from the LAN, silently or so that it has no carrier. When."""
        at_s = self.note(f"cut {self.host(node)}{' (no carrier)' if carrier else ''}")
        self.lan.cut(self.host(node), carrier=carrier)
        return at_s

    def cut_between(self, a: int | str, b: int | str, *, one_way: bool = False) -> float:
        """Nothing between the two; ``one_way``: nothing from ``a`` to ``b``. When."""
        at_s = self.note(f"cut {self.host(a)} {'->' if one_way else '--'} {self.host(b)}")
        self.lan.cut_between(self.host(a), self.host(b), one_way=one_way)
        return at_s

    def lose(self, node: int | str, percent: float) -> float:
        """Lose that share of a host's frames, each way. When."""
        at_s = self.note(f"lose {percent:g} % of {self.host(node)}, each way")
        self.lan.lose(self.host(node), percent)
        return at_s

    def delay(self, node: int | str, delay_s: float, jitter_s: float = 0.0) -> float:
        """Hold every frame of a host that many seconds, each way. When."""
        at_s = self.note(f"delay {self.host(node)} by {delay_s:g} s +- {jitter_s:g} s, each way")
        self.lan.delay(self.host(node), delay_s, jitter_s)
        return at_s

    def duplicate(self, node: int | str, percent: float) -> float:
        """Deliver that share of a host's frames twice, each way. When."""
        at_s = self.note(f"duplicate {percent:g} % of {self.host(node)}")
        self.lan.duplicate(self.host(node), percent)
        return at_s

    def reorder(self, node: int | str, percent: float, by_s: float) -> float:
        """Hold that share of a host's frames longer, so that others overtake them. When."""
        at_s = self.note(f"reorder {percent:g} % of {self.host(node)} by {by_s:g} s")
        self.lan.reorder(self.host(node), percent, by_s)
        return at_s

    def limit_rate(self, node: int | str, bytes_per_s: int) -> float:
        """Limit what a host sends and hears. When."""
        at_s = self.note(f"limit {self.host(node)} to {bytes_per_s} bytes/s")
        self.lan.limit_rate(self.host(node), bytes_per_s)
        return at_s

    def heal(self, node: int | str | None = None) -> float:
        """End every fault of a host's cable, or of all cables. When."""
        at_s = self.note(f"heal {'the LAN' if node is None else self.host(node)}")
        self.lan.heal(None if node is None else self.host(node))
        return at_s

    # --- Redis, disk, database, clock

    def redis_cli(self, node: int, *words: str) -> None:
        """One command at the node's Redis, on its host. CalledProcessError when it is refused."""
        config, cluster = self.cluster.config, self.cluster
        place = ("-h", config.address(f"node{node}"), "-p", str(config.redis_port))
        subprocess.run(
            [*self.lan.prefix(self.host(node)), "redis-cli", "-e", *place, *words],
            env={**os.environ, "REDISCLI_AUTH": cluster.secrets.redis},
            check=True,
            capture_output=True,
            timeout=COMMAND_LIMIT_S,
        )

    def wipe_redis(self, node: int) -> float:
        """All keys of a node's Redis are gone. When."""
        at_s = self.note(f"wipe Redis of {self.host(node)}")
        self.redis_cli(node, "FLUSHALL")
        return at_s

    def restart_redis(self, node: int) -> float:
        """kill -9; it comes back at once and empty. When."""
        return self.kill(node, "redis")

    def fill_disk(self, node: int) -> float:
        """Not a byte is free where the node keeps its files. When it was full. ValueError without a disk of its own."""
        if not self.cluster.config.disk_bytes:
            raise ValueError(f"node {node} has no disk of its own to fill: give the site disk_bytes")
        with self._filler(node).open("ab", buffering=0) as filler:
            for size in (65_536, 4_096, 1):
                with contextlib.suppress(OSError):
                    while filler.write(b"x" * size) == size:
                        pass
            try:
                filler.write(b"x")
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        return self.note(f"disk of {self.host(node)} is full")

    def free_disk(self, node: int) -> float:
        """Take the filler away. When."""
        at_s = self.note(f"disk of {self.host(node)} is free again")
        self._filler(node).unlink(missing_ok=True)
        return at_s

    def _filler(self, node: int) -> pathlib.Path:
        return self.cluster.config.instance_directory(node) / FILLER

    @contextlib.contextmanager
    def lock_database(self, node: int) -> Iterator[None]:
        """Another connection holds the node's database exclusively. sqlite3.OperationalError when it is not let in."""
        connection = sqlite3.connect(
            self.cluster.config.instance_directory(node) / "ft.sqlite3", timeout=COMMAND_LIMIT_S, isolation_level=None
        )
        with contextlib.closing(connection):
            connection.execute("BEGIN EXCLUSIVE")
            self.note(f"lock the database of {self.host(node)}")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")
                self.note(f"unlock the database of {self.host(node)}")

    def clock_step(self, node: int, seconds: float) -> float:
        """Step the wall clock of a node's programs by so much. When. ValueError without a clock of its own."""
        self.cluster.set_clock(node, self._offset_s[node] + seconds)
        self._offset_s[node] += seconds
        return self.note(f"clock of {self.host(node)} steps by {seconds:+g} s")

    # --- the service, the monitor

    def trouble(self, node: int, **trouble: Any) -> float:
        """What is wrong with the node's CTI server: ``no_stop=True``, ``no_start=True``, ``start_s=5.0``; none: nothing. When."""
        at_s = self.note(f"CTI server of {self.host(node)}: {trouble or 'in order'}")
        self.cluster.trouble(node, **trouble)
        return at_s

    def misbehave(self, node: int, manner: str, *, only: str = IPSWS, delay_s: float = 0.2) -> float:
        """The portal answers badly from now on. When.

        ``manner``: see ``tests.lab.impostor``. ``only``: what the target of such a request contains; "" is every request.
        ``delay_s``: before a slow answer, between two bytes of a dripping one. ValueError for another manner.
        """
        if manner not in MANNERS:
            raise ValueError(f"manner={manner!r}: must be one of {', '.join(MANNERS)}")
        if node not in self._impostors:
            address = self.cluster.address(node)
            host, _, port = address.rpartition(":")
            behind = f"{host}:{int(port) + BEHIND}"
            self._impostors[node] = [self._program(node, "-m", "demo.portal", "--listen", behind)]
            impostor = self._program(node, "-m", "tests.lab.impostor", "--listen", address, "--behind", behind)
            self._impostors[node].append(impostor)
            self.stop(node, "portal")
        return self._conduct(node, manner, only, delay_s)

    def behave(self, node: int) -> float:
        """The portal answers as it should, through the impostor that passes all on: no moment without a portal. When."""
        return self._conduct(node, WELL, "", 0.0) if node in self._impostors else self.note("no portal misbehaves")

    def _conduct(self, node: int, manner: str, only: str, delay_s: float) -> float:
        impostor = self._impostors[node][1]
        assert impostor.stdin is not None and impostor.stdout is not None
        at_s = self.note(f"portal of {self.host(node)}: {manner} ({only or 'every request'}, {delay_s:g} s)")
        impostor.stdin.write(json.dumps({"manner": manner, "only": only, "delay_s": delay_s}).encode() + b"\n")
        impostor.stdin.flush()
        if not impostor.stdout.readline():
            raise RuntimeError(f"the impostor of node {node} has ended with {impostor.wait(COMMAND_LIMIT_S)}")
        return at_s

    def stood_in(self, node: int) -> tuple[str, ...]:
        """Programs of the node in whose place something else answers."""
        return ("portal",) if node in self._impostors else ()

    def _program(self, node: int, *arguments: str) -> subprocess.Popen[bytes]:
        """A Python program on the node's host, outside its supervisor; it has printed a line."""
        started = subprocess.Popen(
            [*self.lan.prefix(self.host(node)), sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.cluster.environment(node)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert started.stdout is not None
        if not started.stdout.readline():
            raise RuntimeError(f"{' '.join(arguments)} ended at once with {started.wait(COMMAND_LIMIT_S)}")
        return started

    def _signal_impostors(self, node: int, number: int) -> None:
        for process in self._impostors.get(node, []):
            process.send_signal(number)

    def _end_impostors(self, node: int) -> None:
        for process in self._impostors.pop(node, []):
            process.kill()
            process.communicate(timeout=COMMAND_LIMIT_S)

    # --- all of it

    def repair(self) -> None:
        """Take back every fault that a verb made; dead nodes are started."""
        self.lan.heal()
        self._silent.clear()
        for node in (1, 2):
            self.cluster.trouble(node)
            if self._offset_s[node]:
                self.clock_step(node, -self._offset_s[node])
            if self._filler(node).exists():
                self.free_disk(node)
            if node in self.down:
                self.start_node(node)
                continue
            self.cluster.thaw(node)
            self._signal_impostors(node, signal.SIGCONT)
            self._end_impostors(node)
            for _, program in sorted(p for p in self._stopped if p[0] == node):
                self.start(node, program)
        for name in self.cluster.groups:
            if isinstance(name, str):
                self.cluster.thaw(name)
