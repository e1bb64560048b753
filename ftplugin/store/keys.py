"""The one module that knows the names of Redis keys and queues.

``prefix`` tells several instances on one server apart (guide 6.1.1); empty for the first.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Key and queue names of one instance."""

    prefix: str = ""

    def _name(self, name: str) -> str:
        return f"ft:{self.prefix}:{name}" if self.prefix else f"ft:{name}"

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
    def agent_lock(self) -> str:
        return self._name("agent")

    def document(self, name: str) -> str:
        """String: one JSON document for portal and page."""
        return self._name(f"doc:{name}")

    def queue(self, name: str) -> str:
        """Celery queue ``tick`` or ``switch`` of this instance."""
        return f"ft-{self.prefix}-{name}" if self.prefix else f"ft-{name}"
