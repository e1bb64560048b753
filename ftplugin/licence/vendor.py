"""``ft-vendor``: the vendor's tool. It makes a key pair, signs licences and shows them; it needs no portal.

Exit codes: 0 done; 1 refused (the message says why); 2 wrong usage.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import secrets
from typing import Any, NoReturn

import click

from .check import verified
from .document import element_of, file_of, licence_of, message_of, read
from .key import key_id, key_of, key_text
from .problems import LicenceRefused

REFUSED = 1
KEY_FILE = "ft-vendor.key"
DAY = click.DateTime(formats=["%Y-%m-%d"])


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    raise SystemExit(REFUSED)


@click.group(help="Makes and signs licences of the hot standby module.")
def group() -> None:
    """The command group."""


key_option = click.option(
    "--key", "key_file", type=click.Path(path_type=pathlib.Path), default=KEY_FILE, show_default=True,
    help="File of the private key.",
)  # fmt: skip


@group.command()
@key_option
def keygen(key_file: pathlib.Path) -> None:
    """Make a key pair: the private key into a file (mode 600), the public one, for FT_LICENCE_KEY, on the screen."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
    except FileExistsError:
        _fail(f"{key_file} is there already; a key is never overwritten. Name another file with --key.")
    except OSError as error:
        _fail(f"{key_file}: {error.strerror or error}")
    click.echo(f"FT_LICENCE_KEY={key_text(_public(key))}")
    click.echo(f"The private key is in {key_file}: keep it secret, and keep a copy.", err=True)


@group.command()
@key_option
@click.option("--holder", required=True, help="Who the licence is for.")
@click.option("--node", required=True, metavar="ADDRESS", help="IP address of the server: the host of FT_OWN_ADDRESS.")
@click.option("--expires", required=True, type=DAY, metavar="YYYY-MM-DD", help="Last day it is valid.")
@click.option("--starts", type=DAY, metavar="YYYY-MM-DD", help="First day; today without it.")
@click.option("--out", type=click.File("wb"), default="-", help="File to write; standard output without it.")
def sign(
    key_file: pathlib.Path,
    holder: str,
    node: str,
    expires: datetime.datetime,
    starts: datetime.datetime | None,
    out: Any,
) -> None:
    """Sign a licence for one server."""
    first = starts.date() if starts else datetime.date.today()
    if first > expires.date():
        _fail(f"--expires {expires.date()} is before the first day, {first}")
    key = _private_key(key_file)
    values = {"serial": secrets.token_hex(8), "vendor": key_id(_public(key)), "holder": holder.strip(), "node": node}
    try:
        licence = licence_of(values | {"starts": str(first), "expires": str(expires.date())})
        if not licence.holder:
            raise LicenceRefused("missing element", name="holder")
    except LicenceRefused as refused:
        _fail(str(refused))
    out.write(file_of(licence, key.sign(message_of(element_of(licence)))))


@group.command()
@click.argument("file", type=click.File("rb"))
@click.option("--public", default="", help="FT_LICENCE_KEY: check the signature too.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def show(file: Any, public: str, as_json: bool) -> None:
    """What a licence says; with --public also whether its signature is right."""
    raw = file.read()
    try:
        licence = read(raw).licence
        if public:
            verified(raw, key_of(public), licence.node)
    except (LicenceRefused, ValueError) as refused:
        _fail(str(refused))
    values = licence.to_json() | {"signature": "right" if public else "not checked: give --public"}
    click.echo(json.dumps(values) if as_json else "\n".join(f"{name}: {text}" for name, text in values.items()))


def _private_key(path: pathlib.Path) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        _fail(f"{path}: {error.strerror or error}. Make a key with 'ft-vendor keygen', or name it with --key.")
    except (ValueError, TypeError) as error:
        _fail(f"{path} holds no private key of 'ft-vendor keygen': {error}")
    if not isinstance(key, Ed25519PrivateKey):
        _fail(f"{path} holds no Ed25519 key")
    return key


def _public(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def main() -> None:
    """Entry point of the console script ``ft-vendor``."""
    try:
        import cryptography  # noqa: F401
        import defusedxml  # noqa: F401
    except ImportError as error:
        _fail(f"ft-vendor needs the package '{error.name}': pip install 'ftplugin[licence]'")
    group(prog_name="ft-vendor")


if __name__ == "__main__":
    main()
