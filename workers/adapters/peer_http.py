"""The peer's portal over HTTP: heartbeat, signed state, commands, settings (spec 3 and 5, PeerPort).

A heartbeat is one slim exchange on a kept-alive connection: ``Host`` and ``X-FT-Ask`` go out, the monitor's word
and the signed state come back. It is hedged inside t and keeps its limit against any server; ``http_client`` says
how and why. Answers are believed for their signature over this question's nonce, never for the address they come
from.
"""

from __future__ import annotations

import hmac
import json
import threading
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

from ftplugin import protocol
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, ProbeCause
from ftplugin.core.timing import Timing
from ftplugin.core.view import NodeState, Probe
from workers.ports import Clock, Reply

from .hedged_http import OnLink, hedged, single
from .http_client import Answer, ContextSource, HttpClient, HttpFailure
from .runner import DaemonPool

MONITOR_BYTES_MAX = 4_096
API_BYTES_MAX = 65_536
STATUS_BYTES_MAX = 8_192
COMMAND_TRIES = 2

_CAUSES = {
    "timeout": ProbeCause.TIMEOUT,
    "refused": ProbeCause.CONNECT,
    "closed": ProbeCause.CONNECT,
    "connect": ProbeCause.CONNECT,
    "too large": ProbeCause.TOO_LARGE,
    "garbage": ProbeCause.UNREADABLE,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heard:
    """One answer with the nonce it must be signed over and the wall clock half-way."""

    answer: Answer
    nonce: str
    wall_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What an answer of the monitor is worth. ``challenge`` is empty when the state was not believed."""

    cause: ProbeCause
    state: NodeState | None = None
    challenge: str = ""
    detail: str = ""


def judge(
    keys: Sequence[str], answer: Answer, nonce: str, expected: Designation, *, stale_s: float | None, check_body: bool
) -> Judgement:
    """Judge one answer of a monitor (spec 5, "Probe").

    stale_s: oldest agent tick that is good, seconds; None: not judged (the own portal, whose agent is the asker).
    """
    if answer.status != 200:
        redirect = 300 <= answer.status < 400
        return Judgement(
            cause=ProbeCause.REDIRECT if redirect else ProbeCause.STATUS, detail=f"HTTP status {answer.status}"
        )
    header = answer.headers.get(protocol.STATE_HEADER.lower(), "")
    if not header:
        return Judgement(cause=ProbeCause.NO_STATE, detail=f"no {protocol.STATE_HEADER} header")
    try:
        state, challenge = protocol.read_state(keys, header, nonce, expected)
    except protocol.ProtocolError as error:
        unsigned = error.cause == "unsigned"
        return Judgement(cause=ProbeCause.UNSIGNED if unsigned else ProbeCause.UNREADABLE, detail=str(error))
    cause, detail = ProbeCause.OK, ""
    if stale_s is not None and (state.agent_age_s is None or state.agent_age_s > stale_s):
        age = "never" if state.agent_age_s is None else f"{state.agent_age_s:.1f} s ago"
        cause, detail = ProbeCause.AGENT_STALE, f"agent last ticked {age}, limit {stale_s:g} s"
    elif check_body and not answer.body.startswith(b"IPSWS=OK"):
        cause, detail = ProbeCause.BODY, " / ".join(answer.text[:300].split("\n"))
    return Judgement(cause=cause, state=state, challenge=challenge, detail=detail)


class PeerHttp:
    """PeerPort over HTTP or HTTPS.

    designation, peer_url, own_url, settings: asked at every call, so that a change is live at once; an empty URL means
    "not set yet". ssl_context: makes the context for https addresses (default: the system's trust).
    """

    def __init__(
        self,
        *,
        keys: Sequence[str],
        designation: Callable[[], Designation],
        peer_url: Callable[[], str],
        own_url: Callable[[], str],
        settings: Callable[[], Settings],
        url_prefix: str,
        clock: Clock,
        pool: DaemonPool | None = None,
        ssl_context: ContextSource | None = None,
    ) -> None:
        self._keys, self._designation, self._settings, self._clock = keys, designation, settings, clock
        self._peer_url, self._own_url, self._prefix = peer_url, own_url, url_prefix.rstrip("/")
        self._pool = pool or DaemonPool()
        self._peer, self._own, self._looks = (HttpClient(ssl_context) for _ in range(3))
        self._challenge_lock = threading.Lock()
        self._challenge = ""

    # --- heartbeat

    def probe(self, limit_s: float, *, check_body: bool) -> Probe:
        """One hedged probe of the peer; ends within ``limit_s`` seconds."""
        stale_s = Timing.of(self._settings()).stale_s
        expected = self._designation().other
        return self._probe(self._peer, self._peer_url(), expected, limit_s, stale_s=stale_s, check_body=check_body)

    def probe_own(self, limit_s: float) -> Probe:
        """The same question to the own portal; IPSWS=KO is bad whatever the setting. Own ticks are not judged."""
        me, url = self._designation(), self._own_url()
        return self._probe(self._own, url, me, limit_s, stale_s=None, check_body=True, hedge=False)

    def _probe(
        self,
        client: HttpClient,
        url: str,
        expected: Designation,
        limit_s: float,
        *,
        stale_s: float | None,
        check_body: bool,
        hedge: bool = True,
    ) -> Probe:
        started_s = self._clock.now_s()

        def attempt(index: int, left_s: float, on_link: OnLink) -> _Heard:
            target = f"{self._prefix}/monitor?mod=IPSWS"
            fresh = index > 0
            return self._ask(client, url, "GET", target, None, left_s, MONITOR_BYTES_MAX, fresh=fresh, on_link=on_link)

        outcome = hedged(self._pool, attempt, limit_s) if hedge else single(attempt, limit_s)
        ended_s = self._clock.now_s()
        heard, failure = outcome.value, outcome.failure
        if heard is None:
            kind, detail = (failure.kind, failure.detail) if failure else ("connect", "no attempt was made")
            return Probe(started_s=started_s, ended_s=ended_s, cause=_CAUSES[kind], detail=detail)
        found = judge(self._keys, heard.answer, heard.nonce, expected, stale_s=stale_s, check_body=check_body)
        if client is self._peer:
            self._keep_challenge(found.challenge)
        skew_s = found.state.wall_clock_s - heard.wall_s if found.state is not None else None
        return Probe(
            started_s=started_s,
            ended_s=ended_s,
            cause=found.cause,
            state=found.state,
            detail=found.detail,
            skew_s=skew_s,
        )

    def _ask(
        self,
        client: HttpClient,
        url: str,
        method: str,
        target: str,
        body: bytes | None,
        limit_s: float,
        bytes_max: int,
        *,
        fresh: bool = False,
        on_link: OnLink | None = None,
    ) -> _Heard:
        nonce = protocol.new_nonce()
        headers = {protocol.ASK_HEADER: protocol.make_ask(self._keys, self._designation(), nonce)}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = client.ask(
            method,
            url,
            target,
            limit_s=limit_s,
            headers=headers,
            body=body,
            bytes_max=bytes_max,
            fresh=fresh,
            on_link=on_link,
        )
        return _Heard(answer=answer, nonce=nonce, wall_s=self._clock.wall_s() - answer.duration_s / 2)

    # --- node API

    def state(self, limit_s: float) -> Reply:
        """The peer's signed state, one attempt."""
        return self._call("GET", "/node/state", None, limit_s)

    def command(self, name: str, body: Mapping[str, Any], limit_s: float) -> Reply:
        """One command, signed over the peer's last challenge; once more over a fresh one when that was used or lost."""
        deadline_s = self._clock.monotonic_s() + limit_s
        reply = Reply(answered=False, detail="no challenge from the peer")
        for _ in range(COMMAND_TRIES):
            challenge = self._take_challenge()
            if not challenge:
                reply = self.state(deadline_s - self._clock.monotonic_s())
                challenge = self._take_challenge()
                if not challenge:
                    detail = reply.detail or "the peer gave no challenge (its Redis may be down)"
                    return Reply(answered=reply.answered, state=reply.state, detail=detail)
            raw = protocol.make_command(self._keys, self._designation(), challenge, name, body)
            reply = self._call("POST", "/node/command", raw, deadline_s - self._clock.monotonic_s())
            if not reply.detail.startswith("refused"):
                break
        return reply

    def settings(self, limit_s: float) -> Reply:
        """The peer's settings document, signed over this question."""
        return self._document(self._peer, "/node/settings", limit_s, API_BYTES_MAX)

    def status(self, limit_s: float) -> Reply:
        """The peer's short status document. On a connection of its own: no heartbeat ever waits behind it."""
        return self._document(self._looks, "/node/status", limit_s, STATUS_BYTES_MAX)

    def _document(self, client: HttpClient, path: str, limit_s: float, bytes_max: int) -> Reply:
        try:
            heard = self._ask(client, self._peer_url(), "GET", self._prefix + path, None, limit_s, bytes_max)
        except HttpFailure as failure:
            return Reply(answered=False, detail=failure.detail)
        if heard.answer.status != 200:
            return Reply(answered=False, detail=f"HTTP status {heard.answer.status}")
        state, _ = self._believe(heard)
        body, problem = self._believe_body(heard)
        return Reply(answered=not problem, state=state, body=body, detail=problem)

    def _call(self, method: str, path: str, body: bytes | None, limit_s: float) -> Reply:
        if limit_s <= 0:
            return Reply(answered=False, detail="no time left for the request")
        try:
            heard = self._ask(self._peer, self._peer_url(), method, self._prefix + path, body, limit_s, API_BYTES_MAX)
        except HttpFailure as failure:
            return Reply(answered=False, detail=failure.detail)
        state, detail = self._believe(heard)
        said, _ = self._believe_body(heard)
        status = heard.answer.status
        if status != 200:
            message = str(said.get("error", ""))[:200]
            word = "refused" if 400 <= status < 500 else "answered"
            detail = f"{word} with HTTP status {status}" + (f": {message}" if message else "")
        return Reply(answered=state is not None, state=state, body=said, detail=detail)

    def _believe_body(self, heard: _Heard) -> tuple[dict[str, Any], str]:
        """The signed JSON object of an answer, or an empty one and what is wrong with it."""
        signature, text = heard.answer.headers.get(protocol.BODY_HEADER.lower(), ""), heard.answer.text
        speaker = self._designation().other
        wanted = [protocol.sign_body([key], speaker, heard.nonce, text) for key in self._keys]
        if not any([hmac.compare_digest(w.encode(), signature.encode("utf-8", "replace")) for w in wanted]):
            return {}, "the answer's body is not signed by the peer over this question"
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        return (value, "") if isinstance(value, dict) else ({}, "the answer's body is no JSON object")

    def _believe(self, heard: _Heard) -> tuple[NodeState | None, str]:
        """The signed state of an answer, whatever its status, and why there is none."""
        header = heard.answer.headers.get(protocol.STATE_HEADER.lower(), "")
        if not header:
            return None, f"no {protocol.STATE_HEADER} header, HTTP status {heard.answer.status}"
        try:
            state, challenge = protocol.read_state(self._keys, header, heard.nonce, self._designation().other)
        except protocol.ProtocolError as error:
            return None, str(error)
        self._keep_challenge(challenge)
        return state, ""

    def _keep_challenge(self, challenge: str) -> None:
        if challenge:
            with self._challenge_lock:
                self._challenge = challenge

    def _take_challenge(self) -> str:
        """A challenge is good for one command."""
        with self._challenge_lock:
            challenge, self._challenge = self._challenge, ""
            return challenge

    def close(self) -> None:
        self._peer.close()
        self._own.close()
        self._looks.close()
