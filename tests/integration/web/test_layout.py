"""The pages inside the portal's own layout, and the portal's templates in place of ours."""

from __future__ import annotations

import re
from typing import Any

import jinja2
import pytest
from flask import Flask, flash

from ftplugin import FaultTolerance

from .test_mounting import ADMIN, everybody, pages

LAYOUT = """<!doctype html><html lang="de"><head><title>{% block title %}{% endblock %} - Amt</title>
<link rel="stylesheet" href="/amt.css">{% block head %}<meta name="amt" content="1">{% endblock %}</head>
<body><nav><a href="{{ url_for('home') }}">{{ _('Home') }}</a> {{ language }}</nav>
{% for text in get_flashed_messages() %}<p class="amt">{{ text }}</p>{% endfor %}
<main>{% block content %}{% endblock %}</main>{{ form }}</body></html>"""


def with_layout(app: Flask, text: str = LAYOUT, **more: str) -> Flask:
    app.add_url_rule("/", endpoint="home", view_func=lambda: "portal")
    app.jinja_loader = jinja2.DictLoader({"amt/base.html": text, **more})
    app.jinja_env.globals["_"] = lambda word: f"[{word}]"
    app.context_processor(lambda: {"language": "deutsch"})
    return app


def test_the_pages_stand_inside_the_portals_layout(make_app: Any) -> None:
    app = with_layout(make_app())
    FaultTolerance(app, authorize=everybody, layout="amt/base.html")
    shown = set()
    for path in pages(app):
        page = app.test_client().get(path)
        if page.status_code != 200 or "<html" not in page.text:
            continue
        shown.add(path)
        assert page.text.count("<html") == page.text.count("<main") == page.text.count("</html>") == 1, path
        assert " - Amt</title>" in page.text and "<title> -" not in page.text
        assert 'href="/amt.css"' in page.text and 'name="amt"' in page.text and "ft.css" in page.text
        assert '<nav><a href="/">[Home]</a> deutsch</nav>' in page.text, "the layout sees its own names, not ours"
        assert 'aria-label="Hot Standby"' in page.text and 'lang="de"' in page.text
    assert {ADMIN + name for name in ("", "switching", "settings", "log", "rules", "licence")} <= shown, shown


def test_messages_are_shown_once_and_those_of_the_portal_too(make_app: Any) -> None:
    app = with_layout(make_app())
    app.add_url_rule("/say", endpoint="say", view_func=lambda: str(flash("from the portal")))
    FaultTolerance(app, authorize=everybody, layout="amt/base.html")
    client = app.test_client()
    client.get("/say")
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(ADMIN + "switching").text)[1]
    client.get("/say")
    client.post(ADMIN + "resume", data={"csrf_token": token})
    page = client.get(ADMIN).text
    assert page.count("automatic switching resumed") == 1
    assert page.count('<p class="amt">from the portal</p>') == 1


@pytest.mark.parametrize(
    ("text", "log"),
    [
        ("{% extends 'nowhere.html' %}", "layout 'amt/base.html' failed"),
        ("{{ url_for('no_such_page') }}{% block content %}{% endblock %}", "layout 'amt/base.html' failed"),
        ("<html>{% block body %}{% endblock %}</html>", "has no block 'content'"),
    ],
)
def test_a_layout_that_fails_never_hides_the_page(make_app: Any, caplog: Any, text: str, log: str) -> None:
    app = with_layout(make_app(), text)
    FaultTolerance(app, authorize=everybody, layout="amt/base.html")
    page = app.test_client().get(ADMIN)
    assert page.status_code == 200
    assert page.text.count("<html") == 1 and 'id="ft-status"' in page.text and "ft.css" in page.text
    assert log in caplog.text


def test_a_layout_without_a_head_block_still_gets_the_style_sheet(make_app: Any) -> None:
    app = with_layout(make_app(), "<html><body>{% block content %}{% endblock %}</body></html>")
    FaultTolerance(app, authorize=everybody, layout="amt/base.html")
    assert app.test_client().get(ADMIN).text.count("ft.css") == 1


def test_a_function_can_be_the_layout(make_app: Any) -> None:
    app = make_app()
    FaultTolerance(
        app, authorize=everybody, layout=lambda title, head, body: f"<title>{title}!</title>{head}<main>{body}</main>"
    )
    page = app.test_client().get(ADMIN).text
    assert re.search(r"<title>[^<]+!</title><link[^>]+ft.css", page) and 'id="ft-status"' in page


def test_a_portal_overrides_single_templates(make_app: Any) -> None:
    app = with_layout(make_app(), **{"ftplugin/licence.html": "<p>ask {{ ft.version and 'the desk' }}</p>"})
    FaultTolerance(app, authorize=everybody)
    client = app.test_client()
    assert client.get(ADMIN + "licence").text == "<p>ask the desk</p>"
    assert "<html" in client.get(ADMIN).text
