"""Which interface has an address, and whether it has a carrier; from the kernel, without starting a program.

Addresses come from one RTM_GETADDR dump (rtnetlink(7)), which also knows secondary and IPv6 addresses; the carrier
from ``/sys/class/net``.
"""

from __future__ import annotations

import ipaddress
import os
import pathlib
import socket
import struct

from ftplugin.core.terms import Tri

_RTM_GETADDR, _RTM_NEWADDR, _NLMSG_DONE, _NLMSG_ERROR = 22, 20, 3, 2
_NLM_F_REQUEST_DUMP = 0x0301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_LOOPBACK = "lo"
_LIMIT_S = 0.5

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def addresses() -> dict[Ip, str]:
    """Every address of this host and the name of its interface. Raises OSError."""
    found: dict[Ip, str] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as sock:
        sock.settimeout(_LIMIT_S)
        sock.send(struct.pack("=LHHLLBBBBi", 24, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0, socket.AF_UNSPEC, 0, 0, 0, 0))
        while True:
            data = sock.recv(65_536)
            while len(data) >= 16:
                length, kind = struct.unpack_from("=LH", data)
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR or length < 16:
                    raise OSError("the kernel refused to list its addresses")
                if kind == _RTM_NEWADDR:
                    _add(found, data[16:length])
                data = data[(length + 3) & ~3 :]


def _add(found: dict[Ip, str], message: bytes) -> None:
    _, _, _, _, index = struct.unpack_from("=BBBBi", message)
    parts: dict[int, bytes] = {}
    rest = message[8:]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        if length < 4:
            break
        parts[kind] = rest[4:length]
        rest = rest[(length + 3) & ~3 :]
    raw = parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS)
    if raw and len(raw) in (4, 16):
        try:
            found[ipaddress.ip_address(raw)] = socket.if_indextoname(index)
        except OSError:
            return  # the interface went away in between


def interface_of(address: str, known: dict[Ip, str]) -> str | None:
    """Name of the interface with the address; None when this host has it not. All of 127.0.0.0/8 is on the loopback."""
    ip = ipaddress.ip_address(address)
    if ip.is_loopback:
        return known.get(ip, _LOOPBACK)
    return known.get(ip)


def carrier(interface: str) -> Tri:
    """Whether the interface is up and has a carrier; the loopback always has."""
    if interface == _LOOPBACK:
        return Tri.YES
    try:
        text = pathlib.Path("/sys/class/net", os.path.basename(interface), "carrier").read_text()
    except FileNotFoundError:
        return Tri.UNKNOWN
    except OSError:  # EINVAL: the interface is administratively down
        return Tri.NO
    return Tri.YES if text.strip() == "1" else Tri.NO


def default_gateway() -> str | None:
    """The IPv4 default gateway with the lowest metric of ``/proc/net/route``, else the IPv6 one; or None."""
    best: tuple[int, str] | None = None
    for line in _lines("/proc/net/route")[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and fields[7] == "00000000" and int(fields[3], 16) & 2:
            gateway = socket.inet_ntoa(struct.pack("=L", int(fields[2], 16)))
            best = min(best or (int(fields[6]), gateway), (int(fields[6]), gateway))
    if best is not None:
        return best[1]
    for line in _lines("/proc/net/ipv6_route"):
        fields = line.split()
        if len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00" and fields[4] != "0" * 32:
            address = ipaddress.IPv6Address(bytes.fromhex(fields[4]))
            return f"{address}%{fields[9]}" if address.is_link_local else str(address)
    return None


def _lines(path: str) -> list[str]:
    try:
        return pathlib.Path(path).read_text().splitlines()
    except OSError:
        return []
