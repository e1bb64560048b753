"""The admin pages as one blueprint. Each module beside this one holds some pages and lists them in ``ROUTES``."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from ftplugin.extension import portal

from . import i18n
from .access import Route, guarded, may, protect
from .frame import framed, framing, other_messages
from .i18n import N_

PAGES = (  # of the navigation: endpoint, text
    ("index", N_("Status")),
    ("switching", N_("Switching")),
    ("settings", N_("Settings")),
    ("replication_page", N_("Replication")),
    ("history", N_("History")),
    ("log", N_("Logs")),
    ("balancer", N_("Balancer")),
    ("alerts", N_("Alerts")),
    ("rules", N_("Rules")),
    ("licence", N_("Licence")),
)


def make_blueprint() -> Blueprint:
    """The blueprint ``ft_admin``, below ``<prefix>/admin``."""
    from . import (
        alerts_page,
        balancer_page,
        history_page,
        licence_page,
        logs,
        maintenance,
        overview,
        replication_page,
        rules_page,
        settings_history_page,
        settings_page,
        switching,
    )

    blueprint = Blueprint(
        "ft_admin", __name__, url_prefix="/admin", template_folder="templates", static_folder="static"
    )
    routes: tuple[Route, ...] = (
        *overview.ROUTES,
        *rules_page.ROUTES,
        *switching.ROUTES,
        *maintenance.ROUTES,
        *settings_page.ROUTES,
        *settings_history_page.ROUTES,
        *replication_page.ROUTES,
        *history_page.ROUTES,
        *logs.ROUTES,
        *licence_page.ROUTES,
        *balancer_page.ROUTES,
        *alerts_page.ROUTES,
    )
    for route in routes:
        view = guarded(route.permission, route.view)
        blueprint.add_url_rule(route.path, route.name, view, methods=list(route.methods))
    blueprint.after_request(protect)
    blueprint.context_processor(_names)
    return blueprint


def _names() -> dict[str, Any]:
    if framing():  # the portal's layout, with the portal's names
        return {"get_flashed_messages": other_messages}
    ft = portal()
    return {
        "_": i18n.translate,
        "ngettext": i18n.translate_plural,
        "language": i18n.language(),
        "may": may,
        "ft_pages": PAGES,
        "ft_layout": ft.layout,
        "ft_framed": framed,
        "ft_licence": ft.licence.state(),
    }
