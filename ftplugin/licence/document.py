"""The file: what it says, and the bytes that are signed.

    <IPSFT_lic version="1">
      <licence>
        <serial>…</serial> <vendor>key id</vendor> <holder>…</holder> <node>10.0.0.11</node>
        <starts>2026-01-01</starts> <expires>2027-01-01</expires>
      </licence>
      <signature>Base64 of an Ed25519 signature</signature>
    </IPSFT_lic>

Signed is a fixed word with the version, then ``<licence>`` in Canonical XML 2.0 of the standard library with white space
around texts dropped. So a mail program may break lines and change indentation, and nothing else. The file is read once, and
what is checked is what is used. Every element must be known and be there once: there is nothing to hide in.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree  # nosec B405 # writes; what is read goes through defusedxml

from .problems import UNTESTED, LicenceRefused

ROOT, VERSION = "IPSFT_lic", "1"
NAMES = ("serial", "vendor", "holder", "node", "starts", "expires")
BYTES_MAX = 64 * 1024
CHARS_MAX = 200
_DOMAIN = b"IPSFT_lic 1\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Licence:
    """What a licence says. vendor: id of the vendor's key. node: IP address. starts, expires: first and last valid day."""

    serial: str
    vendor: str
    holder: str
    node: str
    starts: datetime.date
    expires: datetime.date

    def to_json(self) -> dict[str, str]:
        """Every element as text."""
        return {name: str(getattr(self, name)) for name in NAMES}


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """A licence as read from a file: not yet checked. ``message`` are the bytes that ``signature`` covers."""

    licence: Licence
    message: bytes
    signature: bytes


def read(raw: bytes) -> Signed:
    """The licence in ``raw``. Raises LicenceRefused: too large, no XML, forbidden XML, a wrong or missing element."""
    if len(raw) > BYTES_MAX:
        raise LicenceRefused("too large", limit=BYTES_MAX)
    if not raw.strip():
        raise LicenceRefused("empty")
    root = _parsed(raw)
    if root.tag != ROOT or root.get("version") != VERSION:
        found = f"{root.tag} version {root.get('version')}" if root.tag == ROOT else root.tag
        raise LicenceRefused("wrong root", found=found, wanted=f"{ROOT} version {VERSION}")
    parts = _children(root, ("licence", "signature"))
    values = {name: (child.text or "").strip() for name, child in _children(parts["licence"], NAMES).items()}
    for name, value in [*values.items(), ("signature", (parts["signature"].text or "").strip())]:
        if not value:
            raise LicenceRefused("missing element", name=name)
    return Signed(
        licence=licence_of(values),
        message=message_of(parts["licence"]),
        signature=_signature(parts["signature"].text or ""),
    )


def _parsed(raw: bytes) -> Any:
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import fromstring
    except ImportError:
        raise LicenceRefused(UNTESTED, package="defusedxml") from None
    try:
        return fromstring(raw, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except DefusedXmlException:
        raise LicenceRefused("forbidden XML") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding nobody knows
        raise LicenceRefused("not XML", error=error) from None


def _children(element: Any, names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    between = [element.text, *(child.tail for child in element)]
    if any((text or "").strip() for text in between):
        raise LicenceRefused("unknown element", name="text between elements")
    for child in element:
        if child.tag not in names or child.tag in found or (child.tag != "licence" and len(child)):
            raise LicenceRefused("unknown element", name=child.tag)
        found[child.tag] = child
    for name in names:
        if name not in found:
            raise LicenceRefused("missing element", name=name)
    return found


def licence_of(values: dict[str, str]) -> Licence:
    """From the texts of the elements. Raises LicenceRefused naming the one that is wrong."""
    for name in ("serial", "vendor", "holder"):
        if len(values[name]) > CHARS_MAX or not values[name].isprintable():
            raise LicenceRefused("bad value", name=name, value=values[name], wanted=f"plain text up to {CHARS_MAX}")
    days = {name: _day(name, values[name]) for name in ("starts", "expires")}
    return Licence(
        serial=values["serial"], vendor=values["vendor"], holder=values["holder"], node=node_of(values["node"]), **days
    )


def node_of(text: str) -> str:
    """``text`` as an IP address in its short form. Raises LicenceRefused."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise LicenceRefused("bad value", name="node", value=text, wanted="an IP address") from None


def _day(name: str, text: str) -> datetime.date:
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise LicenceRefused("bad value", name=name, value=text, wanted="a day as 2027-12-31") from None


def _signature(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise LicenceRefused("changed") from None


def message_of(element: Any) -> bytes:
    """The bytes to sign for the element ``<licence>``."""
    alone = ElementTree.tostring(element, encoding="unicode")
    return _DOMAIN + ElementTree.canonicalize(alone, strip_text=True).encode()


def element_of(licence: Licence) -> ElementTree.Element:
    """The element ``<licence>`` that says ``licence``."""
    element = ElementTree.Element("licence")
    for name, value in licence.to_json().items():
        ElementTree.SubElement(element, name).text = value
    return element


def file_of(licence: Licence, signature: bytes) -> bytes:
    """The whole file."""
    root = ElementTree.Element(ROOT, version=VERSION)
    root.append(element_of(licence))
    ElementTree.SubElement(root, "signature").text = base64.b64encode(signature).decode()
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"
