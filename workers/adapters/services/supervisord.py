"""A program of supervisord (spec 6), by its XML-RPC: its standby is a stopped program.

supervisord must leave the program alone until it is told: ``autostart=false`` (or it would start on both servers at
boot), and it must have killed the program and its children before the stop limit: ``killasgroup=true`` and a
``stopwaitsecs`` below it. All three are asked of supervisord itself when the table is read.
"""

from __future__ import annotations

import base64
import http.client
import logging
import re
import socket
import threading
import time
import xmlrpc.client  # nosec B411 # defusedxml looks first, see _result
from typing import Any, Mapping
from urllib.parse import urlsplit

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading
from workers.adapters.http_client import HttpFailure, Link

from .common import Common
from .start_file import StartFile

ASK_LIMIT_S = 5.0  # of the questions whether the program exists
BYTES_MAX = 1_000_000  # the configuration of every program comes in one answer
POLL_S = 0.05
DETAIL_CHARS_MAX = 300
BAD_NAME, ALREADY_STARTED, NOT_RUNNING = 10, 60, 70  # faults of supervisord
STATES = {
    "STOPPED": ServiceState.STANDBY,
    "STARTING": ServiceState.STARTING,
    "BACKOFF": ServiceState.STARTING,
    "RUNNING": ServiceState.ACTIVE,
    "STOPPING": ServiceState.STOPPING,
}
OVER = ("EXITED", "FATAL")  # nothing runs, and supervisord does not start it again by itself
_PROGRAM = re.compile(r"[^\s:*\[\];]+(:[^\s:*\[\];]+)?")

_log = logging.getLogger(__name__)


class NoAnswer(Exception):
    """supervisord did not answer; the text says why."""


class UnixLink(Link):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("http://localhost")
        self._path = path

    def open(self, deadline_s: float) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock = sock
        sock.settimeout(max(0.001, deadline_s - time.monotonic()))
        sock.connect(self._path)


class Supervisor:
    """XML-RPC calls, each on its own connection and within one limit in all."""

    def __init__(self, url: str, user: str, password: str) -> None:
        """Raises ValueError naming the field."""
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        good = parts.path.startswith("/") if parts.scheme == "unix" else bool(parts.hostname)
        if parts.scheme not in ("unix", "http") or not good:
            raise ValueError(f"url: must be unix:///run/supervisor.sock or http://address:port (got {url!r})")
        if "@" in parts.netloc:
            raise ValueError("url: must not hold a login; give user and password their own keys")
        for field, text in (("user", user), ("password", password)):
            if not isinstance(text, str) or not text.isprintable():
                raise ValueError(f"{field}: must be a line of text")
        self._parts, self._headers = parts, {"Content-Type": "text/xml"}
        if user:
            word = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
            self._headers["Authorization"] = f"Basic {word}"

    def call(self, method: str, *arguments: Any, limit_s: float) -> Any:
        """The result. Raises NoAnswer, and xmlrpc.client.Fault for what supervisord refuses."""
        deadline_s = time.monotonic() + max(0.05, limit_s)
        link = UnixLink(self._parts.path) if self._parts.scheme == "unix" else Link(f"http://{self._parts.netloc}")
        body = xmlrpc.client.dumps(arguments, f"supervisor.{method}").encode()
        try:
            link.open(deadline_s)
            answer, _ = link.ask("POST", "/RPC2", self._headers, body, BYTES_MAX, deadline_s)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise NoAnswer(f"nobody listens there: {error.strerror}") from None
        except TimeoutError:
            raise NoAnswer(f"no complete answer within {limit_s:.1f} s") from None
        except (OSError, http.client.HTTPException, HttpFailure, ValueError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from None
        finally:
            link.close()
        if answer.status == 401:
            raise NoAnswer("it refuses user and password (HTTP status 401)")
        if answer.status != 200:
            raise NoAnswer(f"HTTP status {answer.status}")
        return _result(answer.body)


def _result(body: bytes) -> Any:
    """Raises NoAnswer or Fault. Looked at by defusedxml first: xmlrpc.client expands entities without end."""
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import ParseError, fromstring
    except ImportError:
        raise NoAnswer("the package defusedxml is missing: install it (pip install defusedxml)") from None
    try:
        fromstring(body, forbid_dtd=True)
        return xmlrpc.client.loads(body)[0][0]
    except xmlrpc.client.Fault:
        raise
    except (ParseError, DefusedXmlException, xmlrpc.client.Error, ValueError, LookupError, TypeError) as error:
        raise NoAnswer(f"its answer is no XML-RPC: {type(error).__name__}") from None


class SupervisordService:
    """ServicePort over supervisord."""

    KEYS, REQUIRED = ("program", "url", "user", "password"), ("program", "url")

    def __init__(self, common: Common, *, program: str, url: str, user: str = "", password: str = "") -> None:
        """Raises ValueError naming the field."""
        if not isinstance(program, str) or not _PROGRAM.fullmatch(program):
            raise ValueError(f'program: must be one program, as "beat" or "group:beat" (got {program!r})')
        self._supervisor = Supervisor(url, user, password)
        self.name = common.name
        self.start_limit_s, self.stop_limit_s = common.start_limit_s, common.stop_limit_s
        self.status_limit_s = common.status_limit_s
        self._program = program
        self._shared = StartFile(common.start_file, common.name)
        self._lock = threading.Lock()
        self._epoch = 0
        if common.ask_outside:
            self._check(common.at_boot)

    def _check(self, at_boot: bool) -> None:
        """Raises ValueError when supervisord cannot control this program. No answer is no verdict."""
        try:
            found = self._supervisor.call("getAllConfigInfo", limit_s=ASK_LIMIT_S)
            known = [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []
        except (NoAnswer, xmlrpc.client.Fault) as error:
            _log.warning("service %s: supervisord could not be asked about %s: %s", self.name, self._program, error)
            return
        names = {_full_name(entry): entry for entry in known}
        entry = names.get(self._program)
        if entry is None:
            there = ", ".join(sorted(names)) or "none"
            raise ValueError(f"program: supervisord has no {self._program!r}; its programs are {there}")
        section = f"of [program:{entry.get('name')}]"
        if entry.get("autostart") and not at_boot:
            raise ValueError(f"program: set autostart=false {section}: else it starts at boot on both servers")
        if not entry.get("killasgroup"):
            raise ValueError(f"program: set killasgroup=true {section}: else its children outlive a stop")
        wait_s = entry.get("stopwaitsecs", 0)
        if not isinstance(wait_s, (int, float)) or wait_s >= self.stop_limit_s:
            raise ValueError(
                f"stop_limit_s: must be above stopwaitsecs {section}, which is {wait_s}: raise it, or lower that one"
                f" (got {self.stop_limit_s:g})"
            )

    def promote(self, epoch: int, lease_left_s: float) -> ServiceReading:
        """Start it, unless it runs. Refused below the last epoch of any process of this node."""
        with self._lock:
            demotion = self._shared.demotion()
            if refusal := self._shared.begin(epoch):
                return self._reading(ServiceState.UNKNOWN, refusal)
            self._epoch = epoch
            try:
                self._supervisor.call("startProcess", self._program, False, limit_s=self.status_limit_s)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != ALREADY_STARTED:
                    return self._reading(ServiceState.DEAD, f"start failed: {fault.faultString}")
            except NoAnswer as error:
                return self._reading(ServiceState.UNKNOWN, f"supervisord: {error}")
            if self._shared.demotion() != demotion:  # this process stood still between its look and its order
                self._halt(time.monotonic() + self.stop_limit_s)
                return self._reading(ServiceState.UNKNOWN, "refused: it was demoted meanwhile")
            return self._ask(self.status_limit_s)

    def demote(self, epoch: int) -> ServiceReading:
        """Stop it within ``stop_limit_s`` seconds. Refused below the last epoch of this process."""
        deadline_s = time.monotonic() + self.stop_limit_s
        if epoch < self._epoch:
            return self._reading(ServiceState.UNKNOWN, f"refused: epoch {epoch} is below {self._epoch}")
        self._shared.demote(epoch)
        if not self._lock.acquire(timeout=self.stop_limit_s):
            return self._reading(ServiceState.UNKNOWN, "another command has not ended")
        try:
            self._epoch = max(epoch, self._epoch)
            return self._halt(deadline_s)
        finally:
            self._lock.release()

    def status(self) -> ServiceReading:
        """What supervisord says of it, within ``status_limit_s`` seconds."""
        return self._ask(self.status_limit_s)

    def restart(self, own: bool) -> ServiceReading:
        """Stop what is left of it: promote, with its epoch, is what starts."""
        with self._lock:
            return self._halt(time.monotonic() + self.stop_limit_s)

    def renew(self, epoch: int, lease_left_s: float, limit_s: float = 0.0) -> None:
        """Such a service knows no lease: the guard watches it."""

    def _halt(self, deadline_s: float) -> ServiceReading:
        """Order the stop until it is taken, then look until it is done."""
        taken, trouble = False, ""
        reading = self._reading(ServiceState.UNKNOWN, "stop limit reached")
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                if not taken:
                    self._supervisor.call("stopProcess", self._program, False, limit_s=min(left_s, self.status_limit_s))
                    taken = True
            except xmlrpc.client.Fault as fault:
                taken = fault.faultCode == NOT_RUNNING
                trouble = "" if taken else fault.faultString
            except NoAnswer as error:
                trouble = str(error)
            reading = self._ask(min(deadline_s - time.monotonic(), self.status_limit_s))
            if reading.state in (ServiceState.STANDBY, ServiceState.DEAD):
                return reading
            taken = taken and reading.state is not ServiceState.ACTIVE
            time.sleep(max(0.0, min(POLL_S, deadline_s - time.monotonic())))
        return self._reading(reading.state, f"stop failed: {trouble or 'its limit is reached'}; {reading.detail}")

    def _ask(self, limit_s: float) -> ServiceReading:
        try:
            info = self._supervisor.call("getProcessInfo", self._program, limit_s=limit_s)
        except NoAnswer as error:
            # a supervisord that is gone may have left its programs running, so it is not "dead"
            return self._reading(ServiceState.UNKNOWN, f"supervisord: {error}")
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == BAD_NAME:
                return self._reading(ServiceState.DEAD, f"supervisord has no program {self._program!r}")
            return self._reading(ServiceState.UNKNOWN, f"supervisord: {fault.faultString}")
        word = str(info.get("statename", "")) if isinstance(info, Mapping) else ""
        detail = str(info.get("spawnerr") or info.get("description") or "") if isinstance(info, Mapping) else ""
        if word in OVER:
            state = ServiceState.DEAD if self._shared.wanted() else ServiceState.STANDBY
            return self._reading(state, f"{word}: {detail}")
        state = STATES.get(word, ServiceState.UNKNOWN)
        quiet = state in (ServiceState.ACTIVE, ServiceState.STANDBY)
        return self._reading(state, "" if quiet else f"{word or 'no state'}: {detail}")

    def _reading(self, state: ServiceState, detail: str = "") -> ServiceReading:
        return ServiceReading(name=self.name, state=state, detail=detail[:DETAIL_CHARS_MAX])


def _full_name(entry: Mapping[str, Any]) -> str:
    """As supervisord shows it: "program", or "group:program" in a group of another name."""
    group, name = str(entry.get("group")), str(entry.get("name"))
    return name if group == name else f"{group}:{name}"
