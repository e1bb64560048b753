"""``ft tls make-ca`` and ``ft tls issue``: certificates for a pair that has no CA to ask."""

from __future__ import annotations

import pathlib

import click

from .common import REFUSED, UNREACHABLE, fail, json_option, say
from ..pairing import certificates
from ..pairing.exchange import PairingError, crypto
from ..pairing.files import SecretFileError

_folder = click.Path(file_okay=False, path_type=pathlib.Path)


@click.group(name="tls")
def tls() -> None:
    """A CA of the pair's own, and certificates of it."""


@tls.command(name="make-ca")
@click.argument("folder", type=_folder)
@json_option
def make_ca(folder: pathlib.Path, as_json: bool) -> None:
    """Make ca.pem and ca.key in FOLDER. Copy ca.pem to both servers (FT_TLS_CA); keep ca.key away from them."""
    try:
        crypto()
        made = certificates.make_ca(folder)
    except (PairingError, SecretFileError) as error:
        fail(REFUSED, str(error))
    except OSError as error:
        fail(UNREACHABLE, f"nothing was made: {error}")
    say({"ca": str(made)}, as_json, [f"{made}: copy it to both servers and set FT_TLS_CA. Keep {folder}/ca.key safe."])


@tls.command(name="issue")
@click.argument("folder", type=_folder)
@click.argument("addresses", nargs=-1, required=True)
@click.option("--days", type=click.IntRange(1, 3650), default=certificates.DAYS, show_default=True)
@json_option
def issue(folder: pathlib.Path, addresses: tuple[str, ...], days: int, as_json: bool) -> None:
    """A certificate and its key for a server with these IP ADDRESSES, by the CA in FOLDER. Name the VIP too if its TLS
    ends there."""
    try:
        crypto()
        certificate, key = certificates.issue(folder, addresses, days)
    except (PairingError, SecretFileError) as error:
        fail(REFUSED, str(error))
    except OSError as error:
        fail(UNREACHABLE, f"nothing was made: {error}")
    say(
        {"certificate": str(certificate), "key": str(key)},
        as_json,
        [f"{certificate} (FT_TLS_CERT)", f"{key} (FT_TLS_KEY)"],
    )
