"""The other server by its own signed word: portal, key, version, settings, clock; and the settings' own rules."""

from __future__ import annotations

import ctypes

from ftplugin.core import rules as core_rules
from ftplugin.store.settings_store import Contradictions
from ftplugin.core.skew import SKEW_WARNING_S, SkewLevel, skew_level

from .finding import Answers, Finding, Place, Report, Subject
from .portal_http import Heard, hear

STA_UNSYNC, TIME_ERROR = 0x0040, 5  # adjtimex(2)
NOT_HEARD = "Make the other server's portal answer first."


def ask(where: Place) -> Heard:
    """The peer's portal, asked as the agent asks it."""
    paths = (where.path("monitor"), where.path("node/state"))
    other = where.me.other
    config = where.portal.config
    return hear(config.secret_keys, where.me, other, where.address_of(other), paths, where.limit_s, config.tls)


def portal(where: Place, answers: Answers) -> list[Finding]:
    """HTTP to the peer's portal, with a signed state."""
    report = Report(id="peer.portal", subject=Subject.PEER)
    heard, address = answers.peer, where.address_of(where.me.other)
    if heard.state is not None and heard.page is not None:
        took_ms = heard.page.took_s * 1000
        return [report.ok(f"Its portal answers at {address.url} with a signed state, in {took_ms:.0f} ms.")]
    todo = {
        "silent": f"Start its portal, let it listen at {address.host}, and let the firewall pass port {address.port}.",
        "status": f"Mount the plugin there at the same FT_URL_PREFIX ({where.portal.config.url_prefix}).",
        "redirect": "Let the login of that portal leave out the pages of the plugin.",
        "unsigned": "Pair the servers ('ft pair'), or give both the same FT_SECRET_KEYS and restart portal and workers.",
        "unconfigured": "Enter both addresses on that server too ('ft settings set ...').",
        "no state": "Make the Redis of that server answer.",
    }
    unreadable = "Install the same version on both servers, and look who answers at this address."
    return [report.wrong(f"Its portal at {address.url}: {heard.problem}.", todo.get(heard.cause, unreadable))]


def key(where: Place, answers: Answers) -> list[Finding]:
    """FT_SECRET_KEYS of both servers fit."""
    report = Report(id="peer.key", subject=Subject.PEER)
    heard, count = answers.peer, len(where.portal.config.secret_keys)
    if heard.state is not None:
        rotation = f" ({count} keys are valid: a rotation is going on)" if count > 1 else ""
        return [report.ok(f"The secret key fits: its signature is verified{rotation}.")]
    if heard.cause == "unsigned":
        todo = "Run 'ft pair', or put the same FT_SECRET_KEYS on both servers and restart portal and workers."
        return [report.wrong(f"The secret keys of the two servers do not fit: {heard.problem}.", todo)]
    return [report.unknown("Whether the secret keys fit is not known: there is no signed state.", NOT_HEARD)]


def hears_us(where: Place, answers: Answers) -> list[Finding]:
    """The other direction: when the peer's agent last had a good answer from this server's portal."""
    report = Report(id="peer.hears", subject=Subject.PEER)
    state, stale_s = answers.peer.state, where.timing.stale_s
    if state is None:
        return [report.unknown("Whether it hears this server is not known.", NOT_HEARD)]
    own = where.address_of(where.me)
    url = f"{own.url}{where.path('monitor')}?mod=NONE"
    todo = f"From {where.me.other}, open {url}: a firewall or a wrong address is likely."
    age_s = state.heard_asker_age_s
    if state.agent_age_s is None or state.agent_age_s > stale_s:
        return [report.unknown("Its agent does not tick, so it hears nobody.", "Start its agent first.")]
    if age_s is None:
        return [report.wrong("Its agent has never heard this server.", todo)]
    if age_s > stale_s:
        return [report.wrong(f"Its agent last heard this server {age_s:.0f} s ago, limit {stale_s:g} s.", todo)]
    return [report.ok(f"It heard this server {age_s:.1f} s ago.")]


def agent(where: Place, answers: Answers) -> list[Finding]:
    """The peer's agent ticks."""
    report = Report(id="peer.agent", subject=Subject.PEER)
    state, stale_s = answers.peer.state, where.timing.stale_s
    if state is None:
        return [report.unknown("Whether its agent ticks is not known.", NOT_HEARD)]
    todo = "Start tick worker and beat on that server and read its log there ('ft log')."
    if state.agent_age_s is None:
        return [report.wrong("Its agent has not ticked since that server was started.", todo)]
    if state.agent_age_s > stale_s:
        return [report.wrong(f"Its agent last ticked {state.agent_age_s:.0f} s ago, limit {stale_s:g} s.", todo)]
    return [report.ok(f"Its agent ticked {state.agent_age_s:.1f} s ago; it is {state.role} at epoch {state.epoch}.")]


def version(where: Place, answers: Answers) -> list[Finding]:
    """Both servers run one version."""
    report = Report(id="peer.version", subject=Subject.PEER)
    state, own = answers.peer.state, where.portal.version
    if state is None:
        return [report.unknown(f"Its version is not known; here it is {own}.", NOT_HEARD)]
    if state.version != own:
        todo = "Finish the upgrade: install the same version on both servers and restart portal and workers."
        return [report.warning(f"It runs version {state.version}, this server {own}.", todo)]
    return [report.ok(f"Both servers run version {own}.")]


def same_settings(where: Place, answers: Answers) -> list[Finding]:
    """Both servers run by the same revision with the same values."""
    report = Report(id="peer.settings", subject=Subject.PEER)
    state, own = answers.peer.state, f"revision {where.revision} (mark {where.settings.mark})"
    if state is None:
        return [report.unknown(f"Its settings are not known; here is {own}.", NOT_HEARD)]
    if not state.settings_revision:
        return [report.unknown("Its agent has not said which settings it runs by.", "Start its agent first.")]
    if (state.settings_revision, state.settings_mark) != (where.revision, where.settings.mark):
        found = f"It runs by revision {state.settings_revision} (mark {state.settings_mark}), this server has {own}."
        todo = (
            "Wait for two heartbeats; if it stays so, save the settings once more on this server ('ft settings set')."
        )
        return [report.wrong(found, todo)]
    return [report.ok(f"Both servers run by {own}.")]


def skew(where: Place, answers: Answers) -> list[Finding]:
    """The clocks of both servers; nothing is decided by them, but logs and edits of settings are compared by time."""
    report = Report(id="clock.skew", subject=Subject.CLOCKS)
    skew_s, page = answers.peer.skew_s, answers.peer.page
    if skew_s is None or page is None:
        return [report.unknown("The clock of the other server is not known.", NOT_HEARD)]
    found = f"The clock of the other server is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} this one's"
    todo = "Set both clocks by the same NTP source: the later one of two edits of the settings wins, by these clocks."
    level = skew_level(abs(skew_s) - page.took_s / 2)  # half a round trip cannot be told from skew
    if level is SkewLevel.ALARM:
        return [report.wrong(f"{found}.", todo)]
    if level is SkewLevel.WARNING:
        return [report.warning(f"{found}.", todo)]
    return [report.ok(f"{found} (within {SKEW_WARNING_S:g} s).")]


class _Timex(ctypes.Structure):
    """The head of struct timex, adjtimex(2); the rest is room."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
    ]
    _fields_ += [("status", ctypes.c_int), ("room", ctypes.c_char * 512)]


def ntp(where: Place) -> list[Finding]:
    """Whether somebody keeps this host's clock; asking the kernel needs no rights."""
    report = Report(id="clock.ntp", subject=Subject.CLOCKS)
    hand = "Look by hand: 'timedatectl' or 'chronyc tracking'."
    call = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    timex = _Timex()
    state = -1 if call is None else int(call(ctypes.byref(timex)))
    if state < 0:
        return [report.unknown("The kernel does not tell whether this clock is synchronised.", hand)]
    if state == TIME_ERROR or timex.status & STA_UNSYNC:
        todo = "Run chrony (with 'rtcsync') or systemd-timesyncd, on both servers by the same source."
        return [report.warning("The kernel says that nobody synchronises the clock of this server.", todo)]
    return [report.ok("The clock of this server is synchronised.")]


def rules(where: Place) -> list[Finding]:
    """The settings' own contradictions and warnings (ftplugin/core/rules.py), also those that were overridden."""
    report = Report(id="settings.rules", subject=Subject.SETTINGS)
    if where.settings_error:
        return [report.unknown("The settings cannot be read.", "See the finding on the database.")]
    if not where.revision:
        return [
            report.warning(
                "No settings were ever saved; the defaults are in force.", "Save them: docs/install.md, step 7."
            )
        ]
    findings = []
    try:
        where.portal.settings.checked({}, where.settings, "asked by the doctor")
    except Contradictions as error:
        findings += [report.wrong(f"{p.field}: {p.message}.", f"Correct {p.field}.") for p in error.problems]
    reason = str(where.portal.settings.document().get("override_reason", "")).strip()
    kept = f" It was saved against this warning: {reason}." if reason else ""
    for problem in core_rules.check(where.settings, where.portal.settings.slowest_check_s()):
        if problem.severity == "warning":
            todo = f"Change {problem.field}, or keep it knowingly.{kept}"
            findings.append(report.warning(f"{problem.field} {problem.message}.", todo))
    s = where.settings
    good = f"Revision {where.revision} breaks no rule: T {s.interval_s:g} s, t {s.timeout_s:g} s, N {s.threshold}."
    return findings or [report.ok(good)]
