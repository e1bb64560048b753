"""The one module that knows the names of Redis keys and queues.

``prefix`` tells several instances on one server apart (guide 6.1.1); empty for the first. Everything of an instance in a Redis
begins with ``ft:`` and ``ft-``, or with ``ft-PREFIX:`` and ``ft-PREFIX-``: no prefix can make a name that is another's. Only
the lists of queues that Celery keeps, ``_kombu.binding.QUEUE``, begin otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX_CHARS_MAX = 32
LOG_FOLDER = "logs"
AGENT_QUEUE = "agent"  # the one queue that the peer may write to
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)


def prefix_problem(prefix: str) -> str:
    """What is wrong with a FT_PREFIX, as a sentence with the way out; empty when nothing is."""
    if not prefix:
        return ""
    if len(prefix) > PREFIX_CHARS_MAX:
        return f"must have at most {PREFIX_CHARS_MAX} characters; it has {len(prefix)}"
    if prefix == LOG_FOLDER:
        return "is the folder of the logs in FT_INSTANCE_DIR: choose another name"
    if not _PREFIX.fullmatch(prefix):
        return "must be letters a to z, digits, - and _, the first a letter or a digit, as 'shop-2'; empty for one instance"
    return ""


@dataclass(frozen=True, slots=True)
class Keys:
    """Key and queue names of one instance."""

    prefix: str = ""

    def _name(self, name: str) -> str:
        return f"{self.instance}:{name}"

    @property
    def instance(self) -> str:
        """What every name of this instance begins with; also that of the exchanges for Celery's remote control."""
        return f"ft-{self.prefix}" if self.prefix else "ft"

    @property
    def results(self) -> str:
        """Before the names of Celery's own results."""
        return self._name("")

    @property
    def role(self) -> str:
        """Hash: the node's role record (records.RoleRecord)."""
        return self._name("role")

    @property
    def vote(self) -> str:
        """Hash: this voter's record (spec 5.4)."""
        return self._name("vote")

    @property
    def challenge_prefix(self) -> str:
        return self._name("challenge:")

    @property
    def word_prefix(self) -> str:
        """Strings written by the peer's agent: its signed answer to a demote message."""
        return self._name("word:")

    @property
    def refused(self) -> str:
        """Hash: count of refused messages by cause."""
        return self._name("refused")

    @property
    def announced(self) -> str:
        """Hash: the last role that was signalled to the portal (``ftplugin.signals``)."""
        return self._name("announced")

    @property
    def failure_prefix(self) -> str:
        """Strings: switches whose failure was signalled."""
        return self._name("failure:")

    @property
    def health_claim(self) -> str:
        """Hash: which process of the portal runs the portal's own health checks."""
        return self._name("health-claim")

    def document(self, name: str) -> str:
        """String: one JSON document for portal and page."""
        return self._name(f"doc:{name}")

    def queue(self, name: str) -> str:
        """Celery queue ``tick``, ``switch`` or ``agent`` of this instance."""
        return f"{self.instance}-{name}"

    def client(self, role: str) -> str:
        """How the connections of the worker ``role`` ("tick" or "switch") are named in Redis, whoever it is."""
        return f"{self.instance}-{role}@"
