"""The vendor's public key as text, and its short name. Standard library alone: every process reads the configuration."""

from __future__ import annotations

import base64
import binascii
import hashlib

KEY_BYTES = 32


def key_of(text: str) -> bytes:
    """The 32 bytes of a key as ``ft-vendor keygen`` prints it. Raises ValueError saying what is needed."""
    try:
        found = base64.b64decode(text.strip().encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        found = b""
    if len(found) != KEY_BYTES:
        raise ValueError("must be the public key of the vendor, 44 characters as 'ft-vendor keygen' prints it")
    return found


def key_text(key: bytes) -> str:
    """A key as people carry it."""
    return base64.urlsafe_b64encode(key).decode()


def key_id(public: bytes) -> str:
    """Short name of a public key, to tell another vendor's licence from a damaged one."""
    return hashlib.sha256(public).hexdigest()[:16]
