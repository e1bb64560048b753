"""The pages inside the portal's own layout: ``FaultTolerance(app, layout="base.html")``, or ``layout=function``.

``base.html`` renders a page's title, head and body apart and gives them to ``framed``, which puts them into the blocks
``title``, ``head`` and ``content`` of the portal's template, or calls the portal's function with them. The portal's template
sees what it sees on the portal's own pages: none of this blueprint's names. Should it fail, the page is shown without it: the
page is wanted most when something is broken.
"""

from __future__ import annotations

from typing import Any

from flask import current_app, g, get_flashed_messages, render_template

from ftplugin.extension import portal

FRAME = "ftplugin/framed.html"
OWN_MESSAGES = ("ft", "ft-error")


def framed(title: str, head: str, body: str) -> str:
    """The whole page, or "" when the portal's layout cannot be used; the portal's log says why."""
    layout = portal().layout
    g.ft_framing = True
    try:
        page = _rendered(title, head, body)
        if head not in page:  # no block for it: a style sheet is allowed in the body too
            page = _rendered(title, "", head + body)
    except Exception:  # whatever the portal's template does: it is code of others
        current_app.logger.exception("ftplugin: layout %r failed; the page is shown without it", layout)
        return ""
    finally:
        g.ft_framing = False
    if body not in page:
        current_app.logger.error("ftplugin: layout %r has no block 'content'; the page is shown without it", layout)
        return ""
    return page


def framing() -> bool:
    """True while the portal's layout is rendered."""
    return bool(g.get("ft_framing"))


def _rendered(title: str, head: str, body: str) -> str:
    layout = portal().layout
    if callable(layout):
        return layout(title, head, body)
    return render_template(FRAME, ft_frame=layout, ft_title=title, ft_head=head, ft_body=body)


def other_messages(with_categories: bool = False, category_filter: Any = ()) -> list[Any]:
    """As Flask's ``get_flashed_messages``, without those that the page itself has shown."""
    found = [pair for pair in get_flashed_messages(with_categories=True) if pair[0] not in OWN_MESSAGES]
    if category_filter:
        found = [pair for pair in found if pair[0] in category_filter]
    return list(found) if with_categories else [pair[1] for pair in found]
