"""A web address as health check, and the exchange that AXL shares with it.

``ftplugin.http_client`` is used, not ``requests``: one limit holds from the connect to the last byte, so an answer that drips
ends there, and one without end at ``BYTES_MAX``. It follows no redirect. A look-up of a name may hang longer, in its thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from ftplugin.health.tables import HealthTable
from ftplugin.http_client import Answer, HttpClient, HttpFailure
from ftplugin.tls import TlsFiles

BYTES_MAX = 262_144
QUOTED_CHARS_MAX = 120
REDIRECTS = range(300, 400)


class WebProblem(Exception):
    """No answer that can be judged; the message says why."""


class Endpoint:
    """One address asked again and again, each time on a new connection: that it can be made is what is checked."""

    def __init__(self, url: str, *, limit_s: float, ca_file: str, verify: bool, hidden: tuple[str, ...] = ()) -> None:
        """hidden: secrets that are sent, which a server may send back; ``quoted`` takes them out."""
        parts = urlsplit(url)
        self._base = f"{parts.scheme}://{parts.netloc}"
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._limit_s, self._secure, self._hidden = limit_s, parts.scheme == "https", hidden
        self._trusted = TlsFiles(ca=ca_file) if verify else None
        self._client = HttpClient(self._context)

    def _context(self) -> ssl.SSLContext:
        """Raises OSError or ValueError when ca_file cannot be used."""
        if self._trusted is not None:
            return self._trusted.context()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def quoted(self, text: str) -> str:
        """The beginning of what a server said, as it may be shown."""
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return text.strip()[:QUOTED_CHARS_MAX]

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """The answer within the limit. Raises WebProblem, also for a redirect."""
        try:
            if self._secure:
                self._context()
        except (OSError, ValueError) as error:
            raise WebProblem(f"ca_file: {error}") from None
        try:
            answer = self._client.ask(
                method,
                self._base,
                target,
                limit_s=self._limit_s,
                headers={**headers, "Connection": "close"},
                body=body,
                bytes_max=BYTES_MAX,
                fresh=True,
                keep=False,
            )
        except HttpFailure as failure:
            raise WebProblem(failure.detail.replace("FT_TLS_CA", "ca_file")) from None
        if answer.status in REDIRECTS:
            to = self.quoted(answer.headers.get("location", ""))
            raise WebProblem(f"answers HTTP {answer.status}, a redirect to {to!r}, which is not followed")
        return answer


def http(table: HealthTable) -> Callable[[], str]:
    """Check of kind "http": "" for the wanted status and text, else what was wrong."""
    options = table.options
    page = Endpoint(options["url"], limit_s=table.timeout_s, ca_file=options["ca_file"], verify=options["verify"])

    def check() -> str:
        try:
            answer = page.ask("GET", page.target, {"Accept": "*/*"})
        except WebProblem as problem:
            return str(problem)
        if answer.status != options["status"]:
            return f"answers HTTP {answer.status}, not {options['status']}"
        if options["text"] not in answer.text:
            return f"answers HTTP {answer.status} without the text {options['text'][:60]!r}"
        return ""

    return check
