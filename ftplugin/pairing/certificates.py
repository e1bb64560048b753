"""A small CA of the pair's own: enough for two servers and a witness that trust nobody else. Keys: P-256, mode 0600."""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .exchange import PairingError
from .files import read_secret, write_secret

if TYPE_CHECKING:
    from cryptography import x509

CA_FILE, CA_KEY_FILE = "ca.pem", "ca.key"
CA_DAYS, DAYS = 3650, 825
EARLIER = datetime.timedelta(hours=1)  # clocks differ


def make_ca(folder: pathlib.Path, days: int = CA_DAYS) -> pathlib.Path:
    """Make ``ca.pem`` and ``ca.key`` in ``folder``, valid for ``days`` days; the certificate's path.

    Raises PairingError when there is one already, OSError.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    if (folder / CA_KEY_FILE).exists():
        raise PairingError(
            f"{folder / CA_KEY_FILE}: is there already; a new CA would make every certificate of it void"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    made = _certificate("ftplugin CA", key.public_key(), "ftplugin CA", key, days, ())
    _write(folder / CA_KEY_FILE, _private_pem(key))
    _write_public(folder / CA_FILE, _pem(made))
    return folder / CA_FILE


def issue(folder: pathlib.Path, addresses: Sequence[str], days: int = DAYS) -> tuple[pathlib.Path, pathlib.Path]:
    """A certificate for a server with these IP addresses by the CA in ``folder``; paths of certificate and key.

    Serves as server and as client. Raises PairingError, SecretFileError, OSError.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        names = [ipaddress.ip_address(text) for text in addresses]
    except ValueError as error:
        raise PairingError(f"{error}: name the IP addresses by which the server is asked, without port") from None
    if not (folder / CA_FILE).exists():
        raise PairingError(f"{folder / CA_FILE}: is not there; run 'ft tls make-ca {folder}' first")
    ca = x509.load_pem_x509_certificate((folder / CA_FILE).read_bytes())
    ca_key: Any = serialization.load_pem_private_key(read_secret(folder / CA_KEY_FILE).encode(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = str(names[0])
    made = _certificate(subject, key.public_key(), ca.subject, ca_key, days, names)
    stem = subject.replace(":", "_")
    _write(folder / f"{stem}.key", _private_pem(key))
    _write_public(folder / f"{stem}.pem", _pem(made))
    return folder / f"{stem}.pem", folder / f"{stem}.key"


def _certificate(
    subject: str, public: Any, issuer: Any, signer: Any, days: int, names: Sequence[Any]
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID as Use, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now, is_ca = datetime.datetime.now(datetime.UTC), not names
    until = now + datetime.timedelta(days=days)
    usage = {"digital_signature": True, "key_cert_sign": is_ca, "crl_sign": is_ca, "key_agreement": False}
    usage |= dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment"), False)
    usage |= dict.fromkeys(("encipher_only", "decipher_only"), False)
    made = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer) if isinstance(issuer, str) else issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, until) - EARLIER)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip) for ip in names]), critical=False)
        made = made.add_extension(x509.ExtendedKeyUsage([Use.SERVER_AUTH, Use.CLIENT_AUTH]), critical=False)
    return made.sign(signer, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _private_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made


def _write(path: pathlib.Path, data: bytes) -> None:
    write_secret(path, data.decode("ascii"))


def _write_public(path: pathlib.Path, data: bytes) -> None:
    _write(path, data)
    path.chmod(0o644)
