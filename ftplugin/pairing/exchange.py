"""How a one-time code turns into keys that only the two servers know.

The code has 80 random bits. It passes scrypt with a salt of its session and becomes K. Each side makes an X25519 key
for this session alone; the shared value S of the two and K make, by HKDF-SHA256 over all that was said, five keys for
one use each. The joining server speaks first: a message sealed with ChaCha20-Poly1305 and an HMAC that proves K. Then
the other one answers in the same way, and the joining one confirms. So

- a listener learns nothing: without a private X25519 key there is no S, even for who gets the code later;
- who stands in between and has not the code cannot make the first proof. What he records is an HMAC under 80 bits
  behind scrypt: 2**80 tries of 16 MB each;
- who asks the server itself has five tries in ten minutes.

Only standard parts, put together as RFC 5869 and "encrypt, then prove" ask for: no home-made cipher, no PAKE needed,
since a code of 80 bits needs no protection against guessing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
CODE_CHARS = 16  # of 5 bits
GROUP = 4
VERSION = 1
_TYPED = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})
_NAMES = ("prove join", "prove answer", "prove confirm", "seal join", "seal answer")
_ONE_USE = b"\0" * 12  # each key seals one message, so one nonce is enough


class PairingError(RuntimeError):
    """Pairing cannot go on; the message says why and the way out."""


class ForgedError(PairingError):
    """A proof or a sealed message is wrong: another code, or somebody in between."""


def crypto() -> Any:
    """(X25519 module, ChaCha20Poly1305). Raises PairingError when the package is missing."""
    try:
        from cryptography.hazmat.primitives.asymmetric import x25519
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    except ImportError:
        raise PairingError("pairing and rotation need a package: pip install 'ftplugin[keys]'") from None
    return x25519, ChaCha20Poly1305


def new_code() -> str:
    """80 random bits to be typed, as ``7KQF-2M9X-C0TB-WH3E``."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARS))
    return "-".join(text[i : i + GROUP] for i in range(0, CODE_CHARS, GROUP))


def read_code(typed: str) -> str:
    """What was typed, in one form. Raises PairingError when it cannot be a code."""
    text = typed.upper().translate(_TYPED)
    if len(text) != CODE_CHARS or not set(text) <= set(ALPHABET):
        raise PairingError("the code has 16 letters and digits, as 7KQF-2M9X-C0TB-WH3E; type it as 'ft pair' shows it")
    return text


def stretched(code: str, salt: bytes) -> bytes:
    """K: the code behind scrypt, 32 bytes; takes 16 MB and some 50 ms."""
    return hashlib.scrypt(code.encode(), salt=salt, n=2**14, r=8, p=1, maxmem=2**26, dklen=32)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def decode(text: object) -> bytes:
    """Raises PairingError."""
    if not isinstance(text, str):
        raise PairingError("a part of the message is no text")
    try:
        return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError:
        raise PairingError("a part of the message is not base64") from None


def new_private() -> bytes:
    """A private X25519 key for one session."""
    x25519, _ = crypto()
    made: bytes = x25519.X25519PrivateKey.generate().private_bytes_raw()
    return made


def public_of(private: bytes) -> bytes:
    x25519, _ = crypto()
    made: bytes = x25519.X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    return made


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of one exchange, by purpose; ``said``: hash of everything that was said in the open."""

    said: bytes
    by_name: Mapping[str, bytes]

    @classmethod
    def of(cls, secret: bytes, private: bytes, other_public: bytes, *said: object) -> Keys:
        """secret: what both sides have beforehand (K, or a key of the pair). said: in the open. Raises PairingError."""
        x25519, _ = crypto()
        try:
            own = x25519.X25519PrivateKey.from_private_bytes(private)
            shared = own.exchange(x25519.X25519PublicKey.from_public_bytes(other_public))
        except ValueError:
            raise ForgedError("the other side's public key cannot be one") from None
        digest = hashlib.sha256(json.dumps([VERSION, *map(str, said)]).encode()).digest()
        prk = hmac.new(secret, shared, hashlib.sha256).digest()
        return cls(said=digest, by_name={name: _expand(prk, name.encode() + digest) for name in _NAMES})

    def seal(self, what: str, document: Mapping[str, Any]) -> str:
        _, cipher = crypto()
        data: bytes = cipher(self.by_name[f"seal {what}"]).encrypt(_ONE_USE, json.dumps(document).encode(), self.said)
        return encode(data)

    def opened(self, what: str, sealed: object) -> dict[str, Any]:
        """Raises ForgedError."""
        _, cipher = crypto()
        from cryptography.exceptions import InvalidTag

        try:
            data = cipher(self.by_name[f"seal {what}"]).decrypt(_ONE_USE, decode(sealed), self.said)
            document = json.loads(data)
        except (InvalidTag, ValueError, PairingError):
            raise ForgedError("a sealed message cannot be opened") from None
        if not isinstance(document, dict):
            raise ForgedError("a sealed message holds no object")
        return document

    def proof(self, what: str, *over: str) -> str:
        text = json.dumps([what, *over]).encode()
        return encode(hmac.new(self.by_name[f"prove {what}"], self.said + text, hashlib.sha256).digest())

    def proves(self, proof: object, what: str, *over: str) -> bool:
        wanted = self.proof(what, *over)
        return isinstance(proof, str) and hmac.compare_digest(wanted.encode(), proof.encode("utf-8", "replace"))


def _expand(prk: bytes, info: bytes) -> bytes:
    """HKDF-Expand of RFC 5869 for one block of 32 bytes."""
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()
