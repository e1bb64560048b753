"""The CTI server's inside: one thread that registers ports at the call manager, or gives them back.

States: standby (connected to nobody, owns nothing) -> starting (connecting, then registering k/n) -> active, and
stopping -> standby. A port or device takes 200 ms times the scale, as guide 6.2 says of the real one.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

STEP_S = 0.2  # guide 6.2: 200 ms a port and a device
RETRY_S = 0.1  # how soon a refused port is asked for again
CALL_LIMIT_S = 2.0
LINE_BYTES_MAX = 65_536
PULSE_S = 0.1  # how often the clock is looked at
FROZEN_S = 0.5  # a longer gap between two looks means that the process was frozen


def boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Refused(Exception):
    """A command that must not be obeyed; ``status`` is the HTTP status to answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class LineConfig:
    """What a CTI server is started with. ``scale`` multiplies the 200 ms of each step.

    ``release_limit_s``: how long it waits at a stop for the call manager to take its ports back.
    """

    node: str
    call_manager: tuple[str, int]
    ports: tuple[int, ...] = (7101, 7102, 7103)
    devices: int = 0
    scale: float = 1.0
    connect_s: float = 0.0
    release_limit_s: float = CALL_LIMIT_S
    check_lease: bool = False
    epoch_file: pathlib.Path | None = None
    trouble_file: pathlib.Path | None = None


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What is wrong with a CTI server. ``start_s``: seconds that a start takes longer."""

    no_stop: bool = False
    no_start: bool = False
    start_s: float = 0.0

    @classmethod
    def read(cls, path: pathlib.Path | None) -> Trouble:
        """From a JSON object; no file: nothing is wrong. Raises TypeError for a word that does not exist."""
        try:
            return cls(**json.loads(path.read_text())) if path is not None else cls()
        except FileNotFoundError:
            return cls()


class CallManagerLink:
    """One connection to the call manager. Every call ends within its limit; OSError when the connection is gone."""

    def __init__(self, address: tuple[str, int], node: str) -> None:
        self._socket = socket.create_connection(address, CALL_LIMIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self.keepalive_s = float(self.call(op="hello", node=node)["keepalive_s"])

    def call(self, **request: Any) -> dict[str, Any]:
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        line = self._file.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise ConnectionError("the call manager closed the connection")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def abort(self) -> None:
        """End a call that waits in another thread; it raises OSError there."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Line:
    """Carries out promote and demote in its own thread; the HTTP side only leaves orders and reads the status."""

    def __init__(self, config: LineConfig) -> None:
        self.config = config
        self._lock = threading.Condition()
        self._wanted = False
        self._epoch = 0  # the epoch it runs under
        self._seen = self._load_epoch()
        self._lease_s = 0.0  # deadline on CLOCK_BOOTTIME
        self._state, self._progress, self._detail = "standby", 0, ""
        self._owned: list[int] = []
        self._others: dict[str, str] | None = None  # owned ports that another owns too; None: not asked
        self._free_s: float | None = None  # until when the port that is waited for is held, on CLOCK_BOOTTIME
        self._link: CallManagerLink | None = None
        self._beat_s = self._pulse_s = boottime_s()
        self._asked_s = float("-inf")
        self._thawed_s = self._stop_s = float("-inf")
        threading.Thread(target=self._run, name="line", daemon=True).start()
        threading.Thread(target=self._pulse, name="pulse", daemon=True).start()

    # --- orders, called by the HTTP side ---

    def promote(self, epoch: int, lease_s: float) -> None:
        """Become active under ``epoch``; returns at once. Raises Refused for a lower epoch than seen."""
        with self._lock:
            self._check_not_frozen()
            if epoch < self._seen:
                raise Refused(409, f"epoch {epoch} is lower than {self._seen}, which was seen")
            self._keep_epoch(epoch)
            self._lease_s = boottime_s() + lease_s
            self._epoch, self._wanted = epoch, True
            if self._state in ("standby", "stopping"):
                self._state, self._detail = "starting", "ordered"
            self._lock.notify_all()

    def demote(self, epoch: int) -> None:
        """Become standby; returns at once. Raises Refused for an epoch lower than the one it runs under."""
        with self._lock:
            if self._wanted and epoch < self._epoch:
                raise Refused(409, f"epoch {epoch} is lower than {self._epoch}, under which this runs")
            self._keep_epoch(max(epoch, self._seen))
            self._stop("demoted")

    def renew(self, epoch: int, lease_s: float) -> None:
        """Renew the lease. Raises Refused unless active under this epoch."""
        with self._lock:
            self._check_not_frozen()
            if not self._wanted or epoch != self._epoch:
                raise Refused(409, f"not active under epoch {epoch}")
            self._lease_s = boottime_s() + lease_s

    def status(self) -> dict[str, Any]:
        with self._lock:
            total = len(self.config.ports) + self.config.devices
            facts: dict[str, Any] = {"progress": self._progress, "total": total, "epoch": self._epoch}
            facts["detail"] = self._detail
            if self._free_s is not None and self._state == "starting":
                facts["waiting_s"] = round(max(0.0, self._free_s - boottime_s()), 1)
            if self._others is not None:
                facts["also_owned"] = {f"port {port}": owner for port, owner in self._others.items()}
            return {"state": self._state} | facts

    def close(self) -> None:
        """Give everything back and wait for it, at most one second; for a restart."""
        with self._lock:
            self._stop("restarting")
            self._lock.wait_for(lambda: self._state == "standby", 1.0)

    # --- inside ---

    def _stop(self, why: str) -> None:
        """With the lock held."""
        self._wanted = False
        if self._state in ("active", "starting"):
            self._state, self._detail = "stopping", why
            self._stop_s = boottime_s()
            if self._link is None and not self._owned:
                self._state = "standby"  # still connecting, perhaps to nobody: it owns nothing and will not
        self._lock.notify_all()

    def _check_not_frozen(self) -> None:
        """A request that waited in the socket while the process was frozen would start a lease that is long over."""
        now_s = boottime_s()
        if now_s - self._pulse_s > FROZEN_S or now_s - self._thawed_s < FROZEN_S:
            raise Refused(503, "this process was not running; ask again")

    def _load_epoch(self) -> int:
        path = self.config.epoch_file
        try:
            return int(path.read_text()) if path is not None else 0
        except FileNotFoundError:
            return 0

    def _keep_epoch(self, epoch: int) -> None:
        if epoch != self._seen and self.config.epoch_file is not None:
            fresh = self.config.epoch_file.with_suffix(".new")
            fresh.write_text(str(epoch))
            fresh.replace(self.config.epoch_file)
        self._seen = epoch

    def _may_own(self) -> bool:
        """With the lock held. Ends the ownership by itself when its lease has run out, if it checks that."""
        if self._wanted and self.config.check_lease and boottime_s() >= self._lease_s:
            self._stop("lease ran out")
        return self._wanted

    def _give_up(self, now_s: float) -> None:
        """With the lock held. A call manager that does not answer must not hold up a stop: the connection is ended."""
        late = self._state == "stopping" and now_s - self._stop_s > self.config.release_limit_s
        if late and self._link is not None and not Trouble.read(self.config.trouble_file).no_stop:
            self._link.abort()

    def _pulse(self) -> None:
        """Notice that the process was frozen, and what becomes due while the other thread waits for an answer."""
        while True:
            time.sleep(PULSE_S)
            with self._lock:
                now_s = boottime_s()
                if now_s - self._pulse_s > FROZEN_S:
                    self._thawed_s = now_s
                self._pulse_s = now_s
                self._may_own()
                self._give_up(now_s)

    def _run(self) -> None:
        while True:
            with self._lock:
                owning = self._may_own()
            try:
                if owning:
                    self._own()
                else:
                    self._disown()
            except (OSError, ValueError, KeyError) as error:
                self._lost(f"call manager: {error}")
            self._pause(PULSE_S)

    def _pause(self, seconds: float) -> bool:
        """Wait, waking for a new order. True while it may go on owning."""
        until_s = boottime_s() + seconds
        with self._lock:
            wanted = self._wanted
            while (left_s := until_s - boottime_s()) > 0 and self._wanted is wanted and self._may_own() is wanted:
                self._lock.wait(min(left_s, PULSE_S))
            return self._may_own()

    def _lost(self, why: str) -> None:
        with self._lock:
            if self._link is not None:
                self._link.close()
            self._link, self._owned, self._progress, self._detail = None, [], 0, why
            self._others = self._free_s = None
            self._state = "starting" if self._wanted else "standby"

    def _show(self, state: str, detail: str) -> None:
        with self._lock:
            if self._wanted:
                self._state, self._detail = state, detail

    def _own(self) -> None:
        """One stretch of being active: connect and register what is missing, or send the heartbeat when due."""
        config = self.config
        if self._link is None:
            trouble = Trouble.read(config.trouble_file)
            self._show("starting", "will not start" if trouble.no_start else "connecting")
            if trouble.no_start or not self._pause(config.connect_s + trouble.start_s):
                return
            self._link = CallManagerLink(config.call_manager, config.node)
        self._heartbeat()
        total = len(config.ports) + config.devices
        while self._progress < total:
            step = self._progress
            if not self._pause(STEP_S * config.scale):
                return
            if step < len(config.ports) and not self._register(config.ports[step]):
                return
            with self._lock:
                self._progress = step + 1
            self._heartbeat()
            self._show("starting", f"registering {step + 1}/{total}")
        self._show("active", f"{len(self._owned)} ports registered")

    def _register(self, port: int) -> bool:
        assert self._link is not None
        answer = self._link.call(op="register", port=port)
        self._beat_s = boottime_s()
        if not answer["ok"]:
            self._wait_for(port, answer)
            return self._pause(RETRY_S) and False
        with self._lock:
            self._free_s = None
        self._owned.append(port)
        return True

    def _wait_for(self, port: int, answer: dict[str, Any]) -> None:
        """The port is another's: asked for again until it is free. A sign of life of its owner begins the wait anew."""
        free_in_s = float(answer.get("free_in_s", 0.0))
        with self._lock:
            self._free_s = boottime_s() + free_in_s
        owner = answer.get("owner", "another")
        self._show("starting", f"waiting for release of port {port} (held by {owner}, {free_in_s:.0f} s)")

    def _heartbeat(self) -> None:
        """When it is due: a sign of life, and the question who else owns what is owned here."""
        assert self._link is not None
        now_s, period_s = boottime_s(), self._link.keepalive_s / 4
        if now_s - self._beat_s >= period_s:
            self._beat_s = now_s
            self._link.keepalive_s = float(self._link.call(op="heartbeat")["keepalive_s"])
        if now_s - self._asked_s >= period_s:
            self._asked_s = now_s
            others = self._link.call(op="others").get("others", {})
            with self._lock:
                self._others = {str(port): str(owner) for port, owner in others.items()}

    def _disown(self) -> None:
        """Give every port back; without an answer the connection is closed, and the release delay runs."""
        link = self._link
        if link is not None:
            if Trouble.read(self.config.trouble_file).no_stop:
                return self._heartbeat()
            for port in list(self._owned):
                link.call(op="unregister", port=port)
                self._owned.remove(port)
                with self._lock:
                    self._progress = len(self._owned)
            link.close()
            self._link = None
        with self._lock:
            self._others = self._free_s = None
            if self._wanted:
                return
            self._state, self._progress = "standby", 0
            self._lock.notify_all()
