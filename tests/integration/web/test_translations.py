"""The pages in the two languages of their readers; ``make messages`` keeps the catalogue (docs/architecture.md)."""

from __future__ import annotations

import ast
import html
import inspect
import re
from typing import Any

import pytest
from flask import Flask
from flask_babel import Babel

from ftplugin.history import activity, story
from ftplugin.web import admin, i18n
from ftplugin.web.history_page import WHYS
from tests import messages

from .conftest import Site

FRENCH = {"Accept-Language": "fr-FR,fr;q=0.9,en;q=0.5"}


def catalogue_of(language: str) -> Any:
    return {message.id: message for message in messages.kept(language) if message.id}


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_text_is_translated_with_its_placeholders(language: str) -> None:
    found = list(messages.problems(messages.kept(language)))
    assert found == [], "translate them in " + str(messages.po_file(language))


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_the_catalogue_holds_every_text_of_the_code_and_no_other(language: str) -> None:
    known = set(catalogue_of(language))
    wanted = {message.id for message in messages.found() if message.id}
    assert (wanted - known, known - wanted) == (set(), set()), "run make messages"


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_the_compiled_file_is_of_this_catalogue(language: str) -> None:
    compiled = messages.po_file(language).with_suffix(".mo")
    assert compiled.read_bytes() == messages.compiled(messages.kept(language)), "run make messages"


def test_texts_that_stand_in_tables_are_found_too() -> None:
    wanted = {message.id for message in messages.found() if isinstance(message.id, str)}
    assert {text for _endpoint, text in admin.PAGES} <= wanted


def test_each_reason_for_a_figure_that_is_not_known_can_be_translated() -> None:
    """The pure part gives them and may not mark them, so the page has a list of its own."""
    given = set()
    for node in (node for part in (activity, story) for node in ast.walk(ast.parse(inspect.getsource(part)))):
        named = isinstance(node, ast.keyword) and node.arg == "why"
        named |= isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "why"
        if named and isinstance(node.value, ast.Constant):
            given.add(node.value.value)
    assert given == set(WHYS)


def test_what_is_wrong_in_a_catalogue_is_seen() -> None:
    catalog = messages.Catalog(locale="fr")
    catalog.add("Active", "Actif")
    catalog.add("empty", "")
    catalog.add("unsure", "douteux", flags=["fuzzy"])
    catalog.add("%(count)s of %(all)s", "%(count)s sur %(al)s")
    catalog.add(("%(count)s day", "%(count)s days"), ("%(count)s jour", ""))
    found = "\n".join(messages.problems(catalog))
    assert "'Active'" not in found
    for part in (
        "not translated: 'empty'",
        "unsure: 'unsure'",
        "differ: '%(count)s of",
        "not translated: '%(count)s d",
    ):
        assert part in found


def page(client: Any, path: str = "/ft/admin/licence", **headers: str) -> str:
    answer = client.get(path, headers={name.replace("_", "-"): text for name, text in headers.items()})
    assert answer.status_code == 200
    return html.unescape(answer.text)


def test_the_browsers_language_is_used(site: Site) -> None:
    french = page(site.client, Accept_Language="fr-CA,en;q=0.3")
    assert '<html lang="fr">' in french and "Aucune licence n'est nécessaire ici" in french
    for language in ("en-GB", "de,it;q=0.3", "", "*"):
        english = page(site.client, Accept_Language=language)
        assert '<html lang="en">' in english and "No licence is needed here" in english, language


def test_the_portals_own_choice_comes_before_the_browsers(site: Site) -> None:
    Babel(site.app, locale_selector=lambda: "fr")
    assert "Aucune licence" in page(site.client, Accept_Language="en")


def test_a_language_of_the_portal_that_is_not_here_becomes_english(site: Site) -> None:
    Babel(site.app, locale_selector=lambda: "nl")
    assert '<html lang="en">' in page(site.client, Accept_Language="fr")


def test_every_page_can_be_shown_in_french(site: Site) -> None:
    site.agent()
    site.peer()
    shown = 0
    for _endpoint, text in admin.PAGES:
        path = next(rule.rule for rule in site.app.url_map.iter_rules() if rule.endpoint == f"ft_admin.{_endpoint}")
        french = page(site.client, path, **{"Accept_Language": "fr"})
        for _name, other in admin.PAGES:
            with site.app.test_request_context(headers=FRENCH):
                assert f">{i18n.translate(other)}</a>" in french, path
        assert not re.search(r"%\(\w+\)s", french), f"{path} shows a raw placeholder"
        shown += 1
    assert shown == len(admin.PAGES)


def test_plurals_follow_the_rules_of_the_language() -> None:
    app = Flask("portal")
    texts = ("%(count)s incident", "%(count)s incidents")
    with app.test_request_context(headers=FRENCH):
        assert [i18n.translate_plural(*texts, count) for count in (0, 1, 2)] == [
            "0 incident",
            "1 incident",
            "2 incidents",
        ]
    with app.test_request_context():
        assert i18n.translate_plural(*texts, 0) == "0 incidents"


def test_outside_of_a_request_texts_are_english() -> None:
    assert i18n.translate("Licence") == "Licence" and i18n.translate("Holder") == "Holder"
    assert i18n.translate("") == "", "not the header of the catalogue"
