"""Texts of the pages in the user's language (GNU gettext, domain ``ftplugin``).

The language is the portal's own where it has Flask-Babel, else the best match of the browser's Accept-Language. Log lines,
sentences of the agent and the command line stay English: they are evidence, and equal on both servers.
"""

from __future__ import annotations

import gettext
import pathlib
from functools import lru_cache

from flask import current_app, has_request_context, request

from ftplugin.said import Said

DOMAIN = "ftplugin"
FOLDER = pathlib.Path(__file__).parent.parent / "translations"
LANGUAGES = ("en", "fr")


@lru_cache(maxsize=len(LANGUAGES))
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, FOLDER, [language], fallback=True)


def language() -> str:
    """The language of the current request, one of LANGUAGES."""
    if not has_request_context():
        return LANGUAGES[0]
    if "babel" in current_app.extensions:
        from flask_babel import get_locale

        locale = get_locale()
        return locale.language if locale is not None and locale.language in LANGUAGES else LANGUAGES[0]
    # not best_match(): for "fr-CA,en;q=0.3" it finds "en", since no "fr" stands there
    wanted = (tag.lower().partition("-")[0] for tag, quality in request.accept_languages if quality > 0)
    return next((name for name in wanted if name in LANGUAGES), LANGUAGES[0])


def N_(text: str) -> str:
    """``text`` itself: marks a text of a table for extraction, which ``translate`` gets later."""
    return text


# What the agent's documents hold as single words and templates show translated. The roles keep the guide's English names.
WORDS = (
    *(
        N_("active"),
        N_("starting"),
        N_("standby"),
        N_("stopping"),
        N_("dead"),
        N_("unknown"),
    ),  # of a service, of a role
    *(N_("up"), N_("down")),  # of the LAN
    *(
        N_("this server"),
        N_("the other server"),
        N_("both servers"),
        N_("nobody"),
        N_("not known"),
    ),  # where the VIP leads
    *(N_("Server #1"), N_("Server #2"), N_("Error")),
    N_("degraded"),  # of a health check, beside "ok" and "failed"
    *(N_("ok"), N_("failed"), N_("skipped"), N_("running")),  # of a step
    *(N_("order"), N_("heard"), N_("drained"), N_("switch"), N_("settings"), N_("services"), N_("lan")),  # pre-checks
    *(N_("pause"), N_("freeze"), N_("mode"), N_("time")),
    *(  # why a heartbeat was bad (ProbeCause)
        N_("timeout"),
        N_("connection error"),
        N_("wrong status"),
        N_("redirect"),
        N_("answer too large"),
        N_("node state missing"),
        N_("node state not signed by the peer"),
        N_("node state unreadable"),
        N_("agent has not ticked"),
        N_("application error"),
    ),
)


def translate(text: str, **values: object) -> str:
    """``text`` in the language of the request; ``values`` fill its ``%(name)s``. A ``Said`` brings its own."""
    if isinstance(text, Said):
        values, text = dict(text.facts), text.text
    values = {name: translate(value) if isinstance(value, Said) else value for name, value in values.items()}
    found = _catalogue(language()).gettext(text) if text else ""
    return found % values if values else found


def translate_plural(one: str, many: str, count: int, **values: object) -> str:
    """``one`` or ``many`` by the rules of the language; both may hold ``%(count)s``."""
    return _catalogue(language()).ngettext(one, many, count) % {"count": count, **values}
