"""Receivers of alerts on real sockets: webhook, mail, traps, and one that never answers."""

from __future__ import annotations

import asyncio
import email
import email.policy
import http.server
import json
import socket
import threading
from typing import Any

from aiosmtpd.controller import Controller
from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto import api

from .conftest import free_port

V2C = api.PROTOCOL_MODULES[api.SNMP_VERSION_2C]


class Webhook:
    """Takes JSON by POST; ``status`` is what it answers. ``got``: the bodies that it answered 200 to."""

    def __init__(self, status: int = 200) -> None:
        self.status, self.got = status, []
        self.refused = ""  # 400 for what has this in it
        got: list[dict[str, Any]] = self.got
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = 400 if owner.refused and owner.refused in body["message"] else owner.status
                if status == 200:
                    got.append(body)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hooks/hook-secret"

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.got]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class Mailbox:
    """An SMTP server; ``got``: the messages."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port())
        self._controller.start()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 taken"

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self._controller.port}?from=ft@example.org&to=night@example.org"

    def close(self) -> None:
        self._controller.stop()


class Silent:
    """Takes connections and never says a word."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(20)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self._socket.getsockname()[1]}/?rto=600&cto=600"

    def close(self) -> None:
        self._socket.close()


class TrapReceiver:
    """SNMPv2c on UDP; acknowledges informs."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.settimeout(30)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def receive(self) -> tuple[str, str, list[tuple[str, Any]]]:
        """(community, "trap" or "inform", variables as OID and plain value)."""
        data, sender = self._socket.recvfrom(65_535)
        message, rest = decoder.decode(data, asn1Spec=V2C.Message())
        assert not rest
        pdu = V2C.apiMessage.get_pdu(message)
        inform = pdu.isSameTypeWith(V2C.InformRequestPDU())
        if inform:
            answer = V2C.apiMessage.get_response(message)
            V2C.apiPDU.set_varbinds(V2C.apiMessage.get_pdu(answer), V2C.apiPDU.get_varbinds(pdu))
            self._socket.sendto(encoder.encode(answer), sender)
        found = [(str(oid), _plain(value)) for oid, value in V2C.apiPDU.get_varbinds(pdu)]
        return str(V2C.apiMessage.get_community(message)), "inform" if inform else "trap", found

    def close(self) -> None:
        self._socket.close()


def _plain(value: Any) -> Any:
    if isinstance(value, V2C.OctetString):
        return bytes(value).decode()
    return int(value) if isinstance(value, V2C.Integer) else str(value)


class InformReceiver:
    """SNMPv3 on UDP, with one user. ``got``: the variables of each notification."""

    def __init__(self, user: str, auth_key: str, priv_key: str) -> None:
        self.got: list[list[tuple[str, Any]]] = []
        self.port = 0
        self._login = (user, auth_key, priv_key)
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        from pysnmp.carrier.asyncio.dgram import udp
        from pysnmp.entity import config, engine
        from pysnmp.entity.rfc3413 import ntfrcv

        self.port = free_port()
        snmp = engine.SnmpEngine()
        transport = udp.UdpTransport().open_server_mode(("127.0.0.1", self.port))
        config.add_transport(snmp, udp.DOMAIN_NAME, transport)
        user, auth_key, priv_key = self._login
        protocols = (config.USM_AUTH_HMAC192_SHA256, auth_key, config.USM_PRIV_CFB128_AES, priv_key)
        config.add_v3_user(snmp, user, *protocols)

        def take(_engine: Any, _state: Any, _context: Any, _name: Any, binds: Any, _extra: Any) -> None:
            self.got.append([(str(oid), _plain(value)) for oid, value in binds])

        ntfrcv.NotificationReceiver(snmp, take)
        snmp.transport_dispatcher.job_started(1)
        self._loop.call_soon(self._ready.set)
        self._loop.run_forever()
        snmp.close_dispatcher()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
