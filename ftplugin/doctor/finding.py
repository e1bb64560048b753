"""One finding of the doctor, and what every check works with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ftplugin.core.settings import Address, Settings, parse_address
from ftplugin.core.terms import Designation
from ftplugin.core.timing import Timing
from ftplugin.store.runtime import Snapshot

from .portal_http import Heard

if TYPE_CHECKING:
    from ftplugin.config import NodeConfig
    from ftplugin.extension import Portal

SECRET_CHARS_MIN = 3  # a shorter one would blank out half of every sentence


class Status(StrEnum):
    """Worst first: the order in which findings of one subject are shown."""

    WRONG = "wrong"
    WARNING = "warning"
    UNKNOWN = "unknown"
    OK = "ok"


class Subject(StrEnum):
    """The groups of the table, in the order shown."""

    SERVER = "this server"
    REDIS = "Redis of this server"
    PEER = "the other server"
    CHANNEL = "agent channel"
    CLOCKS = "clocks"
    LAN = "LAN"
    BALANCER = "balancer"
    SERVICES = "services"
    SETTINGS = "settings"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """``id`` is stable, for programs. ``found``: one sentence with the value. ``todo``: one sentence, empty when ok."""

    id: str
    subject: Subject
    status: Status
    found: str
    todo: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Makes the findings of one check: id and subject are given once."""

    id: str
    subject: Subject

    def ok(self, found: str) -> Finding:
        return Finding(id=self.id, subject=self.subject, status=Status.OK, found=found)

    def warning(self, found: str, todo: str) -> Finding:
        return Finding(id=self.id, subject=self.subject, status=Status.WARNING, found=found, todo=todo)

    def wrong(self, found: str, todo: str) -> Finding:
        return Finding(id=self.id, subject=self.subject, status=Status.WRONG, found=found, todo=todo)

    def unknown(self, found: str, todo: str) -> Finding:
        return Finding(id=self.id, subject=self.subject, status=Status.UNKNOWN, found=found, todo=todo)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the doctor looks: this node's portal, the settings in force, its name, and the limit of one question.

    settings_error: why the settings cannot be read; then ``settings`` are the defaults, or the last ones known.
    """

    portal: Portal
    revision: int
    settings: Settings
    designation: Designation | None
    limit_s: float
    settings_error: str = ""

    @property
    def timing(self) -> Timing:
        return Timing.of(self.settings)

    @property
    def me(self) -> Designation:
        """Only for checks that are run once the designation is known."""
        assert self.designation is not None, "run.py leaves the checks of the pair out while it is not known"
        return self.designation

    def address_of(self, designation: Designation) -> Address:
        return parse_address(f"{designation}_address", self.settings.address_of(designation))

    def path(self, name: str) -> str:
        """Of a page of the plugin: ``/ft/monitor`` for "monitor"."""
        prefix = self.portal.config.url_prefix.strip("/")
        return f"/{prefix}/{name}" if prefix else f"/{name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What several checks need, asked once. A missing answer says why in its ``problem``."""

    peer: Heard = field(default_factory=Heard)
    own: Heard = field(default_factory=Heard)
    vip: tuple[Heard, ...] = ()
    snapshot: Snapshot = field(default_factory=Snapshot)

    def document(self, name: str) -> dict[str, Any]:
        """One of this node's published documents; empty when there is none."""
        return self.snapshot.documents.get(name) or {}


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """By subject, then worst first; checks keep their order."""
    subjects, statuses = list(Subject), list(Status)
    return sorted(findings, key=lambda f: (subjects.index(f.subject), statuses.index(f.status)))


def without_secrets(findings: Iterable[Finding], config: NodeConfig) -> list[Finding]:
    """The last gate before the screen: no key, password or token, whatever the text of an error holds."""
    secrets = sorted(set(_secrets(config)), key=len, reverse=True)

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())

    return [replace(f, found=clean(f.found), todo=clean(f.todo)) for f in findings]


def _secrets(config: NodeConfig) -> Iterator[str]:
    plain = [*config.secret_keys, config.peer_redis_password, config.witness_password]
    plain += [str(table.get(name, "")) for table in (*config.services, config.portal) for name in ("token", "password")]
    for url in (config.redis_url, config.database_url):
        password = urlsplit(url).password or ""
        plain += [password, unquote(password)]
    return (secret for secret in plain if len(secret) >= SECRET_CHARS_MIN)
