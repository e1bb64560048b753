"""Questions for content to the other node's API, and how each is signed.

A question is signed over a challenge that the other node gave and takes once, over its path and its body: it can be neither
changed nor asked again by somebody else. The answer is signed over the question's nonce. Rows and blocks of files are not signed
themselves: they come behind a line that is, and are checked against digests that are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftplugin import protocol
from ftplugin.core.settings import SettingsError, parse_address
from ftplugin.core.terms import Designation
from ftplugin.http_client import Answer, HttpClient, HttpFailure

from .thing import ReplicationError

if TYPE_CHECKING:
    from ftplugin.extension import Portal

ONCE_HEADER = "X-FT-Once"
LIMIT_S = 20.0  # of one question; an answer has up to ANSWER_BYTES_MAX
ANSWER_BYTES_MAX = 12_000_000
QUESTION_BYTES_MAX = 2_000_000
KEYS_MAX = 10_000  # in one question
HEAD_BYTES_MAX = 200_000  # of the line before rows and blocks
HEADED = ("rows", "blocks")  # what is answered so


def make_once(keys: Any, sender: Designation, challenge: str, what: str, body: bytes) -> str:
    """Value of the X-FT-Once header."""
    digest = hashlib.sha256(body).hexdigest()
    return f"{challenge}.{protocol.sign(keys, 'content', sender, sender.other, challenge, what, digest)}"


def read_once(keys: Any, receiver: Designation, header: str, what: str, body: bytes) -> str:
    """The challenge of a question to ``receiver``; the caller uses it up. Raises ProtocolError."""
    challenge, _, signature = header.partition(".")
    digest = hashlib.sha256(body).hexdigest()
    if not protocol.verify(keys, signature, "content", receiver.other, receiver, challenge, what, digest):
        raise protocol.ProtocolError("unsigned", "the question is not signed for this node with a key of this pair")
    return challenge


class ContentPeer:
    """Asks the other node of ``ft``; used by one thread. limit_s: of one question."""

    def __init__(self, ft: Portal, limit_s: float = LIMIT_S) -> None:
        self._ft, self._limit_s = ft, limit_s
        tls = getattr(ft.config, "tls", None)
        self._client = HttpClient(tls.context if tls is not None else None)
        self._challenge = ""

    def close(self) -> None:
        self._client.close()

    def ask(self, what: str, **body: Any) -> dict[str, Any]:
        """The answer's JSON object. Raises ReplicationError with a sentence for whatever is wrong."""
        text, _ = self._asked(what, body)
        return _object(text)

    def ask_bytes(self, what: str, **body: Any) -> tuple[dict[str, Any], memoryview]:
        """(head, the bytes behind it), of "rows" and "blocks". Raises ReplicationError."""
        text, rest = self._asked(what, body)
        return _object(text), rest

    def _asked(self, what: str, body: Mapping[str, Any]) -> tuple[str, memoryview]:
        raw = json.dumps(body, separators=(",", ":")).encode()
        for last in (False, True):
            challenge, self._challenge = self._challenge, ""
            answer, nonce = self._post(what, raw, challenge or self._new_challenge())
            if answer.status != 403 or last:
                break
        return self._judged(answer, nonce, headed=what in HEADED)

    def _me(self) -> Designation:
        me = self._ft.designation()
        if me is None:
            raise ReplicationError("this server does not know which one it is: enter both addresses in the settings")
        return me

    def _url(self) -> str:
        peer = self._me().other
        try:
            return parse_address(f"{peer}_address", self._ft.settings.cached()[1].address_of(peer)).url
        except SettingsError as error:
            raise ReplicationError(f"the address of {peer} cannot be used: {error}") from None

    def _send(self, method: str, path: str, body: bytes | None, once: str) -> tuple[Answer, str]:
        keys, nonce = self._ft.config.secret_keys, protocol.new_nonce()
        try:
            headers = {protocol.ASK_HEADER: protocol.make_ask(keys, self._me(), nonce)}
            if body is not None:
                headers |= {ONCE_HEADER: once, "Content-Type": "application/json"}
            target = ("/" + self._ft.config.url_prefix.strip("/") + path).replace("//", "/")
            limits: dict[str, Any] = {"limit_s": self._limit_s, "bytes_max": ANSWER_BYTES_MAX}
            return self._client.ask(method, self._url(), target, headers=headers, body=body, **limits), nonce
        except HttpFailure as failure:
            raise ReplicationError(f"{self._me().other} cannot be asked: {failure.detail}") from None
        except (protocol.ProtocolError, OSError) as error:
            raise ReplicationError(f"{self._me().other} cannot be asked: {error}") from None

    def _post(self, what: str, raw: bytes, challenge: str) -> tuple[Answer, str]:
        once = make_once(self._ft.config.secret_keys, self._me(), challenge, what, raw)
        return self._send("POST", f"/node/content/{what}", raw, once)

    def _new_challenge(self) -> str:
        answer, nonce = self._send("GET", "/node/state", None, "")
        self._keep_challenge(answer, nonce)
        if not self._challenge:
            raise ReplicationError(
                f"{self._me().other} gave no challenge (HTTP status {answer.status}); its Redis may be down"
            )
        challenge, self._challenge = self._challenge, ""
        return challenge

    def _keep_challenge(self, answer: Answer, nonce: str) -> None:
        header = answer.headers.get(protocol.STATE_HEADER.lower(), "")
        if header:
            try:
                _, self._challenge = protocol.read_state(self._ft.config.secret_keys, header, nonce, self._me().other)
            except protocol.ProtocolError:
                self._challenge = ""  # asked for anew

    def _judged(self, answer: Answer, nonce: str, *, headed: bool) -> tuple[str, memoryview]:
        peer, keys = self._me().other, self._ft.config.secret_keys
        self._keep_challenge(answer, nonce)
        body = memoryview(answer.body)
        if headed and answer.status == 200:
            end = answer.body.find(b"\n", 0, HEAD_BYTES_MAX)
            text, rest = answer.body[: max(end, 0)].decode("utf-8", "replace"), body[end + 1 :]
        else:
            text, rest = answer.text, body[:0]
        signature = answer.headers.get(protocol.BODY_HEADER.lower(), "")
        if answer.status == 404 and not signature:
            raise ReplicationError(f"{peer} runs a version without replication of content")
        if not protocol.body_is_signed(keys, signature, peer, nonce, text):
            raise ReplicationError(f"the answer of {peer} is not signed by it, HTTP status {answer.status}")
        if answer.status != 200:
            raise ReplicationError(f"{peer} answers HTTP status {answer.status}: {_error(text)}")
        return text, rest


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ReplicationError("the other server's answer is no JSON object")
    return found


def _error(text: str) -> str:
    try:
        return str(json.loads(text).get("error", ""))[:300]
    except (ValueError, AttributeError):
        return text[:100]
