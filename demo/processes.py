"""One supervisord and all it started, as one thing that can be killed, frozen and ended without a rest.

supervisord leads a session of its own and its programs stay in it, so the session finds every process, also after
supervisord was killed. Its process id is not given back to the kernel before the session is empty, hence never reused.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import xmlrpc.client  # nosec B411 # asks the supervisord that the demo started
from typing import Any, Mapping, Sequence

from supervisor.xmlrpc import SupervisorTransport

STOP_LIMIT_S = 5.0
KILL_LIMIT_S = 5.0
START_LIMIT_S = 15.0
RPC_ERRORS = (OSError, http.client.HTTPException, xmlrpc.client.Error)


class ProcessError(RuntimeError):
    """A process could not be started, found or ended; the message says which and where its log is."""


def session_members(session: int) -> dict[int, str]:
    """{pid: state letter} of every process of the session that is not a zombie."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = pathlib.Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found[int(entry)] = fields[0]
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Supervision:
    """Starts supervisord with a configuration file; everything below it belongs to this object.

    ``prefix``: a command that becomes supervisord in its own process, as ``ip netns exec NAME`` does.
    """

    def __init__(
        self, name: str, config: pathlib.Path, socket: pathlib.Path, env: Mapping[str, str], prefix: Sequence[str] = ()
    ) -> None:
        self.name, self.config, self.socket, self.env = name, config, socket, dict(env)
        self.prefix = tuple(prefix)
        self._process: subprocess.Popen[bytes] | None = None
        self._known: dict[str, int] = {}

    @property
    def running(self) -> bool:
        return self._process is not None and bool(session_members(self._process.pid))

    @property
    def session(self) -> int:
        """Session id of all its processes. Raises ProcessError when it is not started."""
        if self._process is None:
            raise ProcessError(f"{self.name} is not started")
        return self._process.pid

    def start(self) -> None:
        """Start supervisord and wait until it answers. Raises ProcessError."""
        if self._process is not None:
            raise ProcessError(f"{self.name} is already started; stop or kill it first")
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        log = self.config.with_name("supervisord.out")
        command = [*self.prefix, sys.executable, "-m", "demo.supervise", str(os.getpid()), "-c", str(self.config), "-n"]
        with log.open("ab") as out:
            self._process = subprocess.Popen(  # nosec B603 # a list of the demo's own, no shell
                command,
                cwd=pathlib.Path(__file__).parents[1],
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # it also writes its own log
                stderr=out,
                start_new_session=True,
            )
        end_s = time.monotonic() + START_LIMIT_S
        while True:
            if self._ended():
                raise ProcessError(f"{self.name}: supervisord ended at once; see {log}")
            with contextlib.suppress(*RPC_ERRORS):
                self._rpc().getState()
                return
            if time.monotonic() > end_s:
                raise ProcessError(f"{self.name}: supervisord does not answer; see {log}")
            time.sleep(0.05)

    def _ended(self) -> bool:
        return self._process is None or session_members(self._process.pid).get(self._process.pid) is None

    def _rpc(self) -> Any:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self.socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def pid(self, program: str) -> int:
        """Process id of a program; while supervisord is frozen, the one last seen. Raises ProcessError."""
        if session_members(self.session).get(self.session, "T") != "T":
            with contextlib.suppress(*RPC_ERRORS):
                self._known |= {p["name"]: p["pid"] for p in self._rpc().getAllProcessInfo()}
        pid = self._known.get(program, 0)
        if not pid:
            raise ProcessError(f"{self.name}: {program} is not running; there are {', '.join(self._known) or 'none'}")
        return pid

    def kill(self, program: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a program's process group; supervisord restarts what ends. The pid it went to."""
        pid = self.pid(program)
        os.killpg(pid, number)
        return pid

    def control(self, method: str, *arguments: Any) -> Any:
        """One call of supervisord's own interface, such as ``control("stopProcess", "cti")``. Raises ProcessError."""
        try:
            return getattr(self._rpc(), method)(*arguments)
        except RPC_ERRORS as error:
            raise ProcessError(f"{self.name}: {method}{arguments}: {error}") from None

    def freeze(self) -> None:
        """SIGSTOP for every process, supervisord first."""
        self._everywhere(signal.SIGSTOP)

    def thaw(self) -> None:
        self._everywhere(signal.SIGCONT)

    def _everywhere(self, number: int) -> None:
        leader = self.session
        for pid in sorted(session_members(leader), key=lambda p: p != leader):
            _signal(pid, number)

    def kill_everything(self) -> None:
        """SIGKILL for supervisord and all it started, so that nothing restarts. Raises ProcessError if some survive."""
        if self._process is None:
            return
        end_s = time.monotonic() + KILL_LIMIT_S
        self._everywhere(signal.SIGKILL)
        while members := session_members(self._process.pid):
            if time.monotonic() > end_s:
                raise ProcessError(f"{self.name}: cannot be killed: {sorted(members)}")
            for pid in members:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.005)
        self._reap()

    def ask_to_stop(self) -> None:
        """SIGTERM for supervisord, which then restarts nothing, and for all it started; does not wait."""
        if self._process is not None:
            self._everywhere(signal.SIGCONT)
            self._everywhere(signal.SIGTERM)

    def stop(self) -> None:
        """End everything, with force after the limit. Raises ProcessError if some survive."""
        if self._process is None:
            return
        self.ask_to_stop()
        end_s = time.monotonic() + STOP_LIMIT_S
        while set(session_members(self._process.pid)) - {self._process.pid} and time.monotonic() < end_s:
            time.sleep(0.02)
        self.kill_everything()
        if self.socket.parent != self.config.parent:  # moved, since its path was too long
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(KILL_LIMIT_S)
        self._process, self._known = None, {}
