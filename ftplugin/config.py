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
from typing import Any, Mapping, Sequence

from .alerts.targets import Target, targets_of
from .core.settings import SettingsError, parse_address
from .core.start import expected_start_s
from .health.checks import TIMEOUT_S_DEFAULT
from .health.tables import HealthTable, HealthTableError, read_tables, service_timeout_s
from .licence.key import key_of
from .pairing.secrets import Network, NodeSecrets, networks_of
from .store.keys import prefix_problem
from .structured import log_json_problem
from .tls import TlsFiles

DEFAULTS: dict[str, Any] = {
    "FT_OWN_ADDRESS": "",  # "IP address of this server"; must equal server address #1 or #2
    "FT_PREFIX": "",  # tells several instances on one server apart
    "FT_URL_PREFIX": "/ft",  # where the blueprint is mounted
    "FT_LEGACY_URLS": False,  # also /IPSCFG/admin/monitor.aspx
    "FT_REDIS_URL": "redis://127.0.0.1:2011/0",  # node-local Redis
    "FT_PEER_REDIS_USER": "",
    "FT_PEER_REDIS_PASSWORD": "",
    "FT_PEER_REDIS_PASSWORD_FILE": "",  # empty: peer-redis.password in the instance folder, which 'ft pair' writes
    "FT_WITNESS_USER": "",
    "FT_WITNESS_PASSWORD": "",
    "FT_WITNESS_PASSWORD_FILE": "",
    "FT_DATABASE_URL": "",  # empty: SQLite in the instance folder
    "FT_INSTANCE_DIR": "instance",  # with FT_PREFIX the instance has a folder of that name in it
    "FT_SECRET_KEYS": [],  # the current key first; two are valid during a rotation
    "FT_SECRET_KEYS_FILE": "",  # empty: secret.keys in the instance folder, where FT_SECRET_KEYS is empty
    "FT_TLS_CA": "",  # PEM file; empty: the system's trust
    "FT_TLS_CERT": "",  # PEM files, shown where the other end asks for a certificate
    "FT_TLS_KEY": "",
    "FT_AGENT_TLS": False,  # agent channel and votes over TLS: the other server's Redis is rediss://
    "FT_WITNESS_TLS": False,
    "FT_MONITOR_ALLOW": [],  # networks that may ask the monitor, as "10.0.0.0/24"; empty: everybody
    "FT_METRICS_ALLOW": [],  # networks that may read /metrics, as "10.0.0.7"; empty: there is no such page
    "FT_SERVICES": [],  # tables: name, kind = "http" | "command" | "systemd" | "supervisord" | "ocf", …
    "FT_HEALTH": [],  # tables: name, kind = "axl" | "tcp" | "http" | "disk" | "database" | "command", …
    "FT_PORTAL": {},  # table: kind = "command" | "systemd" | "supervisord", …; empty: the portal is not restarted
    "FT_WATCHDOG_INTERVAL_S": 5.0,
    "FT_WATCHDOG_RESTARTS_MAX": 3,
    "FT_WATCHDOG_WINDOW_S": 600.0,
    "FT_WATCHDOG_SILENT_S": 60.0,  # a service that has not answered for so long is stopped and started again
    "FT_FENCE_COMMAND": [],  # program and arguments that power the other server off; empty: none
    "FT_FENCE_LIMIT_S": 20.0,
    "FT_LOG_DAYS": 30,
    "FT_LOG_JSON": "",  # the log as JSON lines too: a path, "-" for standard error, or "journal"; empty: no
    "FT_ALERT_URLS": [],  # of Apprise: mail, chat, webhook; each is a secret as a whole
    "FT_SNMP_TARGETS": [],  # "snmp://COMMUNITY@HOST", "snmpv3://USER@HOST?auth=sha256&auth_key=…"
    "FT_ALERT_REPEAT_S": 3600.0,  # what lasts is told again after so long; 0: never
    "FT_LICENCE_KEY": "",  # public key of the vendor; empty: no licence is needed
}


_GATHERED = {  # in ``secrets`` and ``tls``
    "peer_redis_user",
    "peer_redis_password",
    "peer_redis_password_file",
    "witness_password",
    "witness_password_file",
    "secret_keys",
    "secret_keys_file",
    "tls_ca",
    "tls_cert",
    "tls_key",
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
    database_url: str
    instance_dir: pathlib.Path
    secrets: NodeSecrets
    tls: TlsFiles
    witness_user: str
    agent_tls: bool
    witness_tls: bool
    monitor_allow: tuple[Network, ...]
    metrics_allow: tuple[Network, ...]
    services: tuple[Mapping[str, Any], ...]
    health: tuple[HealthTable, ...]
    portal: Mapping[str, Any]
    watchdog_interval_s: float
    watchdog_restarts_max: int
    watchdog_window_s: float
    watchdog_silent_s: float
    fence_command: tuple[str, ...]
    fence_limit_s: float
    log_days: int
    log_json: str
    alert_urls: tuple[str, ...]
    snmp_targets: tuple[str, ...]
    alert_repeat_s: float
    licence_key: str

    @property
    def stop_needed_s(self) -> float:
        """How long the services may take to stop, one after another."""
        return sum(float(table.get("stop_limit_s", STOP_LIMIT_S)) for table in self.services)

    @property
    def own_hosts(self) -> frozenset[str]:
        """Addresses from which this server itself asks its portal."""
        own = {parse_address("FT_OWN_ADDRESS", self.own_address).host} if self.own_address else set()
        return frozenset({"127.0.0.1", "::1", *own})

    @property
    def alert_targets(self) -> tuple[Target, ...]:
        """Where alerts go; empty: nowhere."""
        return targets_of(self.alert_urls, self.snmp_targets)

    @property
    def slowest_check_s(self) -> float:
        """Limit of the slowest health check of this node, the agent's own among them."""
        of_services = (service_timeout_s(float(table.get("status_limit_s", 0.0))) for table in self.services)
        return max([TIMEOUT_S_DEFAULT, *(table.timeout_s for table in self.health), *of_services])

    @property
    def secret_keys(self) -> Sequence[str]:
        """The keys of the pair as they are now: hold this, not a copy, and a rotation needs no restart."""
        return self.secrets.keys

    @property
    def peer_redis_user(self) -> str:
        """How this server logs in at the other one's Redis."""
        return self.secrets.peer_user

    @property
    def peer_redis_password(self) -> str:
        return self.secrets.peer_password()

    @property
    def witness_password(self) -> str:
        return self.secrets.witness_password()

    def value(self, key: str) -> Any:
        """What counts for one key of DEFAULTS, as it would be written in the configuration."""
        kept, files = self.secrets, self.tls
        gathered: dict[str, Any] = {
            "FT_SECRET_KEYS_FILE": kept.keys_file or "",
            "FT_PEER_REDIS_PASSWORD_FILE": "" if kept.peer_password.given else kept.peer_password_file,
            "FT_WITNESS_PASSWORD_FILE": kept.witness_password.file.path if kept.witness_password.file else "",
            "FT_TLS_CA": files.ca,
            "FT_TLS_CERT": files.cert,
            "FT_TLS_KEY": files.key,
        }
        return gathered[key] if key in gathered else getattr(self, key.removeprefix("FT_").lower())

    def peer_login(self) -> dict[str, Any]:
        """redis-py's options of the login at the other server's Redis, as they are now."""
        return {"username": self.peer_redis_user or None, "password": self.peer_redis_password or None}

    def witness_login(self) -> dict[str, Any]:
        """The same for the witness."""
        return {"username": self.witness_user or None, "password": self.witness_password or None}

    @classmethod
    def of(cls, mapping: Mapping[str, Any], *, unpaired: bool = False) -> NodeConfig:
        """From ``app.config`` or the like. Raises ConfigError naming the key.

        unpaired: a server without any key is taken too; its portal must run for 'ft pair'.
        """
        values = {key: mapping.get(key, default) for key, default in DEFAULTS.items()}
        for key, default in DEFAULTS.items():
            values[key] = _checked(key, values[key], default)
        if values["FT_OWN_ADDRESS"]:
            try:
                parse_address("FT_OWN_ADDRESS", values["FT_OWN_ADDRESS"])
            except SettingsError as error:
                raise ConfigError(str(error)) from None
        if values["FT_LICENCE_KEY"]:
            try:
                key_of(values["FT_LICENCE_KEY"])
            except ValueError as error:
                raise ConfigError(f"FT_LICENCE_KEY={values['FT_LICENCE_KEY'][:60]!r}: {error}") from None
        if problem := log_json_problem(values["FT_LOG_JSON"]):
            raise ConfigError(f"FT_LOG_JSON={values['FT_LOG_JSON'][:80]!r}: {problem}")
        _check_services(values["FT_SERVICES"])
        _check_watchdog(values)
        _check_alerts(values)
        try:
            values["FT_HEALTH"] = read_tables(values["FT_HEALTH"])
        except HealthTableError as error:
            raise ConfigError(str(error)) from None
        if problem := prefix_problem(values["FT_PREFIX"]):
            raise ConfigError(f"FT_PREFIX={values['FT_PREFIX'][:80]!r}: {problem}")
        instance = pathlib.Path(values["FT_INSTANCE_DIR"]).absolute() / values["FT_PREFIX"]
        database = values["FT_DATABASE_URL"] or f"sqlite:///{instance / 'ft.sqlite3'}"
        plain = {key.removeprefix("FT_").lower(): value for key, value in values.items()}
        plain |= {"instance_dir": instance, "database_url": database}
        plain["services"] = tuple(plain["services"])
        plain["fence_command"] = tuple(plain["fence_command"])
        plain["alert_urls"], plain["snmp_targets"] = tuple(plain["alert_urls"]), tuple(plain["snmp_targets"])
        try:
            plain["secrets"] = NodeSecrets.of(values, instance, unpaired=unpaired)
            plain["monitor_allow"] = networks_of(values["FT_MONITOR_ALLOW"])
            plain["metrics_allow"] = networks_of(values["FT_METRICS_ALLOW"], "FT_METRICS_ALLOW")
        except ValueError as error:
            raise ConfigError(str(error)) from None
        plain["tls"] = TlsFiles(ca=values["FT_TLS_CA"], cert=values["FT_TLS_CERT"], key=values["FT_TLS_KEY"])
        if problem := plain["tls"].problem():
            raise ConfigError(problem)
        plain["redis_url"] = plain["tls"].in_url(plain["redis_url"])
        return cls(**{name: value for name, value in plain.items() if name not in _GATHERED})

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, *, unpaired: bool = False) -> NodeConfig:
        """From the TOML file named by FT_CONFIG_FILE, overridden by FT_* in the environment. unpaired: as ``of``.

        Raises ConfigError.
        """
        values: dict[str, Any] = {}
        path = environ.get("FT_CONFIG_FILE", "")
        if path:
            try:
                values.update(tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8")))  # TOML is nothing else
            except (OSError, ValueError) as error:
                raise ConfigError(f"FT_CONFIG_FILE={path}: cannot be read: {error}") from None
        for key, default in DEFAULTS.items():
            if key in environ:
                values[key] = _from_text(key, environ[key], default)
        return cls.of(values, unpaired=unpaired)


def _check_watchdog(values: Mapping[str, Any]) -> None:
    """Watchdog and fence command."""
    for key in ("INTERVAL_S", "WINDOW_S", "SILENT_S"):
        key = f"FT_WATCHDOG_{key}"
        if not 0.05 <= values[key] <= 86_400:
            raise ConfigError(f"{key}={values[key]!r}: must be 0.05 to 86400 s, as {DEFAULTS[key]!r}")
    if not 1 <= values["FT_WATCHDOG_RESTARTS_MAX"] <= 10_000:
        raise ConfigError(f"FT_WATCHDOG_RESTARTS_MAX={values['FT_WATCHDOG_RESTARTS_MAX']!r}: must be 1 to 10000")
    command, limit_s = values["FT_FENCE_COMMAND"], values["FT_FENCE_LIMIT_S"]
    if not all(isinstance(word, str) and "\0" not in word for word in command) or (command and not command[0].strip()):
        example = '["/usr/local/sbin/power-off-peer", "--wait"]'
        raise ConfigError(f"FT_FENCE_COMMAND={command!r}: must be a list of program and arguments, as {example}")
    if not 0.1 <= limit_s <= 600:
        raise ConfigError(f"FT_FENCE_LIMIT_S={limit_s!r}: must be 0.1 to 600 s, as {DEFAULTS['FT_FENCE_LIMIT_S']!r}")


def _check_alerts(values: Mapping[str, Any]) -> None:
    try:
        targets_of(values["FT_ALERT_URLS"], values["FT_SNMP_TARGETS"])
    except ValueError as error:
        raise ConfigError(str(error)) from None
    repeat_s = values["FT_ALERT_REPEAT_S"]
    if repeat_s != 0 and not 60 <= repeat_s <= 604_800:
        raise ConfigError(f"FT_ALERT_REPEAT_S={repeat_s!r}: must be 60 to 604800 s, or 0 for never")


def _check_services(tables: list[Any]) -> None:
    """What the portal itself reads of them; the rest is checked where the controllers are built."""
    for index, table in enumerate(tables, start=1):
        if not isinstance(table, Mapping):
            raise ConfigError(f"FT_SERVICES[{index}]: must be a table with name and kind (got {table!r})")
        for key in ("stop_limit_s", "status_limit_s"):
            limit_s = table.get(key, STOP_LIMIT_S)
            if isinstance(limit_s, bool) or not isinstance(limit_s, (int, float)):
                raise ConfigError(f"FT_SERVICES[{index}].{key}: must be a number of seconds (got {limit_s!r})")
        try:
            expected_start_s(table)
        except ValueError as error:
            raise ConfigError(f"FT_SERVICES[{index}].{error}") from None


def _from_text(key: str, text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    try:
        return json.loads(text.lower() if isinstance(default, bool) else text)
    except ValueError:
        shown = "…" if isinstance(default, (list, dict)) else repr(text)  # it may hold a key or a password
        raise ConfigError(f"{key}={shown}: must be JSON, as {json.dumps(default)}") from None


def _checked(key: str, value: Any, default: Any) -> Any:
    wanted = type(default)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if wanted is str and isinstance(value, pathlib.Path):
        value = str(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        secret = isinstance(default, (list, dict))  # it may hold a key or a password
        shown = f"a {type(value).__name__}" if secret else repr(value)
        raise ConfigError(f"{key}={shown}: must be of type {wanted.__name__}, as {default!r}")
    return value
