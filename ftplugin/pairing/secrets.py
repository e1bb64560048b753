"""What of a node's configuration is secret, and where each part comes from: the environment or a file of mode 0600."""

from __future__ import annotations

import ipaddress
import logging
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..protocol import check_keys
from .files import SecretFileError
from .keyring import KeyRing, Watched

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
KEYS_FILE, PEER_PASSWORD_FILE, REDIS_USERS_FILE = "secret.keys", "peer-redis.password", "redis-users.conf"
PEER_USER = "peer"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Password:
    """One password: given in the configuration, or the only line of a file that may be written later."""

    given: str
    file: Watched[str] | None

    def __call__(self) -> str:
        """The password now; "" when there is none."""
        return self.given or (self.file.current() if self.file else "")

    def __repr__(self) -> str:
        return "Password(***)"


@dataclass(frozen=True, kw_only=True)
class NodeSecrets:
    """keys: of the pair, the signing one first. keys_file: None when FT_SECRET_KEYS holds them and nobody can change
    them. given_user: FT_PEER_REDIS_USER. own_user: whom the other server logs in as here; the same name there. folder:
    where 'ft pair' writes."""

    keys: Sequence[str]
    keys_file: pathlib.Path | None
    given_user: str
    own_user: str
    peer_password: Password
    peer_password_file: pathlib.Path
    witness_password: Password
    folder: pathlib.Path

    def __repr__(self) -> str:
        return f"NodeSecrets({len(self.keys)} keys)"

    @property
    def peer_user(self) -> str:
        """FT_PEER_REDIS_USER, or the usual name when only a password is there."""
        return self.given_user or (self.own_user if self.peer_password.file and self.peer_password() else "")

    @property
    def redis_users_file(self) -> pathlib.Path:
        """Users of this server's own Redis, for ``include`` in its configuration."""
        return self.folder / REDIS_USERS_FILE

    @classmethod
    def of(cls, values: Mapping[str, Any], instance: pathlib.Path, *, unpaired: bool = False) -> NodeSecrets:
        """From checked FT_* values. Raises ValueError naming the key, never a secret."""
        keys, keys_file = _keys(values, instance, unpaired)
        password_file = _path(values["FT_PEER_REDIS_PASSWORD_FILE"], instance / PEER_PASSWORD_FILE)
        prefix = values["FT_PREFIX"]
        return cls(
            keys=keys,
            keys_file=keys_file,
            given_user=values["FT_PEER_REDIS_USER"],
            own_user=values["FT_PEER_REDIS_USER"] or (f"{PEER_USER}-{prefix}" if prefix else PEER_USER),
            peer_password=_password(values, "FT_PEER_REDIS_PASSWORD", password_file),
            peer_password_file=password_file,
            witness_password=_password(values, "FT_WITNESS_PASSWORD", _path(values["FT_WITNESS_PASSWORD_FILE"], None)),
            folder=instance,
        )


def _path(text: str, otherwise: pathlib.Path | None) -> Any:
    return pathlib.Path(text).absolute() if text else otherwise


def _keys(
    values: Mapping[str, Any], instance: pathlib.Path, unpaired: bool
) -> tuple[Sequence[str], pathlib.Path | None]:
    given, named = values["FT_SECRET_KEYS"], values["FT_SECRET_KEYS_FILE"]
    if given and named:
        raise ValueError(f"FT_SECRET_KEYS_FILE={named}: FT_SECRET_KEYS is set too; keep one of the two")
    if given:
        check_keys(given)
        if not named and (instance / KEYS_FILE).exists():
            _log.warning(
                "FT_SECRET_KEYS is set, so %s is not used by this process; all programs of a server must use the same "
                "of the two, or a rotation leaves some of them behind: take one away",
                instance / KEYS_FILE,
            )
        return tuple(given), None
    path = _path(named, instance / KEYS_FILE)
    try:
        ring = KeyRing(path)
    except SecretFileError as error:
        raise ValueError(f"FT_SECRET_KEYS_FILE: {error}") from None
    if not ring and not unpaired:
        raise ValueError(f"FT_SECRET_KEYS is empty and {path} is not there: run 'ft pair', see docs/install.md")
    return ring, path


def _password(values: Mapping[str, Any], name: str, path: pathlib.Path | None) -> Password:
    given = values[name]
    if given and values[f"{name}_FILE"]:
        raise ValueError(f"{name}_FILE={values[f'{name}_FILE']}: {name} is set too; keep one of the two")
    if given or path is None:
        return Password(given=given, file=None)
    try:
        if values[f"{name}_FILE"] and not path.exists():
            raise SecretFileError(f"{path}: is not there; write the password into it, mode 600")
        return Password(given="", file=Watched(path, lambda text: _password_in(text, path), ""))
    except SecretFileError as error:
        raise ValueError(f"{name}_FILE: {error}") from None


def _password_in(text: str, path: pathlib.Path) -> str:
    """Raises SecretFileError: a process that runs keeps what it has, where a file was emptied by mistake."""
    lines = text.split()
    if len(lines) != 1:
        raise SecretFileError(f"{path}: must hold one password in one line, without spaces; or remove the file")
    return lines[0]


def networks_of(texts: Sequence[Any], key: str = "FT_MONITOR_ALLOW") -> tuple[Network, ...]:
    """The entries of ``key`` as networks. Raises ValueError naming the entry."""
    found = []
    for index, text in enumerate(texts, start=1):
        try:
            found.append(ipaddress.ip_network(str(text), strict=False))
        except ValueError:
            raise ValueError(
                f"{key}[{index}]: must be an IP address or network, as 10.0.0.0/24 (got {str(text)[:60]!r})"
            ) from None
    return tuple(found)
