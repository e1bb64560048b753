"""What tells one server that the other has sent a request here already, so that none goes round (spec 8: never a loop).

A request that is passed on carries ``X-FT-Forward``, signed with a key of the pair. Whoever gets it and is not active answers 503
and asks nobody. The header also says what the portal must still know: the address of the client, the scheme it used, and the
URL prefix it came through; no allow-list of the portal then mistakes the other server for the client. The signature covers
both servers, method, host and target, so the header fits this one request. One that is not signed is thrown away.

Should the two servers have different keys, ``Via`` ends it: each adds its own address, and refuses what has been there (RFC
9110 7.6.3). A redirect can carry no header: it has the highest known epoch in its query. Standby servers that send a browser
to each other would need a higher one at every step, which none of them has.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from ftplugin import protocol
from ftplugin.core.terms import Designation

HEADER = "X-FT-Forward"
ENVIRON = "HTTP_X_FT_FORWARD"
QUERY_NAME = "ft-hop"
HEADER_CHARS_MAX = 2000
PATH_SAFE = "/:@!$&'()*+,;=-._~"
QUERY_SAFE = string.punctuation  # what is escaped stays so; blanks, controls and non-ASCII become escapes
_MARK = re.compile(rf"(?:^|(?<=&)){QUERY_NAME}=(\d{{1,16}})(?:&|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """What the server that passes a request on knows of it. prefix: the URL prefix of a proxy before it (SCRIPT_NAME)."""

    client: str
    scheme: str
    prefix: str


def target_of(environ: Mapping[str, Any]) -> str:
    """Path and query of a request as both servers write them; always begins with "/"."""
    path = quote(str(environ.get("PATH_INFO", "")).encode("latin-1", "replace"), safe=PATH_SAFE)
    query = quote(str(environ.get("QUERY_STRING", "")).encode("latin-1", "replace"), safe=QUERY_SAFE)
    return ("" if path.startswith("/") else "/") + path + (f"?{query}" if query else "")


def make(keys: Sequence[str], sender: Designation, passed: Passed, method: str, host: str, target: str) -> str:
    """Value of the header. Raises ProtocolError without a key of the pair."""
    fields = "~".join(
        quote(text, safe="/").replace("~", "%7E") for text in (passed.client, passed.scheme, passed.prefix)
    )
    return f"{fields}~{protocol.sign(keys, 'forward', sender, sender.other, fields, method, host, target)}"


def read(keys: Sequence[str], receiver: Designation, header: str, method: str, host: str, target: str) -> Passed:
    """The content of a header that the other server has signed for this very request. Raises ProtocolError."""
    fields, _, signature = header.rpartition("~")
    parts = [unquote(part) for part in fields.split("~")]
    if len(header) > HEADER_CHARS_MAX or len(parts) != 3:
        raise protocol.ProtocolError("unreadable", f"{HEADER} has not the form client~scheme~prefix~signature")
    sender = receiver.other
    if not verify(keys, signature, sender, fields, method, host, target):
        raise protocol.ProtocolError("unsigned", f"{HEADER} is not signed by {sender} for this request")
    return Passed(client=parts[0], scheme=parts[1], prefix=parts[2])


def verify(
    keys: Sequence[str], signature: str, sender: Designation, fields: str, method: str, host: str, target: str
) -> bool:
    return protocol.verify(keys, signature, "forward", sender, sender.other, fields, method, host, target)


def marked(target: str, epoch: int) -> str:
    """``target`` with the mark of a redirect, at the end of its query."""
    return f"{target}{'&' if '?' in target else '?'}{QUERY_NAME}={epoch}"


def unmarked(query: str) -> tuple[str, int | None]:
    """(query without the mark of a redirect, its epoch or None)."""
    found = _MARK.search(query)
    if found is None:
        return query, None
    return (query[: found.start()] + query[found.end() :]).rstrip("&"), int(found[1])
