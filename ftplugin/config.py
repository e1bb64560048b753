"""Every ``FT_*`` key with its default: what belongs to one node and is never replicated.

The portal passes ``app.config``; workers, guard and command line read the TOML file named by ``FT_CONFIG_FILE`` and then the
environment, where lists are JSON. What both nodes share (T, t, N, addresses …) is not here but in the settings.
"""

from __future__ import annotations

import json
import os
import pathlib
import tomllib
from dataclasses import dataclass
from typing import Any, Mapping

from .core.settings import SettingsError, parse_address
from .licence.key import key_of
from .protocol import check_keys

DEFAULTS: dict[str, Any] = {
    "FT_OWN_ADDRESS": "",  # "IP address of this server"; must equal server address #1 or #2
    "FT_PREFIX": "",  # tells several instances on one server apart
    "FT_URL_PREFIX": "/ft",  # where the blueprint is mounted
    "FT_LEGACY_URLS": False,  # also /IPSCFG/admin/monitor.aspx
    "FT_REDIS_URL": "redis://127.0.0.1:2011/0",  # node-local Redis
    "FT_PEER_REDIS_USER": "",
    "FT_PEER_REDIS_PASSWORD": "",
    "FT_WITNESS_PASSWORD": "",
    "FT_DATABASE_URL": "",  # empty: SQLite in the instance folder
    "FT_INSTANCE_DIR": "instance",
    "FT_SECRET_KEYS": [],  # the current key first; two are valid during a rotation
    "FT_SERVICES": [],  # tables: name, kind = "http" | "command" | "systemd" | "supervisord" | "ocf", …
    "FT_WATCHDOG_INTERVAL_S": 5.0,
    "FT_WATCHDOG_RESTARTS_MAX": 3,
    "FT_WATCHDOG_WINDOW_S": 600.0,
    "FT_LOG_DAYS": 30,
    "FT_LICENCE_KEY": "",  # public key of the vendor; empty: no licence is needed
}


STOP_LIMIT_S = 5.0  # of a service whose table does not say


class ConfigError(ValueError):
    """A key of the node's configuration is wrong; the message names it, its value and the way out."""


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """One node's own configuration, checked."""

    own_address: str
    prefix: str
    url_prefix: str
    legacy_urls: bool
    redis_url: str
    peer_redis_user: str
    peer_redis_password: str
    witness_password: str
    database_url: str
    instance_dir: pathlib.Path
    secret_keys: tuple[str, ...]
    services: tuple[Mapping[str, Any], ...]
    watchdog_interval_s: float
    watchdog_restarts_max: int
    watchdog_window_s: float
    log_days: int
    licence_key: str

    @property
    def stop_needed_s(self) -> float:
        """How long the services may take to stop, one after another."""
        return sum(float(table.get("stop_limit_s", STOP_LIMIT_S)) for table in self.services)

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> NodeConfig:
        """From ``app.config`` or the like. Raises ConfigError naming the key."""
        values = {key: mapping.get(key, default) for key, default in DEFAULTS.items()}
        for key, default in DEFAULTS.items():
            values[key] = _checked(key, values[key], default)
        if values["FT_OWN_ADDRESS"]:
            try:
                parse_address("FT_OWN_ADDRESS", values["FT_OWN_ADDRESS"])
            except SettingsError as error:
                raise ConfigError(str(error)) from None
        try:
            check_keys(values["FT_SECRET_KEYS"])
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if values["FT_LICENCE_KEY"]:
            try:
                key_of(values["FT_LICENCE_KEY"])
            except ValueError as error:
                raise ConfigError(f"FT_LICENCE_KEY={values['FT_LICENCE_KEY'][:60]!r}: {error}") from None
        _check_services(values["FT_SERVICES"])
        instance = pathlib.Path(values["FT_INSTANCE_DIR"]).absolute()
        database = values["FT_DATABASE_URL"] or f"sqlite:///{instance / 'ft.sqlite3'}"
        plain = {key.removeprefix("FT_").lower(): value for key, value in values.items()}
        plain |= {"instance_dir": instance, "database_url": database}
        plain |= {name: tuple(plain[name]) for name in ("secret_keys", "services")}
        return cls(**plain)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> NodeConfig:
        """From the TOML file named by FT_CONFIG_FILE, overridden by FT_* in the environment. Raises ConfigError."""
        values: dict[str, Any] = {}
        path = environ.get("FT_CONFIG_FILE", "")
        if path:
            try:
                values.update(tomllib.loads(pathlib.Path(path).read_text()))
            except (OSError, tomllib.TOMLDecodeError) as error:
                raise ConfigError(f"FT_CONFIG_FILE={path}: cannot be read: {error}") from None
        for key, default in DEFAULTS.items():
            if key in environ:
                values[key] = _from_text(key, environ[key], default)
        return cls.of(values)


def _check_services(tables: list[Any]) -> None:
    """What the portal itself reads of them; the rest is checked where the controllers are built."""
    for index, table in enumerate(tables, start=1):
        if not isinstance(table, Mapping):
            raise ConfigError(f"FT_SERVICES[{index}]: must be a table with name and kind (got {table!r})")
        limit_s = table.get("stop_limit_s", STOP_LIMIT_S)
        if isinstance(limit_s, bool) or not isinstance(limit_s, (int, float)):
            raise ConfigError(f"FT_SERVICES[{index}].stop_limit_s: must be a number of seconds (got {limit_s!r})")


def _from_text(key: str, text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    try:
        return json.loads(text.lower() if isinstance(default, bool) else text)
    except ValueError:
        raise ConfigError(f"{key}={text!r}: must be JSON, as {json.dumps(default)}") from None


def _checked(key: str, value: Any, default: Any) -> Any:
    wanted = type(default)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if wanted is str and isinstance(value, pathlib.Path):
        value = str(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise ConfigError(f"{key}={value!r}: must be of type {wanted.__name__}, as {default!r}")
    return value
