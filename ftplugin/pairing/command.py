"""One signed command of the command line or the page to the other server's node API, and its signed answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import protocol
from ..core.settings import SettingsError, parse_address
from ..core.terms import Designation
from ..http_client import Answer, HttpClient, HttpFailure
from .exchange import PairingError

if TYPE_CHECKING:
    from ..extension import Portal

LIMIT_S = 5.0
BYTES_MAX = 8_192


class PeerSilent(PairingError):
    """The other server did not answer, or not with a signed answer."""


def tell(ft: Portal, name: str, body: Mapping[str, Any], limit_s: float = LIMIT_S) -> dict[str, Any]:
    """The other server's answer to the command ``name``, believed for its signature.

    limit_s: for both questions together, seconds. Raises PeerSilent, PairingError when it refuses.
    """
    me = ft.designation()
    if me is None:
        raise PeerSilent("this server does not know which one it is: enter both addresses in the settings")
    asking = _Asking(ft, me, time.monotonic() + limit_s)
    answer, nonce = asking.ask("GET", "state", None)
    header = answer.headers.get(protocol.STATE_HEADER.lower(), "")
    try:
        _, challenge = protocol.read_state(ft.config.secret_keys, header, nonce, me.other)
        raw = protocol.make_command(ft.config.secret_keys, me, challenge, name, body)
    except protocol.ProtocolError as error:
        raise PeerSilent(f"{asking.where}: {error}") from None
    answer, nonce = asking.ask("POST", "command", raw)
    signature = answer.headers.get(protocol.BODY_HEADER.lower(), "")
    if not protocol.body_is_signed(ft.config.secret_keys, signature, me.other, nonce, answer.text):
        raise PeerSilent(f"{asking.where}: its answer to {name} is not signed (HTTP status {answer.status})")
    found = json.loads(answer.text)
    if answer.status != 200 or not isinstance(found, dict):
        text = found.get("error", "") if isinstance(found, dict) else ""
        raise PairingError(f"{me.other} refused {name}: {str(text)[:300] or f'HTTP status {answer.status}'}")
    return found


class _Asking:
    def __init__(self, ft: Portal, me: Designation, deadline_s: float) -> None:
        self._ft, self._me, self._deadline_s = ft, me, deadline_s
        try:
            address = ft.settings.cached()[1].address_of(me.other)
            self._url = parse_address(f"{me.other}_address", address).url
        except SettingsError as error:
            raise PeerSilent(f"the address of {me.other} cannot be used: {error}") from None
        self.where = f"{me.other} at {self._url}"
        self._client = HttpClient(ft.config.tls.context)

    def ask(self, method: str, path: str, body: bytes | None) -> tuple[Answer, str]:
        """(answer, the nonce that it must be signed over)."""
        nonce, left_s = protocol.new_nonce(), self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise PeerSilent(f"{self.where} has taken all the time there was")
        target = ("/" + self._ft.config.url_prefix.strip("/") + f"/node/{path}").replace("//", "/")
        headers = {protocol.ASK_HEADER: protocol.make_ask(self._ft.config.secret_keys, self._me, nonce)}
        try:
            answer = self._client.ask(
                method, self._url, target, limit_s=left_s, headers=headers, body=body, bytes_max=BYTES_MAX,
                fresh=True, keep=False,
            )  # fmt: skip
        except HttpFailure as failure:
            raise PeerSilent(f"{self.where}: {failure.detail}") from None
        return answer, nonce
