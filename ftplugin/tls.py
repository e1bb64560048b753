"""TLS towards the other server: whom to trust, what to show, and what was wrong, in words.

One set of files serves every channel: node API and probes (https), agent channel, votes and witness (rediss). The name
in a certificate is compared with the address that was asked, so it needs the IP address among its alternative names.
Nothing here can switch the check off, and nothing falls back to a channel without TLS.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    import ssl

NAME_MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
UNKNOWN_CA = (2, 18, 19, 20, 21)
EXPIRED, NOT_YET = 10, 9
# the other side's alert: what it says of our certificate
_ALERTS = {
    "CERTIFICATE_REQUIRED": "the other server wants a certificate: set FT_TLS_CERT and FT_TLS_KEY",
    "UNKNOWN_CA": "the other server does not trust the CA of FT_TLS_CERT",
    "CERTIFICATE_EXPIRED": "the other server says that FT_TLS_CERT has expired",
    "UNSUPPORTED_PROTOCOL": "the other server speaks no TLS 1.2 or newer",
    "PROTOCOL_VERSION": "the other server speaks no TLS 1.2 or newer",
    "WRONG_VERSION_NUMBER": "the other server does not speak TLS at this port",
    "RECORD_LAYER_FAILURE": "the other server does not speak TLS at this port",
    "EOF": "the other server ended the connection; if it asks for a certificate, set FT_TLS_CERT and FT_TLS_KEY",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsFiles:
    """Paths of PEM files. ca: the CA to trust, "" for the system's. cert, key: shown where the other side asks."""

    ca: str = ""
    cert: str = ""
    key: str = ""

    def problem(self) -> str:
        """What is wrong with the files, beginning with the FT_TLS key; "" when they can be used."""
        if bool(self.cert) != bool(self.key):
            one, other = ("FT_TLS_CERT", "FT_TLS_KEY") if self.cert else ("FT_TLS_KEY", "FT_TLS_CERT")
            return f"{one} is set and {other} is not; set both or neither"
        for name, path in (("FT_TLS_CA", self.ca), ("FT_TLS_CERT", self.cert), ("FT_TLS_KEY", self.key)):
            if path and not os.access(path, os.R_OK):
                return f"{name}={path}: is not there or cannot be read by this user"
        if self.key and os.stat(self.key).st_mode & 0o007:
            return f"FT_TLS_KEY={self.key}: everybody may read it; run: chmod 600 {self.key}"
        if not (self.ca or self.cert):
            return ""
        try:
            _make(self)
        except (OSError, ValueError) as error:
            name, path = ("FT_TLS_CERT", self.cert) if self.cert and "CA" not in str(error) else ("FT_TLS_CA", self.ca)
            return f"{name}={path}: {getattr(error, 'reason', None) or error}; it must be PEM, and fit FT_TLS_KEY"
        return ""

    def context(self) -> ssl.SSLContext:
        """For a client: certificate and address checked, TLS 1.2 or newer. Anew when a file changed.

        A renewal that is half done (a new certificate beside the old key, a file that is gone) takes nothing away from a
        process that runs: it would fail over for that. Raises OSError, ValueError at the first reading.
        """
        with _lock:
            known, mark = _contexts.get(self), self._mark()
            if known is not None and known[0] == mark:
                return known[1]
            try:
                made = _make(self)
            except (OSError, ValueError) as error:
                if known is None:
                    raise
                made = known[1]
                _log.error("FT_TLS_*: the files have changed and cannot be used, the former ones count: %s", error)
            _contexts[self] = (mark, made)
            return made

    def _mark(self) -> tuple[int, ...]:
        marks = []
        for path in filter(None, (self.ca, self.cert, self.key)):
            try:
                marks.append(os.stat(path).st_mtime_ns)
            except OSError:
                marks.append(0)
        return tuple(marks)

    def in_url(self, url: str) -> str:
        """``url`` of a Redis with what redis-py, kombu and Celery need to check its certificate; others unchanged."""
        parts = urlsplit(url)
        if parts.scheme != "rediss" or "ssl_" in parts.query:
            return url
        texts = {name: quote(value, safe="/") for name, value in self.redis_options().items()}
        query = "&".join([*filter(None, [parts.query]), *(f"{name}={text}" for name, text in texts.items())])
        return parts._replace(query=query, path=parts.path or "/0").geturl()

    def redis_options(self) -> dict[str, str]:
        """Keyword arguments of redis-py's SSLConnection, which checks the address by itself."""
        options = {"ssl_cert_reqs": "required"}
        if self.ca:
            options["ssl_ca_certs"] = self.ca
        if self.cert:
            options |= {"ssl_certfile": self.cert, "ssl_keyfile": self.key}
        return options


_contexts: dict[TlsFiles, tuple[tuple[int, ...], ssl.SSLContext]] = {}
_lock = threading.Lock()
_log = logging.getLogger(__name__)


def _make(files: TlsFiles) -> ssl.SSLContext:
    import ssl  # here: the guard and a pair without TLS do without its 2 MB

    try:
        context = ssl.create_default_context(cafile=files.ca or None)
    except OSError as error:
        raise ValueError(f"the CA cannot be used: {getattr(error, 'reason', None) or error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.cert:
        context.load_cert_chain(files.cert, files.key)
    return context


def in_words(error: BaseException, host: str) -> str:
    """What is wrong with a TLS connection to ``host``, and the way out."""
    code, text = getattr(error, "verify_code", None), str(getattr(error, "reason", None) or error)
    if code == EXPIRED:
        return f"TLS: the certificate of {host} has expired; renew it there"
    if code == NOT_YET:
        return f"TLS: the certificate of {host} is not valid yet; compare the clocks"
    if code in NAME_MISMATCH:
        return f"TLS: the certificate is not for {host}; it needs IP:{host} among its alternative names"
    if code in UNKNOWN_CA:
        return f"TLS: the CA of the certificate of {host} is not trusted; name it in FT_TLS_CA"
    if code:
        return f"TLS: the certificate of {host} is refused: {getattr(error, 'verify_message', text)}"
    for alert, words in _ALERTS.items():
        if alert in text.upper().replace(" ", "_"):
            return f"TLS: {words}"
    return f"TLS: {text}"


def problem_within(error: BaseException, host: str) -> str:
    """``in_words`` of the TLS error that another one was raised for; "" when there is none."""
    import ssl

    seen: BaseException | None = error
    for _ in range(5):
        if isinstance(seen, ssl.SSLError):
            return in_words(seen, host)
        seen = None if seen is None else seen.__cause__ or seen.__context__
    return ""


def client_options(files: TlsFiles, wanted: bool) -> tuple[str, dict[str, Any]]:
    """(scheme, options) of a Redis at the other end: rediss when ``wanted``; never both ways."""
    return ("rediss", dict(files.redis_options())) if wanted else ("redis", {})
