"""Texts of the pages in the user's language (GNU gettext, domain ``ftplugin``).

The language is the portal's own where it has Flask-Babel, else the best match of the browser's Accept-Language. Log lines,
sentences of the agent and the command line stay English: they are evidence, and equal on both servers.
"""

from __future__ import annotations

import gettext
import pathlib
from functools import lru_cache

from flask import current_app, has_request_context, request

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
    return request.accept_languages.best_match(LANGUAGES) or LANGUAGES[0]


def translate(text: str, **values: object) -> str:
    """``text`` in the language of the request; ``values`` fill its ``%(name)s``."""
    found = _catalogue(language()).gettext(text) if text else ""
    return found % values if values else found


def translate_plural(one: str, many: str, count: int, **values: object) -> str:
    """``one`` or ``many`` by the rules of the language; both may hold ``%(count)s``."""
    return _catalogue(language()).ngettext(one, many, count) % {"count": count, **values}
