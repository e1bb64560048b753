"""Questions of the portal and the command line to the peer's node API: signed, limited in time and size (design 5).

For what a person asked for: history, log, support. The agent has its own client (``workers``), since its heartbeat is
hedged and counted; what a page does must never touch that. Nothing here is retried.

An answer is believed when its body is signed over this question's nonce and repeats what was asked: the address alone,
or an answer to another question, proves nothing.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from . import protocol
from .core.settings import SettingsError, parse_address
from .core.view import NodeState
from .history.clocks import Offset
from .http_client import Answer, HttpClient, HttpFailure

if TYPE_CHECKING:
    from .extension import Portal

LIMIT_S = 2.0
BYTES_MAX = 2_000_000
ASKED = "asked"  # the part of an answer that repeats the question


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerAnswer:
    """What the peer said, or why it is not believed.

    problem: "" when ``document`` is good. state: its signed state, None when its Redis was silent. offset: how far its
    clock is ahead of the own one, at most wrong by half of the round trip. status: of HTTP, 0 without an answer.
    """

    document: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    state: NodeState | None = None
    offset: Offset | None = None
    status: int = 0


class PeerClient:
    """Asks the peer of ``ft``. All questions of one client share ``limit_s`` seconds.

    bytes_max: largest answer, also after unpacking. monotonic_s, wall_s: clocks in seconds.
    """

    def __init__(
        self,
        ft: Portal,
        limit_s: float = LIMIT_S,
        bytes_max: int = BYTES_MAX,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._ft, self._limit_s, self._bytes_max = ft, limit_s, bytes_max
        self._monotonic_s, self._wall_s = monotonic_s, wall_s
        self._deadline_s = monotonic_s() + limit_s

    def get(self, path: str, **asked: str) -> PeerAnswer:
        """GET ``<prefix>/node/<path>?asked…``. Raises nothing: whatever is wrong is in ``problem``, as a sentence."""
        me = self._ft.designation()
        if me is None:
            return PeerAnswer(problem="this server does not know which one it is: enter both addresses in the settings")
        peer = me.other
        try:
            url = parse_address(f"{peer}_address", self._ft.settings.cached()[1].address_of(peer)).url
        except SettingsError as error:
            return PeerAnswer(problem=f"the address of {peer} cannot be used: {error}")
        left_s = self._deadline_s - self._monotonic_s()
        if left_s <= 0:
            return PeerAnswer(problem=f"{peer} was not asked any more: its {self._limit_s:g} s are over")
        keys, nonce = self._ft.config.secret_keys, protocol.new_nonce()
        if not keys:
            return PeerAnswer(problem="this server has no key of the pair yet: run 'ft pair'")
        headers = {protocol.ASK_HEADER: protocol.make_ask(keys, me, nonce), "Accept-Encoding": "gzip"}
        target = "/" + self._ft.config.url_prefix.strip("/") + f"/node/{path}"
        target = target.replace("//", "/") + "?" + urlencode(asked)
        try:
            answer = HttpClient(self._ft.config.tls.context).ask(
                "GET", url, target, limit_s=left_s, headers=headers, bytes_max=self._bytes_max, fresh=True, keep=False
            )
            text = self._unpacked(answer)
        except HttpFailure as failure:
            limit = f" ({self._limit_s:g} s)" if failure.kind == "timeout" else ""
            return PeerAnswer(problem=f"{peer} at {url}: {failure.detail}{limit}")
        return self._judged(answer, text, nonce, asked)

    def _unpacked(self, answer: Answer) -> str:
        body = answer.body
        if answer.headers.get("content-encoding", "").lower() == "gzip":
            unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            try:
                body = unpacker.decompress(body, self._bytes_max + 1)
            except zlib.error as error:
                raise HttpFailure("garbage", f"the answer cannot be unpacked: {error}") from None
            if len(body) > self._bytes_max:
                raise HttpFailure("too large", f"the unpacked answer is larger than {self._bytes_max} bytes")
        return body.decode("utf-8", "replace")

    def _judged(self, answer: Answer, text: str, nonce: str, asked: Mapping[str, str]) -> PeerAnswer:
        me = self._ft.designation()
        assert me is not None, "get() has asked"
        peer, keys = me.other, self._ft.config.secret_keys

        def refused(problem: str) -> PeerAnswer:
            return PeerAnswer(problem=f"the answer of {peer} is refused: {problem}", status=answer.status)

        if answer.status == 404 and protocol.BODY_HEADER.lower() not in answer.headers:
            return refused("HTTP status 404; it runs a version without this question, or under another FT_URL_PREFIX")
        if not protocol.body_is_signed(keys, answer.headers.get(protocol.BODY_HEADER.lower(), ""), peer, nonce, text):
            return refused(f"its body is not signed by {peer} over this question, HTTP status {answer.status}")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            return refused("its body is no JSON object")
        if answer.status != 200:
            return refused(f"HTTP status {answer.status}: {str(document.get('error', ''))[:300]}")
        if document.get(ASKED) != dict(asked):
            return refused("it answers another question")
        state, offset = self._state(answer, nonce)
        return PeerAnswer(document=document, state=state, offset=offset, status=answer.status)

    def _state(self, answer: Answer, nonce: str) -> tuple[NodeState | None, Offset | None]:
        me = self._ft.designation()
        header = answer.headers.get(protocol.STATE_HEADER.lower(), "")
        if me is None or not header:
            return None, None
        try:
            state, _ = protocol.read_state(self._ft.config.secret_keys, header, nonce, me.other)
        except protocol.ProtocolError:
            return None, None  # the body has its own signature: only the offset is missing then
        half_s = answer.duration_s / 2
        at_s = self._wall_s()
        return state, Offset(ahead_s=state.wall_clock_s - (at_s - half_s), error_s=half_s, at_s=at_s)
