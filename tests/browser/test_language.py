"""The pages speak the language that the browser asks for."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.integration.cluster.harness import Nodes

from .conftest import Visit

SAID = (  # page, what its heading says in French
    ("/settings", "Paramètres"),
    ("/rules", "Règles"),
)


def test_french_browser_gets_french_pages(pair: Nodes, visit: Visit) -> None:
    admin = visit(1, locale="fr-CA")
    for path, heading in SAID:
        page = admin.open(path)
        expect(page.get_by_role("heading", level=1)).to_contain_text(heading)


def test_other_languages_get_english(pair: Nodes, visit: Visit) -> None:
    page = visit(1, locale="pl-PL").open("/settings")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Settings")
