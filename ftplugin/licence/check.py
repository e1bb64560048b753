"""Is a licence good on this node, today? Ed25519 over the signed bytes; the vendor's key alone is trusted.

A licence is bound to the IP address of FT_OWN_ADDRESS, not to an id of the machine: both servers of a pair have their own,
an administrator knows it before anything is installed, and a server that is replaced or restored from a backup keeps it.
The port is left out: moving the portal to another one needs no new licence.
"""

from __future__ import annotations

import datetime

from ftplugin.core.settings import SettingsError, parse_address

from .document import Licence, node_of, read
from .key import key_id
from .problems import EARLY, EXPIRED, UNTESTED, LicenceRefused


def verified(raw: bytes, public: bytes, own_address: str) -> Licence:
    """The licence in ``raw``, signed by the owner of ``public`` for this node; its days are not looked at.

    own_address: FT_OWN_ADDRESS. Raises LicenceRefused.
    """
    signed = read(raw)
    if signed.licence.vendor != key_id(public):
        raise LicenceRefused("other vendor", found=signed.licence.vendor, wanted=key_id(public))
    _check_signature(public, signed.signature, signed.message)
    own = _own_node(own_address)
    if signed.licence.node != own:
        raise LicenceRefused("other node", found=signed.licence.node, own=own or "not set")
    return signed.licence


def check_days(licence: Licence, today: datetime.date) -> None:
    """Raises LicenceRefused unless ``today`` is from ``starts`` to ``expires``, both included."""
    if today < licence.starts:
        raise LicenceRefused(EARLY, day=licence.starts, today=today)
    if today > licence.expires:
        raise LicenceRefused(EXPIRED, day=licence.expires)


def _own_node(own_address: str) -> str:
    try:
        return node_of(parse_address("FT_OWN_ADDRESS", own_address).host)
    except SettingsError:
        return ""


def _check_signature(public: bytes, signature: bytes, message: bytes) -> None:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise LicenceRefused(UNTESTED, package="cryptography") from None
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise LicenceRefused("changed") from None
