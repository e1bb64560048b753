"""The thread of the portal that replicates: looks for edits here, says so in the heartbeat, takes what is newer there.

It lives in the portal because the models and their engine do; in one process of it, which holds a lock on a file, so that the
kernel gives it to another one when that process ends. Never in a request, never in the agent: a switch waits for nothing
here. Its thread runs at a lower priority. While both servers hold the same it asks the other one nothing: one digest in each
heartbeat says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from ftplugin.core.timing import Timing
from ftplugin.state import CONTENT, agent_age_s
from ftplugin.store.database import DatabaseUnreachable

from .files import FolderThing
from .files_kept import tidy
from .ledger import Ledger, root_of
from .listen import Listener
from .pull import Progress, Puller
from .registry import AnyThing, Registry
from .rows import RowThing
from .scan import Scan, scan
from .thing import LOCK_FILE, ReplicationError
from .wire import ContentPeer

if TYPE_CHECKING:
    from ftplugin.extension import Portal

POLL_S = 1.0
SCAN_S_MIN, SCAN_PART = 5.0, 50  # at most a fiftieth of a processor goes into looking
EDITED_PART = 5  # a fifth while the portal commits edits all the time
AGAIN_S_MIN, AGAIN_S_MAX = 2.0, 60.0  # between two rounds while the same difference stays
CLOSE_LIMIT_S = 5.0
TIDY_S = 3600.0
GONE_KEPT_S = 7 * 86_400.0  # what was deleted is known for so long at least: a backup of a server may be brought back
NICE = 10
SOURCE = "replication"
SYNC, WAKE, ORDER = "sync", "content_wake", "content_order"
logger = logging.getLogger(__name__)


def lower_priority() -> None:
    """Of this thread. Under gevent that is the portal's main thread, for whose answers balancers and the other server wait."""
    if threading.get_native_id() != os.getpid():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class _Look:
    """The last look at one thing."""

    def __init__(self) -> None:
        self.due_s = self.soon_s = self.tidy_s = 0.0  # soon_s: not before, also after an edit
        self.root = ""
        self.scan = Scan()
        self.error = ""
        self.order = ""


class Replicator:
    """Of one app in one process. ``things``: what is registered, by name."""

    def __init__(self, app: Flask, ft: Portal, registry: Registry) -> None:
        self._app, self._ft, self._registry = app, ft, registry
        self._lock = threading.Lock()
        self._pid = 0
        self._thread = threading.Thread()
        self._bell, self._stopped = threading.Event(), False
        self._things: dict[str, AnyThing] | None = None
        self._looks: dict[str, _Look] = {}
        self._progress: dict[str, Progress] = {}
        self._listener = Listener(self._edited)
        self._claim_fd = -1
        self._dirty, self._published = False, ""
        self._seen: dict[str, float] = {}
        self._differs_since_s: float | None = None
        self._last_pair, self._again_s, self._pause_s = ("", ""), 0.0, AGAIN_S_MIN
        self._forget_s = 0.0
        self._said: dict[str, str] = {}
        self._round_error = ""

    @property
    def things(self) -> dict[str, AnyThing]:
        """Raises what a wrong registration raises."""
        with self._lock:
            if self._things is None or len(self._things) != len(self._registry):
                self._things = self._registry.things(self._app)
            return self._things

    @property
    def imported(self) -> list[str]:
        """Names of what each server imports by itself."""
        return self._registry.imported

    # --- life -----------------------------------------------------------------------------------------------------

    def ensure(self) -> None:
        """Called before each request: there is a thread in this process, unless nothing is registered."""
        if self._pid == os.getpid() or not len(self._registry):
            return
        things = self.things
        with self._lock:
            if self._pid == os.getpid():
                return
            self._bell, self._stopped, self._claim_fd = threading.Event(), False, -1
            self._listener.listen(things)
            self._thread = threading.Thread(target=self._run, name="ft-replicate", daemon=True)
            self._thread.start()
            self._pid = os.getpid()

    def close(self) -> None:
        """End the thread, and let another process take over."""
        self._listener.close()
        if self._pid != os.getpid():
            return
        self._stopped = True
        self._bell.set()
        self._thread.join(CLOSE_LIMIT_S)

    def _edited(self) -> None:
        """A commit in this process has changed a registered model."""
        self._dirty = True
        self._bell.set()

    def _run(self) -> None:
        lower_priority()
        while not self._stopped:
            self._try_turn()
            self._bell.wait(POLL_S)
            self._bell.clear()
        for thing in self.things.values():
            thing.close()
        if self._claim_fd >= 0:
            os.close(self._claim_fd)
            self._claim_fd = -1

    def _claimed(self) -> bool:
        """Whether this process is the one that replicates. Raises OSError."""
        if self._claim_fd >= 0:
            return True
        folder = self._ft.config.instance_dir
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._claim_fd = fd
        return True

    # --- one turn -------------------------------------------------------------------------------------------------

    def _try_turn(self) -> None:
        try:
            self._turn()
        except (ReplicationError, DatabaseUnreachable, SQLAlchemyError, OSError) as error:
            self._failed(str(error).splitlines()[0])
            self._publish()
        except Exception as error:  # a defect here must not end replication for good
            self._failed(f"{type(error).__name__}: {error}")
            logger.exception("replication failed; it goes on")

    def _turn(self) -> None:
        ft, me = self._ft, self._ft.designation()
        dirty, self._dirty = self._dirty, False
        if not self._claimed():
            if dirty:
                ft.runtime.publish(WAKE, {"at_s": ft.clock.now_s(), "boot_id": ft.clock.boot_id})
            return
        if me is None:
            self._failed("this server does not know which one it is: enter both addresses in the settings")
            self._publish()
            return
        documents = ft.runtime.fetch_many(("view", "agent", SYNC, WAKE, ORDER))
        forced = self._is_new(documents, SYNC)
        edited = self._is_new(documents, WAKE) or dirty
        for name, look in self._looks.items():
            if forced:
                look.due_s = 0.0
            elif edited and isinstance(self.things.get(name), RowThing):
                look.due_s = min(look.due_s, look.soon_s)
        if self._is_new(documents, ORDER):
            self._order(documents[ORDER] or {})
        for name, thing in self.things.items():
            self._look(name, thing, str(me))
        there = self._heard(documents)
        same = bool(there) and there == self._mark()
        if same or not there:  # nothing is asked for; else the last round's word holds until the next one
            self._well()
        if same:
            self._settled()
            self._forget()
        self._publish()
        if there and (forced or self._due(there)):
            self._round(str(me), there)

    def _is_new(self, documents: Mapping[str, dict[str, Any] | None], name: str) -> bool:
        found = documents.get(name) or {}
        at_s = found.get("at_s")
        if found.get("boot_id") != self._ft.clock.boot_id or not isinstance(at_s, (int, float)):
            at_s = 0.0
        before, self._seen[name] = self._seen.get(name), float(at_s)
        return before is not None and at_s > before

    def _order(self, order: Mapping[str, Any]) -> None:
        look = self._looks.get(str(order.get("thing")))
        if look is not None and order.get("what") in ("delete", "restore"):
            look.order, look.due_s = str(order["what"]), 0.0

    def _look(self, name: str, thing: AnyThing, me: str) -> None:
        look = self._looks.setdefault(name, _Look())
        began_s = time.monotonic()
        if began_s < look.due_s or self._stopped:
            return
        ledger, order, look.order = Ledger(self._ft.database, name), look.order, ""
        active = self._ft.role.active()
        try:
            look.scan = scan(thing, ledger, me, active=active, wall_s=self._ft.clock.wall_s(), gone=order)
            look.root, look.error = root_of(ledger.digests()), ""
        except ReplicationError as error:
            look.error = str(error)
        if isinstance(thing, FolderThing) and began_s >= look.tidy_s:
            look.tidy_s = began_s + TIDY_S
            tidy(thing)
        ended_s = time.monotonic()
        look.due_s = ended_s + max(SCAN_S_MIN, SCAN_PART * (ended_s - began_s))
        look.soon_s = ended_s + EDITED_PART * (ended_s - began_s)
        gone = f"{look.scan.gone} of {name} are gone at once; not taken for deleted until you say so"
        self._say(name, look.error or "; ".join([*([gone] if look.scan.gone else []), *look.scan.problems[:3]]))

    def _heard(self, documents: Mapping[str, dict[str, Any] | None]) -> str:
        """The other node's mark in its last heartbeat, "" when it was not heard, replicates nothing, or the agent is silent.

        One that calls itself unhealthy, or whose agent is dead, replicates all the same: what it says is signed."""
        peer = (documents.get("view") or {}).get("peer") or {}
        clock, settings = self._ft.clock, self._ft.settings.cached()[1]
        age_s = agent_age_s(documents.get("agent"), clock.boot_id, clock.now_s())
        if age_s is None or age_s > Timing.of(settings).stale_s:
            return ""
        return str((peer.get("state") or {}).get("content_mark") or "")

    def _mark(self) -> str:
        """ "" until everything was looked at once."""
        if not self._looks or any(not look.root for look in self._looks.values()):
            return ""
        text = "\n".join(f"{name} {look.root}" for name, look in sorted(self._looks.items()))
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def _due(self, there: str) -> bool:
        """Whether the two differ, and this difference was not just looked at."""
        own, now_s = self._mark(), time.monotonic()
        if not own or own == there:
            self._differs_since_s, self._pause_s = None, AGAIN_S_MIN
            return False
        if self._differs_since_s is None:
            self._differs_since_s = self._ft.clock.wall_s()
        return (own, there) != self._last_pair or now_s >= self._again_s

    def _forget(self) -> None:
        """Both hold the same: what was deleted long ago is on neither, and need not be known any more."""
        if time.monotonic() >= self._forget_s:
            self._forget_s = time.monotonic() + TIDY_S
            for name in self.things:
                Ledger(self._ft.database, name).forget(self._ft.clock.wall_s() - GONE_KEPT_S)

    def _round(self, me: str, there: str) -> None:
        peer = ContentPeer(self._ft)
        puller = Puller(
            self.things, self._ft.database, peer, me, go_on=lambda: not self._stopped, told=self._publish_rarely
        )
        before = self._progress
        self._progress = puller.progress
        try:
            puller.round()
        except ReplicationError:
            self._progress = before
            raise
        finally:
            peer.close()
            for name in self.things:
                self._looks[name].root = root_of(Ledger(self._ft.database, name).digests())
            same = self._last_pair == (self._mark(), there)
            self._pause_s = min(AGAIN_S_MAX, 2 * self._pause_s) if same else AGAIN_S_MIN
            self._last_pair, self._again_s = (self._mark(), there), time.monotonic() + self._pause_s
        self._well()
        for name, progress in self._progress.items():
            self._say(f"{name} ", progress.error or "; ".join(progress.problems[:3]))
            if progress.conflicts:
                text = (
                    f"{progress.conflicts} of {name} were edited on both servers apart; what lost is kept, see the page"
                )
                self._ft.report.line(SOURCE, text)
            if progress.behind > 0:
                self._looks[name].due_s = 0.0  # some were edited here meanwhile: look again
        self._publish()

    # --- shown ----------------------------------------------------------------------------------------------------

    def _failed(self, why: str) -> None:
        """The turn ended so; it is shown until one goes well."""
        self._round_error = why
        self._say("", why)

    def _well(self) -> None:
        self._round_error = ""
        self._say("", "")

    def _settled(self) -> None:
        """Both hold the same: what could not be taken is not wanted any more."""
        self._differs_since_s = None
        for name, progress in self._progress.items():
            progress.error = ""
            progress.problems.clear()
            self._say(f"{name} ", "")

    def _say(self, about: str, text: str) -> None:
        """One line of the log when it changes."""
        if self._said.get(about, "") != text:
            self._said[about] = text
            if text:
                self._ft.report.line(
                    SOURCE, text if not about.strip() or about.strip() in text else f"{about.strip()}: {text}"
                )

    def _publish_rarely(self) -> None:
        now_s = time.monotonic()
        if now_s - self._seen.get("published", 0.0) > POLL_S:
            self._seen["published"] = now_s
            self._publish()

    def _publish(self) -> None:
        clock = self._ft.clock
        things = {name: self._shown(name, thing.kind) for name, thing in self.things.items()}
        document = {
            "mark": self._mark(),
            "at_s": clock.now_s(),
            "at_wall_s": clock.wall_s(),
            "boot_id": clock.boot_id,
            "differs_since_wall_s": self._differs_since_s,
            "error": self._round_error,
            "things": things,
        }
        self._ft.runtime.publish(CONTENT, document)

    def _shown(self, name: str, kind: str) -> dict[str, Any]:
        look, progress = self._looks.get(name) or _Look(), self._progress.get(name) or Progress()
        same = self._differs_since_s is None or progress.same
        return {
            "kind": kind,
            "total": look.scan.total,
            "behind": 0 if same else max(0, progress.behind),
            "ahead": 0 if same else progress.ahead,
            "taken": progress.taken,
            "bytes": progress.bytes,
            "gone": look.scan.gone,
            "error": look.error or progress.error,
            "problems": (look.scan.problems + progress.problems)[:20],
        }
