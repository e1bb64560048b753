"""The one open code of a server, in a file of mode 0600 that all processes of its portal share.

The code itself is not kept, only what scrypt makes of it. The session ends after ten minutes, after five wrong proofs,
when it has been used, or when 'ft pair' is ended. CLOCK_BOOTTIME with the boot id counts the time: a clock that is set
opens nothing again.
"""

from __future__ import annotations

import json
import pathlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..clock import SystemClock
from . import exchange
from .exchange import PairingError
from .files import SecretFileError, only_one, read_secret, write_secret

OPEN_S = 600.0
WRONG_MAX = 5
FILE = "pairing.json"
WAITING, ANSWERED, DONE, CLOSED = "waiting", "answered", "done", "closed"


class Closed(PairingError):
    """No code is open here, or no more tries are taken."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """One open code. secret: K of the exchange, base64. state: waiting, answered (keys handed over, not confirmed),
    done, closed. result: what became of it, for the one who waits."""

    session: str
    salt: str
    secret: str
    private: str
    boot_id: str
    ends_s: float
    state: str = WAITING
    wrong: int = 0
    join: str = ""  # the message that was answered, JSON; the same one gets the same answer again
    answer: str = ""
    pending: str = ""  # what counts here once the other side has confirmed; JSON
    confirmed: str = (
        ""  # the confirmation that was taken and its answer, JSON: when the answer is lost, it is asked again
    )
    result: str = ""

    @property
    def public(self) -> bytes:
        return exchange.public_of(exchange.decode(self.private))

    def left_s(self, clock: SystemClock) -> float:
        """Seconds until the code is void."""
        return max(0.0, self.ends_s - clock.now_s()) if self.boot_id == clock.boot_id else 0.0


class Sessions:
    """Of one node. ``folder``: its instance folder. Each raises SecretFileError or OSError when the file fails."""

    def __init__(self, folder: pathlib.Path, clock: SystemClock) -> None:
        self.path, self.clock = folder / FILE, clock

    def open(self, open_s: float = OPEN_S) -> tuple[str, Session]:
        """(the code to be typed, its session). A code that was open is void from now on."""
        code, salt = exchange.new_code(), secrets.token_bytes(16)
        session = Session(
            session=secrets.token_urlsafe(9),
            salt=exchange.encode(salt),
            secret=exchange.encode(exchange.stretched(exchange.read_code(code), salt)),
            private=exchange.encode(exchange.new_private()),
            boot_id=self.clock.boot_id,
            ends_s=self.clock.now_s() + open_s,
        )
        with only_one(self.path):
            self._write(session)
        return code, session

    def read(self) -> Session | None:
        """The last session, whatever its state; None when there was none."""
        try:
            return Session(**json.loads(read_secret(self.path)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            if isinstance(error, SecretFileError):
                raise
            raise SecretFileError(f"{self.path}: cannot be read; remove it and run 'ft pair' again") from None

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """The open session, for one message; ``Change.session`` is kept at the end. Raises Closed when none is open."""
        if not self.path.exists():
            raise Closed("no code is open here; run 'ft pair' on this server")
        with only_one(self.path):
            found = self.read()
            if found is None or found.state in (DONE, CLOSED) or found.left_s(self.clock) <= 0:
                raise Closed("no code is open here, or its ten minutes are over; run 'ft pair' on this server")
            change = Change(found)
            try:
                yield change
            finally:
                if change.session != found:
                    self._write(change.session)

    def close(self, session: str, why: str) -> None:
        """End this session, if it is still the open one."""
        with only_one(self.path):
            found = self.read()
            if found is not None and found.session == session and found.state in (WAITING, ANSWERED):
                self._write(ended(found, CLOSED, why))

    def _write(self, session: Session) -> None:
        write_secret(self.path, json.dumps(asdict(session)) + "\n")


@dataclass
class Change:
    """A session that is being changed."""

    session: Session

    def set(self, **values: Any) -> None:
        self.session = replace(self.session, **values)

    def count_wrong(self, whence: str) -> int:
        """A proof was wrong; how many tries are left. The last one closes the session."""
        left = WRONG_MAX - self.session.wrong - 1
        self.set(wrong=self.session.wrong + 1)
        if left <= 0:
            self.session = ended(self.session, CLOSED, f"{WRONG_MAX} wrong codes, the last from {whence}")
        return left

    def end(self, state: str, result: str) -> None:
        self.session = ended(self.session, state, result)


def ended(session: Session, state: str, result: str) -> Session:
    """Without its secrets: nothing that a later reader of the file could use."""
    return replace(session, state=state, result=result, secret="", private="", answer="", pending="", join="")
