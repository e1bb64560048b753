"""What waits for which target: bounded, tried again with growing gaps, given up in the end. Pure; moments are CLOCK_BOOTTIME.

Every message goes to every target, and each target has its own tries, so that a dead one holds up no other. A message that
was sent in the moment in which this process died is sent again: at least once, never at most once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .causes import Phase
from .message import Message, one_line
from .targets import Target

WAITING_MAX = 100  # messages; with the oldest given up for a new one
BATCH_MAX = 5  # messages that one process sends to a target: of full length they fit into a pipe
GAP_S_MIN, GAP_S_MAX = 10.0, 1800.0
TRIES_MAX = 54  # with the gaps above about a day
HISTORY = 40
DETAIL_CHARS_MAX = 300
OVERTAKEN = "it is over: the message of its end tells it"


def gap_s(tries: int) -> float:
    """How long to wait after so many failed tries, seconds."""
    return min(GAP_S_MAX, GAP_S_MIN * 2.0 ** min(tries - 1, 20))


@dataclass(kw_only=True, slots=True)
class Try:
    """Of one message and one target. ``sending``: a process has it now."""

    tries: int = 0
    next_s: float = 0.0
    detail: str = ""
    sending: bool = False


@dataclass(kw_only=True, slots=True)
class Waiting:
    """A message and the targets that do not have it yet, by their keys."""

    message: Message
    left: dict[str, Try] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """How it ended for one message and one target (``key``; ``target`` is its label). ``word``: "delivered" or "given up"."""

    at_wall_s: float
    title: str
    phase: str
    key: str
    target: str
    word: str
    tries: int
    detail: str


class Outbox:
    """targets: of this node's configuration; what waits for one that is configured no more is forgotten."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = {target.key: target for target in targets}
        self.waiting: list[Waiting] = []
        self.history: deque[Delivery] = deque(maxlen=HISTORY)
        self.dropped = 0
        self.changes = 0  # grows with each change that is to be kept

    def add(self, message: Message, now_s: float, wall_s: float) -> None:
        """Send this to every target. A repetition is left out where an earlier message of its incident still waits."""
        keys = list(self.targets)
        if message.phase is Phase.REPEATED:
            behind = {
                key for item in self.waiting if item.message.incident_id == message.incident_id for key in item.left
            }
            keys = [key for key in keys if key not in behind]
        if not keys:
            return
        self.changes += 1
        if message.phase is Phase.RESOLVED:
            self._overtake(message.incident_id, wall_s)
        while len(self.waiting) >= WAITING_MAX:
            oldest = self.waiting.pop(0)
            self.dropped += 1
            for key, one in oldest.left.items():
                self._end(oldest.message, key, one, "given up", f"too many wait; {one.detail}".rstrip("; "), wall_s)
        self.waiting.append(Waiting(message=message, left={key: Try(next_s=now_s) for key in keys}))

    def _overtake(self, incident_id: str, wall_s: float) -> None:
        """Of an incident that is over only its end is still told: a begin that came after it would stay open for ever."""
        for item in self.waiting:
            if item.message.incident_id == incident_id:
                for key in [key for key, one in item.left.items() if not one.sending]:
                    self._end(item.message, key, item.left.pop(key), "given up", OVERTAKEN, wall_s)
        self.waiting = [item for item in self.waiting if item.left]

    def due(self, now_s: float, room: int) -> list[tuple[Target, list[Message]]]:
        """What is to be sent now, to ``room`` targets at most; none for a target to which a process still sends.

        They count as being sent from now on.
        """
        busy = {key for item in self.waiting for key, one in item.left.items() if one.sending}
        found: dict[str, list[Message]] = {}
        for item in self.waiting:
            for key, one in item.left.items():
                if key in busy or one.next_s > now_s or (key not in found and len(found) >= room):
                    continue
                if len(found.get(key, ())) < BATCH_MAX:
                    one.sending = True
                    found.setdefault(key, []).append(item.message)
        return [(self.targets[key], messages) for key, messages in found.items()]

    def next_s(self) -> float | None:
        """When the next try is due; None: nothing waits but what is being sent."""
        moments = [one.next_s for item in self.waiting for one in item.left.values() if not one.sending]
        return min(moments, default=None)

    def tried(self, key: str, message_id: str, problem: str, now_s: float, wall_s: float) -> str:
        """How a try ended; problem "": delivered. The word of its end, "" when it is tried again."""
        item = next((item for item in self.waiting if item.message.message_id == message_id), None)
        one = item.left.get(key) if item is not None else None
        if item is None or one is None:
            return ""  # given up for newer ones meanwhile
        self.changes += 1
        one.tries, one.sending, one.detail = one.tries + 1, False, one_line(problem, DETAIL_CHARS_MAX)
        last = item.message.phase is Phase.TEST or one.tries >= TRIES_MAX
        word = "delivered" if not problem else "given up" if last else ""
        if problem and self._end_waits(item.message, key):
            word, one.detail = "given up", OVERTAKEN
        if word:
            self._end(item.message, key, one, word, one.detail, wall_s)
            del item.left[key]
            self.waiting = [item for item in self.waiting if item.left]
        else:
            one.next_s = now_s + gap_s(one.tries)
            self._rest(key, now_s + GAP_S_MIN)
        return word

    def _rest(self, key: str, until_s: float) -> None:
        """A target that has not taken one message is left alone for a while: many that wait are no reason to hurry."""
        for one in (item.left[key] for item in self.waiting if key in item.left):
            one.next_s = max(one.next_s, until_s)

    def _end_waits(self, message: Message, key: str) -> bool:
        """Whether the end of the same incident waits for this target."""
        return any(
            other.message.phase is Phase.RESOLVED
            and other.message.incident_id == message.incident_id
            and key in other.left
            for other in self.waiting
            if other.message is not message
        )

    def _end(self, message: Message, key: str, one: Try, word: str, detail: str, wall_s: float) -> None:
        self.history.appendleft(
            Delivery(
                at_wall_s=wall_s,
                title=message.title,
                phase=str(message.phase),
                key=key,
                target=self.targets[key].label,
                word=word,
                tries=one.tries,
                detail=detail,
            )
        )

    # --- over a restart, and for the page -------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        rows = [
            {
                "message": item.message.to_json(),
                "left": {k: {"tries": t.tries, "next_s": t.next_s, "detail": t.detail} for k, t in item.left.items()},
            }
            for item in self.waiting
        ]
        return {"waiting": rows, "history": [asdict(one) for one in self.history], "dropped": self.dropped}

    def resume(self, document: Mapping[str, Any], now_s: float, *, same_boot: bool) -> None:
        """Go on with what was kept. Tries keep their number; after a reboot each waits for its gap from now on.

        Raises nothing: a row that cannot be read, as one of another version, is left out.
        """
        for row in _rows(document.get("waiting")):
            try:
                message = Message.from_json(row["message"])
                left = {
                    key: Try(
                        tries=int(one["tries"]),
                        next_s=(
                            float(one["next_s"]) if same_boot else now_s + (gap_s(one["tries"]) if one["tries"] else 0)
                        ),
                        detail=one_line(one["detail"], DETAIL_CHARS_MAX),
                    )
                    for key, one in row["left"].items()
                    if key in self.targets
                }
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
            if left:
                self.waiting.append(Waiting(message=message, left=left))
        for row in _rows(document.get("history")):
            try:
                self.history.append(Delivery(**{**row, "target": self.targets[row["key"]].label}))
            except (KeyError, TypeError):
                continue
        dropped = document.get("dropped")
        self.dropped = dropped if isinstance(dropped, int) else 0

    def shown(self, now_s: float) -> dict[str, Any]:
        """For page and command line: {targets, waiting, history, dropped}; no URL is in it."""
        rows = [
            {
                "title": item.message.title,
                "phase": str(item.message.phase),
                "at_wall_s": item.message.at_wall_s,
                "target": self.targets[key].label,
                "tries": one.tries,
                "next_in_s": None if one.sending else round(max(0.0, one.next_s - now_s), 1),
                "detail": one.detail,
            }
            for item in self.waiting
            for key, one in item.left.items()
        ]
        return {
            "targets": [target.label for target in self.targets.values()],
            "waiting": rows,
            "history": [{k: value for k, value in asdict(one).items() if k != "key"} for one in self.history],
            "dropped": self.dropped,
        }


def _rows(value: object) -> Iterable[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
