"""A balancer's file, read back: HAProxy, keepalived or NGINX. Only what decides when and where it sends users is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from .nginx import STAND_IN

BYTES_MAX = 512 * 1024


class Unreadable(ValueError):
    """The file is of no kind that is known, or holds nothing that asks servers. The message says the way out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a file says. Empty or None: it does not say; times in seconds.

    kind: a key of EXPORTS. url: path and query that are asked. good: "200", or what the body begins with; empty: not looked
    at. leads: it prefers the first server, the others are spare.
    """

    kind: str
    vip: str = ""
    servers: tuple[str, ...] = ()
    url: str = ""
    good: str = ""
    interval_s: float | None = None
    timeout_s: float | None = None
    fall: int | None = None
    rise: int | None = None
    leads: bool = False
    notes: tuple[str, ...] = field(default=())


def read(raw: bytes) -> Reading:
    """Raises Unreadable."""
    if len(raw) > BYTES_MAX:
        raise Unreadable(f"is larger than {BYTES_MAX // 1024} kB: give the balancer's configuration alone")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("is no text: give the balancer's configuration as it is written on its disk") from None
    for mark, reader in _READERS:
        if re.search(mark, text, re.MULTILINE):
            return reader(text)
    raise Unreadable(
        "is no configuration of HAProxy, keepalived or NGINX with servers in it; other balancers cannot be read back: "
        "compare with 'ft balancer export'"
    )


_UNITS = {"us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(text: str, bare: float) -> float | None:
    """``1500ms``, ``2s``; a number without unit is counted in ``bare`` seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d|)", text)
    if found is None:
        return None
    return float(found[1]) * (_UNITS[found[2]] if found[2] else bare)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


# --- HAProxy: lines of words in sections


def _haproxy(text: str) -> Reading:
    sections: list[tuple[str, list[list[str]]]] = []
    for line in text.splitlines():
        words = re.sub(r"(?<!\\)#.*", "", line).split()
        if not words:
            continue
        if words[0] in (
            "global",
            "defaults",
            "frontend",
            "backend",
            "listen",
            "resolvers",
            "peers",
            "userlist",
            "cache",
        ):
            sections.append((words[0], []))
        elif sections:
            sections[-1][1].append(words)
    defaults = [words for kind, lines in sections if kind == "defaults" for words in lines]
    asking = [lines for kind, lines in sections if kind in ("backend", "listen") and _servers(lines)]
    if not asking:
        raise Unreadable("is of HAProxy, but no backend in it has servers")
    checked = [lines for lines in asking if any("check" in words for words in _servers(lines))]
    lines = (checked or asking)[0]
    notes = [f"{len(asking)} backends have servers; the first that checks them was read"] if len(asking) > 1 else []
    fronts = [words for kind, found in sections if kind in ("frontend", "listen") for words in found]
    binds = [words[1] for words in fronts if words[0] == "bind" and len(words) > 1]
    return _haproxy_backend(lines, defaults, binds[0] if binds else "", tuple(notes))


def _servers(lines: list[list[str]]) -> list[list[str]]:
    return [words for words in lines if words[0] == "server" and len(words) > 2]


def _haproxy_backend(lines: list[list[str]], defaults: list[list[str]], bind: str, notes: tuple[str, ...]) -> Reading:
    both, servers = [*defaults, *lines], _servers(lines)
    base = [word for words in both if words[0] == "default-server" for word in words[1:]]

    def of(words: list[str], name: str) -> str:
        for place in (words, base):
            if name in place[:-1]:
                return place[place.index(name) + 1]
        return ""

    first = servers[0][3:]
    if "check" not in base and any("check" not in words[3:] for words in servers):
        notes = (*notes, "a server without 'check' is never asked: HAProxy takes it for good")
    interval_s = _seconds(of(first, "inter") or "2s", 1e-3)
    timeouts = [words[2] for words in both if words[:2] == ["timeout", "check"] and len(words) > 2]
    url, good = _haproxy_question(both)
    return Reading(
        kind="haproxy",
        vip=bind,
        servers=tuple(words[2] for words in servers),
        url=url,
        good=good,
        interval_s=interval_s,
        timeout_s=_seconds(timeouts[-1], 1e-3) if timeouts else interval_s,
        fall=_number(of(first, "fall") or "3"),
        rise=_number(of(first, "rise") or "2"),
        leads=any("backup" in words for words in servers),
        notes=notes,
    )


def _haproxy_question(lines: list[list[str]]) -> tuple[str, str]:
    """URL and what is good; without httpchk HAProxy only connects, and any status from 200 to 399 is good by itself."""
    url = good = ""
    for words in lines:
        if words[:2] == ["option", "httpchk"]:
            url, good = (words[3] if len(words) > 3 else words[2] if len(words) > 2 else "/"), good or "2xx, 3xx"
        if words[:2] == ["http-check", "send"] and "uri" in words[:-1]:
            url = words[words.index("uri") + 1]
        if words[:2] == ["http-check", "expect"] and len(words) > 3:
            good = words[-1].lstrip("^")
    return url, good


# --- keepalived and NGINX: words in braces


@dataclass(frozen=True, slots=True)
class _Block:
    words: tuple[str, ...]
    inner: tuple["_Block", ...] = ()

    def all(self, *names: str) -> Iterator["_Block"]:
        """Every block below, at any depth, whose first word is one of ``names``."""
        for block in self.inner:
            if block.words and block.words[0] in names:
                yield block
            yield from block.all(*names)

    def word(self, name: str) -> str:
        """The first value of ``name`` below; empty when there is none."""
        return next((block.words[1] for block in self.all(name) if len(block.words) > 1), "")


_DEPTH_MAX = 40


def _blocks(text: str, ends: str, comments: str, quoted: str) -> _Block:
    """ends: what ends a statement beside a brace: a line's end, or a semicolon. quoted: a text in quotes.

    Each part of the pattern takes what it has looked at, also where an end is missing: a file that somebody uploads must not
    hold the portal up for minutes.
    """
    tokens = re.findall(rf"[{comments}][^\n]*|{quoted}|[{{}}]|{ends}|[^\s{{}};\"'][^\s{{}};]*|;", text)
    stack: list[tuple[tuple[str, ...], list[_Block]]] = [((), [])]
    words: list[str] = []
    for token in tokens:
        if token[0] in comments:
            continue
        if token == "{":
            stack.append((tuple(words), []))
            words = []
            if len(stack) > _DEPTH_MAX:
                raise Unreadable("has too many braces one in another")
        elif token in ("}", "\n", ";"):
            if words:
                stack[-1][1].append(_Block(tuple(words)))
                words = []
            if token == "}" and len(stack) > 1:
                head, inner = stack.pop()
                stack[-1][1].append(_Block(head, tuple(inner)))
        else:
            words.append(token.strip("\"'"))
    if len(stack) > 1:
        raise Unreadable("has a brace that is not closed")
    return _Block((), tuple(stack[0][1]))


def _keepalived(text: str) -> Reading:
    root = _blocks(text, r"\n", "#!", r'"(?:[^"\\\n]|\\.)*"?')  # a quote ends with its line at the latest
    virtual = next(root.all("virtual_server"), None)
    if virtual is not None:
        return _lvs(virtual)
    scripts = list(root.all("vrrp_script"))
    if not scripts:
        raise Unreadable(
            "is of keepalived, but has neither a vrrp_script nor a virtual_server: nothing in it asks a server"
        )
    script = scripts[0]
    server, url, timeout_s, good = _command(script.word("script"))
    own = next((block.words[1] for block in root.all("unicast_src_ip") if len(block.words) > 1), "")
    peers = tuple(b.words[0] for block in root.all("unicast_peer") for b in block.inner if b.words)
    vips = [b.words[0] for block in root.all("virtual_ipaddress") for b in block.inner if b.words]
    notes = () if url else ("the script has no URL in its words: what it asks cannot be seen here",)
    if server.rpartition(":")[0].strip("[]") not in ("", own) and own:
        notes = (*notes, f"the script asks {server}, not this server's own address {own}")
    port = server.rpartition(":")[2]
    hosts = [h for h in (own, *peers) if h]
    return Reading(
        kind="keepalived",
        vip=vips[0].split("/")[0] if vips else "",
        servers=tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts) if port else (),
        url=url,
        good=good,
        interval_s=_seconds(script.word("interval") or "1", 1.0),
        timeout_s=timeout_s if timeout_s is not None else _seconds(script.word("timeout"), 1.0),
        fall=_number(script.word("fall") or "1"),
        rise=_number(script.word("rise") or "1"),
        notes=notes,
    )


def _command(text: str) -> tuple[str, str, float | None, str]:
    """(server, URL, limit in seconds, what is good) of a command line with a URL in it: ft-check, or curl."""
    words = text.split()
    place = next((i for i, word in enumerate(words) if re.match(r"https?://", word)), None)
    if place is None:
        return "", "", None, ""
    scheme, _, rest = words[place].partition("://")
    host, _, path = rest.partition("/")
    server = host if re.search(r":\d+$", host) else f"{host}:{443 if scheme == 'https' else 80}"
    after = words[place + 1 :]
    limit = next((words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-m", "--max-time")), "")
    if words[0].endswith("ft-check"):
        limit, good = (after[0] if after else ""), (after[1] if len(after) > 1 else "200")
    else:
        good = "below 400" if any(map(_fails, words)) else ""
    return server, f"/{path}", _seconds(limit, 1.0) if limit else None, good


def _fails(word: str) -> bool:
    """Whether it makes curl fail for a status from 400 on."""
    return word == "--fail" or (word.startswith("-") and word[1:].isalpha() and "f" in word)


def _lvs(virtual: _Block) -> Reading:
    reals = [block for block in virtual.inner if block.words[:1] == ("real_server",) and len(block.words) > 2]
    spare = [block for block in virtual.inner if block.words[:1] == ("sorry_server",) and len(block.words) > 2]
    if not reals:
        raise Unreadable("is of keepalived, but its virtual_server has no real_server")
    joined = [
        f"[{b.words[1]}]:{b.words[2]}" if ":" in b.words[1] else f"{b.words[1]}:{b.words[2]}" for b in (*reals, *spare)
    ]
    first = reals[0]
    _, url, timeout_s, good = _command(first.word("misc_path"))
    if not url:
        url, good = first.word("path"), first.word("status_code")
        timeout_s = _seconds(first.word("connect_timeout") or "5", 1.0)
    retry = _number(first.word("retry") or "1")
    vip = virtual.words[1:3]
    return Reading(
        kind="keepalived-lvs",
        vip=(f"[{vip[0]}]:{vip[1]}" if ":" in vip[0] else ":".join(vip)) if len(vip) == 2 else "",
        servers=tuple(joined),
        url=url,
        good=good,
        interval_s=_seconds(first.word("delay_loop") or virtual.word("delay_loop") or "60", 1.0),
        timeout_s=timeout_s,
        fall=None if retry is None else retry + 1,
        leads=bool(spare),
    )


def _nginx(text: str) -> Reading:
    root = _blocks(text, ";", "#", r""""(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?""")
    pools = [block for block in root.all("upstream")]
    if not pools:
        raise Unreadable("is of NGINX, but has no upstream with servers")
    listens = [b.word("listen") for b in root.all("server") if b.inner and b.word("listen") != STAND_IN]
    checks = list(root.all("health_check"))
    values = dict(word.partition("=")[::2] for block in checks for word in block.words[1:])
    asks = [b for b in root.all("location") if b.words[-1].startswith("/.ft/")]
    members = [b.words[1:] for pool in pools for b in pool.inner if b.words[:1] == ("server",) and len(b.words) > 1]
    members = [words for words in members if words[0] != STAND_IN]
    vip, servers = (listens[0] if listens else ""), tuple(words[0] for words in members)
    leads = any("backup" in words for words in members)
    if checks:
        match = next(root.all("match"), _Block(()))
        body = next((b.words[-1].lstrip("^") for b in match.all("body")), "")
        return Reading(
            kind="nginx-plus",
            vip=vip,
            servers=servers,
            leads=leads,
            url=values.get("uri", "/"),
            good=body or match.word("status") or "2xx, 3xx",
            interval_s=_seconds(values.get("interval", "5s"), 1.0),
            timeout_s=_seconds(root.word("proxy_read_timeout") or "60s", 1.0),
            fall=_number(values.get("fails", "1")),
            rise=_number(values.get("passes", "1")),
        )
    if asks:
        target = re.sub(r"^https?://[^/]+", "", asks[0].word("proxy_pass"))
        limit_s = _seconds(asks[0].word("proxy_read_timeout") or "60s", 1.0)
        return Reading(kind="nginx", vip=vip, servers=servers, url=target, good="200", timeout_s=limit_s)
    first = dict(word.partition("=")[::2] for word in members[0][1:]) if members else {}
    note = "the open source NGINX asks no URL: it counts users' requests that fail"
    fall, out_s = _number(first.get("max_fails", "1")), _seconds(first.get("fail_timeout", "10s"), 1.0)
    interval_s = out_s / fall if fall and out_s is not None else None
    return Reading(kind="nginx", vip=vip, servers=servers, fall=fall, interval_s=interval_s, leads=leads, notes=(note,))


_READERS: Sequence[tuple[str, Callable[[str], Reading]]] = (  # blanks of a line, not of all lines that follow
    (r"^[ \t]*(vrrp_script|vrrp_instance|virtual_server)\b.*\{", _keepalived),
    (r"^[ \t]*upstream[ \t]+\S+\s*\{", _nginx),
    (r"^[ \t]*(backend|listen)[ \t]+\S+[ \t\r]*$", _haproxy),
)
