"""SNMP notifications with pysnmp (extra ``alerts``). Loaded in the process that sends alone.

SNMPv2c: a trap, or an inform that the receiver acknowledges. SNMPv3 goes as an inform alone: of a trap the sender's engine is
the authority, whose boots and clock a receiver holds against the last ones, and a process that lives for a second has none.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Callable
from typing import Any

from .causes import Phase, Severity
from .message import Message
from .targets import SnmpTarget, snmp_target

BASE = "1.3.6.1.4.1.8072.9999.9999.7011"  # below NET-SNMP's playground; FT-HOT-STANDBY-MIB
TIMEOUT_S, RETRIES = 2.0, 2
UPTIME, TRAP_OID = "1.3.6.1.2.1.1.3.0", "1.3.6.1.6.3.1.1.4.1.0"
SEVERITIES = {Severity.INFO: 1, Severity.WARNING: 2, Severity.CRITICAL: 3}
PHASES = {Phase.ONCE: 1, Phase.RAISED: 2, Phase.REPEATED: 3, Phase.RESOLVED: 4, Phase.TEST: 5}
TEXT_BYTES_MAX = 255  # of a DisplayString; a longer datagram may be cut on its way
MISSING = "pysnmp is not installed: pip install 'ftplugin[alerts]'"


def sender(url: str) -> Callable[[Message], str]:
    """For one target. Raises RuntimeError when pysnmp is missing, ValueError for a URL that is none."""
    target = snmp_target(url)
    try:
        import pysnmp.hlapi.v3arch.asyncio as api
    except ImportError:
        raise RuntimeError(MISSING) from None
    if target.priv:
        try:
            import cryptography  # noqa: F401  # pysnmp looks for it late, and says little
        except ImportError:
            raise RuntimeError("priv needs cryptography: pip install 'ftplugin[alerts]'") from None

    def send(message: Message) -> str:
        return asyncio.run(_send(api, target, message))

    return send


def variables(message: Message) -> list[tuple[str, int | str]]:
    """(OID, value) of the objects of the notification, in the order of the MIB."""
    values: list[int | str] = [
        message.server,
        message.address,
        message.instance,
        SEVERITIES[message.severity],
        PHASES[message.phase],
        message.incident_id,
        message.headline,
        message.text,
        message.rule,
        str(message.epoch),
        time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(message.at_wall_s)),
    ]
    cut = [value if isinstance(value, int) else _cut(value) for value in values]
    return [(f"{BASE}.1.{index}.0", value) for index, value in enumerate(cut, start=1)]


def notification_oid(message: Message) -> str:
    return f"{BASE}.0.{message.number}"


async def _send(api: Any, target: SnmpTarget, message: Message) -> str:
    engine = _engine(api, message)
    try:
        transport = api.Udp6TransportTarget if _is_ipv6(target) else api.UdpTransportTarget
        where = await transport.create((target.host, target.port), timeout=TIMEOUT_S, retries=RETRIES)
        ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100) % 2**32
        rows = [(UPTIME, api.TimeTicks(ticks)), (TRAP_OID, api.ObjectIdentifier(notification_oid(message)))]
        for oid, value in variables(message):
            rows.append((oid, api.Integer32(value) if isinstance(value, int) else api.OctetString(value.encode())))
        binds = [api.ObjectType(api.ObjectIdentity(oid), value) for oid, value in rows]
        kind = "inform" if target.inform else "trap"
        error, status, _, _ = await api.send_notification(
            engine, _login(api, target), where, api.ContextData(), kind, *binds
        )
        if error:
            return f"no acknowledgement: {error}" if target.inform else str(error)
        return f"refused: {status.prettyPrint()}" if status else ""
    finally:
        engine.close_dispatcher()


def _login(api: Any, target: SnmpTarget) -> Any:
    if not target.user:
        return api.CommunityData(target.community, mpModel=1)
    auths = {
        "": api.USM_AUTH_NONE,
        "md5": api.USM_AUTH_HMAC96_MD5,
        "sha": api.USM_AUTH_HMAC96_SHA,
        "sha224": api.USM_AUTH_HMAC128_SHA224,
        "sha256": api.USM_AUTH_HMAC192_SHA256,
        "sha384": api.USM_AUTH_HMAC256_SHA384,
        "sha512": api.USM_AUTH_HMAC384_SHA512,
    }
    privs = {
        "": api.USM_PRIV_NONE,
        "des": api.USM_PRIV_CBC56_DES,
        "aes": api.USM_PRIV_CFB128_AES,
        "aes192": api.USM_PRIV_CFB192_AES,
        "aes256": api.USM_PRIV_CFB256_AES,
    }
    return api.UsmUserData(
        target.user,
        authKey=target.auth_key or None,
        privKey=target.priv_key or None,
        authProtocol=auths[target.auth],
        privProtocol=privs[target.priv],
    )


def _engine(api: Any, message: Message) -> Any:
    """pysnmp keeps a count of its starts below the folder for temporary files, under a name that everybody can foresee and put
    a pipe in its place. Nothing here needs that count, so it gets no folder."""
    before, tempfile.tempdir = tempfile.tempdir, os.devnull
    try:
        return api.SnmpEngine(api.OctetString(hexValue=_engine_id(message)))
    finally:
        tempfile.tempdir = before


def _engine_id(message: Message) -> str:
    """Always the same for one server: RFC 3411's own form 128 and up, below NET-SNMP's number."""
    digest = hashlib.sha256(f"{message.instance} {message.address}".encode()).hexdigest()[:16]
    return f"80001f88ff{digest}"


def _is_ipv6(target: SnmpTarget) -> bool:
    """An address of IPv6, or a name that has no other. Raises OSError for a name that is not known."""
    found = {row[0] for row in socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)}
    return socket.AF_INET not in found


def _cut(text: str) -> str:
    """At most TEXT_BYTES_MAX bytes of UTF-8, cut between two characters."""
    return text.encode("utf-8", "replace")[:TEXT_BYTES_MAX].decode("utf-8", "ignore")
