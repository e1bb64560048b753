"""The demo's service: a CTI server that registers ports at the call manager while it is active.

HTTP control API, JSON in and out, HTTP/1.1 keep-alive. Every answer to an order is the status:

    POST /promote {"epoch": 4, "lease_s": 1.5}   200, or 409 for a lower epoch than seen
    POST /demote  {"epoch": 5}                   200, or 409 for a lower epoch than the one it runs under
    POST /renew   {"epoch": 4, "lease_s": 1.5}   200, or 409 unless active under this epoch
    POST /restart                                200; gives its ports back and starts anew in the same process
    GET  /status                                 {"state": "standby|starting|active|stopping", "progress": 2,
                                                  "total": 5, "epoch": 4, "detail": "registering 2/5"}
                                                 and "waiting_s" while a port is waited for, "also_owned":
                                                 {"port 7101": "server2"} once the call manager was asked who owns

503: the process was frozen and the order may be old; ask again. 401: the bearer token is wrong. Orders return at once;
the status shows how far they are. Demoted, it stays up and owns nothing.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import pathlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from demo.cti_line import Line, LineConfig, Refused

BODY_BYTES_MAX = 4096
IDLE_S = 120.0
RESTART_AFTER_S = 0.05  # the answer leaves first


class Control(BaseHTTPRequestHandler):
    """The control API. ``line`` and ``token`` are set on the subclass that the server uses."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_S
    line: Line
    token = ""

    def do_GET(self) -> None:
        if not self._allowed():
            return
        if self.path == "/status":
            self._answer(200, self.line.status())
        else:
            self._answer(404, {"error": "there is GET /status and POST /promote, /demote, /renew, /restart"})

    def do_POST(self) -> None:
        if not self._allowed():
            return
        try:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= BODY_BYTES_MAX:
                self.close_connection = True
                return self._answer(413, {"error": f"at most {BODY_BYTES_MAX} bytes"})
            body = json.loads(self.rfile.read(length) or b"{}")
            self._order(self.path, body)
            self._answer(200, self.line.status())
        except Refused as refused:
            self._answer(refused.status, self.line.status() | {"error": str(refused)})
        except LookupError:
            self._answer(404, {"error": f"no order {self.path}"})
        except (ValueError, TypeError) as error:
            self._answer(400, {"error": f"body: {error}"})

    def _order(self, path: str, body: dict[str, Any]) -> None:
        if path == "/promote":
            self.line.promote(_epoch(body), _lease(body))
        elif path == "/demote":
            self.line.demote(_epoch(body))
        elif path == "/renew":
            self.line.renew(_epoch(body), _lease(body))
        elif path == "/restart":
            threading.Timer(RESTART_AFTER_S, restart, [self.line]).start()
        else:
            raise LookupError(path)

    def _allowed(self) -> bool:
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        if self.token and not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            self.close_connection = True
            self._answer(401, {"error": "bearer token missing or wrong"})
            return False
        return True

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing a request: it is asked many times a minute."""


def _epoch(body: dict[str, Any]) -> int:
    epoch = body.get("epoch") if isinstance(body, dict) else None
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
        raise ValueError(f"epoch={epoch!r} must be a whole number")
    return epoch


def _lease(body: dict[str, Any]) -> float:
    lease_s = body.get("lease_s")
    if not isinstance(lease_s, (int, float)) or isinstance(lease_s, bool) or not 0 <= lease_s < 86_400:
        raise ValueError(f"lease_s={lease_s!r} must be seconds from 0 to 86400")
    return float(lease_s)


def restart(line: Line) -> None:
    """Give the ports back, then begin anew under the same process id, so that the supervisor keeps it."""
    line.close()
    os.execv(sys.executable, [sys.executable, "-m", "demo.cti_server", *sys.argv[1:]])  # nosec B606 # this program itself, anew


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Registers ports at the call manager while it is active.")
    parser.add_argument("--listen", default="127.0.0.11:9001", metavar="ADDRESS:PORT")
    parser.add_argument("--node", default="server1", help="name told to the call manager")
    parser.add_argument("--call-manager", default="127.0.0.1:7001", metavar="ADDRESS:PORT")
    parser.add_argument("--ports", type=int, default=3, help="how many ports")
    parser.add_argument("--first-port", type=int, default=7101)
    parser.add_argument("--devices", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the 200 ms a port and device takes")
    parser.add_argument("--connect-s", type=float, default=0.0)
    parser.add_argument(
        "--release-limit-s", type=float, default=2.0, help="wait so long for the call manager at a stop"
    )
    parser.add_argument("--check-lease", action="store_true", help="release by itself when the lease has run out")
    parser.add_argument("--epoch-file", type=pathlib.Path, help="keeps the highest epoch over a restart")
    parser.add_argument("--trouble-file", type=pathlib.Path, help="what is wrong with it, for tests of faults")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    host, _, port = options.listen.rpartition(":")
    manager, _, manager_port = options.call_manager.rpartition(":")
    config = LineConfig(
        node=options.node,
        call_manager=(manager, int(manager_port)),
        ports=tuple(range(options.first_port, options.first_port + options.ports)),
        devices=options.devices,
        scale=options.scale,
        connect_s=options.connect_s,
        release_limit_s=options.release_limit_s,
        check_lease=options.check_lease,
        epoch_file=options.epoch_file,
        trouble_file=options.trouble_file,
    )
    bound = type("BoundControl", (Control,), {"line": Line(config), "token": os.environ.get("CTI_TOKEN", "")})
    try:
        server = Server((host, int(port)), bound)
    except OSError as error:
        raise SystemExit(f"CTI server cannot listen on {options.listen}: {error}") from None
    print(f"CTI server {options.node} on {options.listen}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
