"""The admin pages as one blueprint. Each module beside this one holds some pages and lists them in ``ROUTES``."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from . import i18n
from .access import Route, guarded, protect

PAGES = (  # of the navigation: endpoint, text
    ("index", "Status"),
    ("switching", "Switching"),
    ("settings", "Settings"),
    ("log", "Logs"),
)


def make_blueprint() -> Blueprint:
    """The blueprint ``ft_admin``, below ``<prefix>/admin``."""
    from . import logs, maintenance, overview, settings_page, switching

    blueprint = Blueprint(
        "ft_admin", __name__, url_prefix="/admin", template_folder="templates", static_folder="static"
    )
    routes: tuple[Route, ...] = (
        *overview.ROUTES,
        *switching.ROUTES,
        *maintenance.ROUTES,
        *settings_page.ROUTES,
        *logs.ROUTES,
    )
    for route in routes:
        view = guarded(route.permission, route.view)
        blueprint.add_url_rule(route.path, route.name, view, methods=list(route.methods))
    blueprint.after_request(protect)
    blueprint.context_processor(_names)
    return blueprint


def _names() -> dict[str, Any]:
    return {"_": i18n.translate, "ngettext": i18n.translate_plural, "language": i18n.language(), "ft_pages": PAGES}
