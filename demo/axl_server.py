"""A stand-in for a call manager's AXL service: HTTPS with a throw-away certificate, basic authentication, SOAP 1.1.

    python -m demo.axl_server --listen 127.0.0.1:8443 --folder instance/axl --user axl --password secret

It writes the certificate to ``FOLDER/ca.pem`` (the ``ca_file`` of a health check) and answers ``POST /axl/``:
the version for ``getCCMVersion``, and what a real one refuses:

| asked | answer |
|---|---|
| no login or a wrong one | 401; for a user in ``forbidden``: 403 |
| a SOAPAction or a namespace of another AXL version | 599 |
| another operation, or no SOAP | 500 with a SOAP fault |
| another path | 404 |

Control, on ``127.0.0.1`` in clear: one JSON object a line to ``--control-port``, answered with the values in force:

    {"mode": "throttle"}     503. Also: ok, hang (takes the question, answers never), drip (a byte a second), huge,
                             garbage, other (XML that is no SOAP), redirect, echo (a fault that sends the login back)
    {"delay_s": 2}           every answer that much later
    {"forbidden": ["axl"]}   users that are refused
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import contextlib
import datetime
import ipaddress
import json
import pathlib
import re
import signal
import ssl
from collections.abc import Sequence
from typing import Any

VERSION, CCM_VERSION = "12.5", "12.5.1.11900(146)"
MODES = ("ok", "throttle", "hang", "drip", "huge", "garbage", "other", "redirect", "echo")
HEAD_BYTES_MAX, BODY_BYTES_MAX, LINE_BYTES_MAX = 16_384, 65_536, 4_096
HANG_S, DRIP_S, READ_LIMIT_S = 3600.0, 1.0, 10.0
HUGE_BYTES = 10_000_000
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
REASONS = {
    200: "OK",
    302: "Found",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
}
Reply = tuple[int, str, str]  # status, content type or location, body


def make_certificate(folder: pathlib.Path, host: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Write a self-signed certificate for ``host`` and its key: (ca.pem, key.pem). It ends after a week."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "demo call manager")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca_file, key_file = folder / "ca.pem", folder / "key.pem"
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return ca_file, key_file


class Axl:
    """What the service answers; ``set`` changes how it behaves."""

    def __init__(self, users: Sequence[str], password: str) -> None:
        self._users, self._password = tuple(users), password
        self.mode, self.delay_s, self.asked = "ok", 0.0, 0
        self.forbidden: tuple[str, ...] = ()

    def set(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Raises ValueError naming the field."""
        if wanted.get("mode", self.mode) not in MODES:
            raise ValueError(f"mode={wanted['mode']!r}: must be one of {', '.join(MODES)}")
        self.mode = wanted.get("mode", self.mode)
        self.delay_s = float(wanted.get("delay_s", self.delay_s))
        self.forbidden = tuple(wanted.get("forbidden", self.forbidden))
        return {"mode": self.mode, "delay_s": self.delay_s, "forbidden": self.forbidden, "asked": self.asked}

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """The reply to one request, by the rules of the module's docstring."""
        self.asked += 1
        user, refused = self._login(headers.get("authorization", ""))
        if self.mode == "throttle":
            return 503, "text/html", "<html><body>AXL request rate exceeded</body></html>"
        if self.mode == "redirect":
            return 302, "https://127.0.0.1:1/elsewhere/", ""
        if path != "/axl/" or method != "POST":
            return 404, "text/html", "<html><body>not here</body></html>"
        if refused:
            return refused, "text/html", f"<html><body>{REASONS[refused]}</body></html>"
        if self.mode == "garbage":
            return 200, "text/xml", "<soapenv:Envelope"
        if self.mode == "other":
            return 200, "text/xml", "<html><body>welcome</body></html>"
        if self.mode == "huge":
            return 200, "text/xml", "x" * HUGE_BYTES
        if self.mode == "echo":
            return 500, "text/xml", _fault(f"{headers['authorization']} {self._password}")
        return self._soap(headers.get("soapaction", ""), body)

    def _login(self, header: str) -> tuple[str, int]:
        try:
            user, _, password = base64.b64decode(header.removeprefix("Basic "), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", 401
        if user in self.forbidden:
            return user, 403
        return user, 0 if user in self._users and password == self._password else 401

    def _soap(self, action: str, body: bytes) -> Reply:
        text = body.decode("utf-8", "replace")
        asked = re.search(r"<(?:\w+:)?Body>\s*<(\w+):(\w+)", text)
        if asked is None:
            return 500, "text/xml", _fault("Message does not conform to configured schema")
        namespace = re.search(rf'xmlns:{asked[1]}="([^"]*)"', text)
        version = re.fullmatch(r'"?CUCM:DB ver=([\d.]+) \w+"?', action)
        if version is None or version[1] != VERSION:
            return 599, "text/html", "<html><body>unsupported AXL version in SOAPAction</body></html>"
        if namespace is None or namespace[1] != f"http://www.cisco.com/AXL/API/{VERSION}":
            return 599, "text/html", "<html><body>unsupported AXL schema</body></html>"
        if asked[2] != "getCCMVersion":
            return 500, "text/xml", _fault(f"Unknown operation {asked[2]}")
        found = f"<return><componentVersion><version>{CCM_VERSION}</version></componentVersion></return>"
        inside = f'<ns:getCCMVersionResponse xmlns:ns="{namespace[1]}">{found}</ns:getCCMVersionResponse>'
        return 200, "text/xml;charset=UTF-8", _envelope(inside)


def _envelope(inside: str) -> str:
    start = '<?xml version="1.0" encoding="UTF-8"?>'
    return f'{start}<soapenv:Envelope xmlns:soapenv="{SOAP}"><soapenv:Body>{inside}</soapenv:Body></soapenv:Envelope>'


def _fault(text: str) -> str:
    return _envelope(
        f"<soapenv:Fault><faultcode>soapenv:Server</faultcode><faultstring>{text}</faultstring></soapenv:Fault>"
    )


class AxlServer:
    """Serves ``Axl`` over TLS, and its control in clear."""

    def __init__(self, axl: Axl) -> None:
        self.axl = axl

    async def serve(self, host: str, port: int, control_port: int, context: ssl.SSLContext) -> None:
        """Until SIGTERM or SIGINT. Raises OSError when an address is taken."""
        server = await asyncio.start_server(self._client, host, port, ssl=context, limit=HEAD_BYTES_MAX)
        control = await asyncio.start_server(self._control, "127.0.0.1", control_port, limit=LINE_BYTES_MAX)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        print(f"AXL on {host}:{port}, control on 127.0.0.1:{control_port}", flush=True)
        await stop.wait()
        server.close()
        control.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), READ_LIMIT_S)).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            method, path, _ = first.split(" ", 2)
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            length = min(int(headers.get("content-length", "0")), BODY_BYTES_MAX)
            body = await asyncio.wait_for(reader.readexactly(length), READ_LIMIT_S)
            await asyncio.sleep(self.axl.delay_s)
            await self._send(writer, self.axl.answer(method, path, headers, body))
        writer.transport.abort()

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        if self.axl.mode == "hang":
            await asyncio.sleep(HANG_S)
        status, kind, body = reply
        where = f"Location: {kind}" if status == 302 else f"Content-Type: {kind}"
        head = (
            f"HTTP/1.1 {status} {REASONS.get(status, 'Refused')}\r\n{where}\r\nContent-Length: {len(body.encode())}\r\n"
        )
        data = f"{head}Connection: close\r\n\r\n{body}".encode()
        while self.axl.mode == "drip" and data:
            writer.write(data[:1])
            data = data[1:]
            await asyncio.sleep(DRIP_S)
        writer.write(data)
        await asyncio.wait_for(writer.drain(), READ_LIMIT_S)
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), READ_LIMIT_S)

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            line = await asyncio.wait_for(reader.readline(), READ_LIMIT_S)
            try:
                answer = self.axl.set(json.loads(line))
            except (ValueError, TypeError, AttributeError) as error:
                answer = {"error": f"cannot be read: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await asyncio.wait_for(writer.drain(), READ_LIMIT_S)
        writer.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answers getCCMVersion as a call manager does.")
    parser.add_argument("--listen", default="127.0.0.1:8443", metavar="ADDRESS:PORT")
    parser.add_argument("--control-port", type=int, default=8444)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="where certificate and key are written")
    parser.add_argument("--user", nargs="+", default=["axl"], metavar="USER", help="all have the same password")
    parser.add_argument("--password", required=True)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    host, _, port = options.listen.rpartition(":")
    try:
        ca_file, key_file = make_certificate(options.folder, host)
    except ImportError:
        raise SystemExit("the package cryptography is missing: pip install cryptography") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    try:
        asyncio.run(
            AxlServer(Axl(options.user, options.password)).serve(host, int(port), options.control_port, context)
        )
    except OSError as error:
        raise SystemExit(f"AXL cannot listen on {options.listen} or port {options.control_port}: {error}") from None


if __name__ == "__main__":
    main()
