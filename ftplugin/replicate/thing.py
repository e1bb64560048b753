"""What is replicated: a model's rows or a folder's files, as scan and pull see them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection

LOCK_FILE = "replicate.lock"  # in the instance folder; who holds it replicates
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,79}", re.ASCII)


class ReplicationError(RuntimeError):
    """A thing cannot be replicated now; the message says why and what to do."""


class Found(NamedTuple):
    """One key as it is on this node now. digest: of its content. extra: kept in the ledger. at_wall_s: of its last change, where
    the content itself tells; None: the moment of the scan."""

    key: str
    digest: str
    extra: Any = None
    at_wall_s: float | None = None


class Wanted(NamedTuple):
    """One key to be taken from the other node. own: the text of its entry here, "" for none. then: that it will have.
    digest: of the content it will have, "" when deleted. conflict: the own content is to be kept aside."""

    key: str
    own: str
    then: str
    digest: str
    conflict: bool
    bucket: int

    @property
    def own_digest(self) -> str:
        """Of what is known here, "" for nothing."""
        return self.own.partition(" ")[0]


class Outcome(NamedTuple):
    """Of taking some keys: those done; those that changed meanwhile and are looked at again; problems, as sentences."""

    done: list[str]
    later: list[str]
    problems: list[str]


Keep = Callable[[Sequence[tuple[Wanted, Mapping[str, Any]]]], None]  # is told what gave way, with facts of it
KeepRows = Callable[[Sequence[tuple[Wanted, Mapping[str, Any]]], Connection], None]  # in whose transaction they do


class Known(NamedTuple):
    """The ledger of a thing: the text of each entry, and its extra, by key."""

    entries: dict[str, str]
    extras: dict[str, Any]


class Thing(Protocol):
    """A model or a folder. ``kind``: "rows" or "files"."""

    name: str
    kind: str

    def shape(self) -> Any:
        """What must be equal on both nodes for this to be replicated, as JSON: the columns of a model."""

    def found(self, known: Known) -> Iterator[Found]:
        """Everything there is, in any order. Raises ReplicationError when it cannot be read."""

    def looked(self) -> None:
        """The ledger now holds exactly what ``found`` gave."""

    def close(self) -> None:
        """Nobody looks any more: let go of what is kept open."""

    def unseen(self, key: str) -> bool:
        """Whether the last look could not tell if this key is there: then it is no deletion."""

    def problems(self) -> list[str]:
        """What the last look left out, as sentences."""


def check_name(name: str) -> str:
    """Raises ValueError."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"name {name!r}: must be 1 to 80 letters a to z, digits, and _ . / -, the first a letter or digit"
        )
    return name
