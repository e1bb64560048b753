"""The plugin in portals of many kinds: rights, factories, nested blueprints, proxies, layouts, WSGI servers."""

from __future__ import annotations

import functools
import html
import html.parser
import pathlib
import re
from typing import Any

import pytest
from flask import Blueprint, Flask, abort, redirect, request, session
from flask_login import LoginManager, UserMixin, current_user, login_user
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from ftplugin import FaultTolerance
from ftplugin.core.terms import Role

from .conftest import OWN, MakeSite, Site
from .licences import Vendor

ADMIN = "/ft/admin/"
RIGHTS = ("view", "operate", "configure")
OPEN = {"ft_monitor", "ft_node"}


def everybody(permission: str) -> bool:
    return True


@pytest.fixture
def make_busy(make_site: MakeSite, tmp_path: pathlib.Path) -> Any:
    """A configured site with a licence, in whose pages everything is shown that can be."""

    def make(authorize: Any = everybody) -> Site:
        vendor = Vendor(tmp_path)
        site = make_site(authorize=authorize, FT_LICENCE_KEY=vendor.key)
        site.portal.licence.install(vendor.sign(OWN))
        site.configure()
        site.agent(frozen=True)
        assert site.portal.journal.set_manual_hold(True)
        site.peer()
        site.role(Role.ACTIVE)
        assert site.portal.pause("ann", "works", 5) and site.portal.drain("ann", "works")
        return site

    return make


def admin_rules(app: Flask) -> list[tuple[str, Any]]:
    """(endpoint without its blueprint, rule) of every URL of the admin pages."""
    found = [(rule.endpoint.partition("ft_admin.")[2], rule) for rule in app.url_map.iter_rules()]
    return [(name, rule) for name, rule in found if name]


def path_of(rule: Any) -> str:
    return str(re.sub(r"<\w+>", "none", re.sub(r"<(int|float):\w+>", "1", rule.rule)))


def pages(app: Flask) -> list[str]:
    """Every page of the admin blueprint that can be opened without more."""
    left_out = {"static"}
    return [path_of(rule) for name, rule in admin_rules(app) if "GET" in rule.methods and name not in left_out]


# --- rights --------------------------------------------------------------------------------------------------------


def test_every_url_of_the_admin_pages_is_guarded(site: Site) -> None:
    unguarded = []
    for name, rule in admin_rules(site.app):
        permission = getattr(site.app.view_functions[rule.endpoint], "ft_permission", None)
        if name != "static" and permission not in RIGHTS:
            unguarded.append(rule.rule)
        if rule.methods & {"POST", "PUT", "DELETE", "PATCH"} and permission == "view":
            unguarded.append(f"{rule.rule} changes something with the right to view")
    assert unguarded == []


def test_every_url_that_the_plugin_adds_is_known_to_these_tests(site: Site) -> None:
    known = {"ft_admin", "ft_monitor", "ft_node"}
    added = {rule.endpoint for rule in site.app.url_map.iter_rules()} - {"static"}
    assert {name for name in added if name.split(".")[0] not in known} == {"ft_home", "ft_monitor_legacy"}


@pytest.mark.parametrize("have", [(), ("view",), ("view", "operate"), ("view", "configure"), ("operate", "configure")])
def test_each_right_opens_its_own_urls_and_no_other(make_site: MakeSite, have: tuple[str, ...]) -> None:
    site = make_site(authorize=lambda permission: permission in have)
    site.configure()
    for name, rule in admin_rules(site.app):
        if name == "static":
            continue
        permission = site.app.view_functions[rule.endpoint].ft_permission
        for method in sorted(rule.methods - {"OPTIONS", "HEAD"}):
            answer = site.app.test_client().open(path_of(rule), method=method)
            told = f"{method} {rule.rule} with {have} needs {permission}: {answer.status_code}"
            assert (answer.status_code == 403) == (permission not in have), told
            assert answer.status_code < 500, told
    assert site.orders() == 0


class Ways(html.parser.HTMLParser):
    """Where the links of a page lead, and its forms that have a button: (method, URL)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[tuple[str, str]] = []
        self.form = ("GET", "")
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "form":
            self.form = ((values.get("method") or "get").upper(), values.get("action") or "")
        elif tag == "button" and values.get("type") != "button" or tag == "input" and values.get("type") == "submit":
            self.targets.append((self.form[0], values.get("formaction") or self.form[1]))
        elif tag == "a":
            self.targets.append(("GET", values.get("href") or ""))


@pytest.mark.parametrize("have", [("view",), ("view", "operate"), ("view", "configure")])
def test_no_page_offers_what_its_reader_may_not_do(make_busy: Any, have: tuple[str, ...]) -> None:
    site = make_busy(authorize=lambda permission: permission in have)
    adapter = site.app.url_map.bind("localhost")
    wrong, seen = [], 0
    for path in pages(site.app):
        answer = site.client.get(path)
        if answer.status_code != 200 or answer.mimetype != "text/html":
            continue
        for method, target in Ways(answer.text).targets:
            seen += 1
            url = re.split(r"[?#]", target)[0] or path
            endpoint, _ = adapter.match(url, method=method)
            permission = site.app.view_functions[endpoint].ft_permission
            if permission not in have:
                wrong.append(f"{path}: {method} {target} needs {permission}")
    assert wrong == [] and seen > 30
    page = html.unescape(site.client.get(ADMIN).text)
    assert ("ft-rights-note" in page) == (len(have) < 3)


def test_who_may_do_all_sees_no_note_about_rights(site: Site) -> None:
    assert "ft-rights-note" not in site.client.get(ADMIN).text


def test_a_refusal_says_in_plain_words_what_is_refused(make_site: MakeSite) -> None:
    site = make_site(authorize=lambda permission: permission == "view")
    answer = site.client.post(ADMIN + "pause")
    assert answer.status_code == 403 and "You may not switch, pause or drain" in answer.text


def test_an_answer_that_is_not_true_keeps_out_and_the_log_says_which(make_site: MakeSite, caplog: Any) -> None:
    site = make_site(authorize=lambda permission: 1)
    assert site.client.get(ADMIN).status_code == 403
    assert "authorize('view') returned int; only True lets in" in caplog.text


def test_a_portals_own_decorator_does_the_check(make_app: Any) -> None:
    def admin_required(view: Any) -> Any:
        @functools.wraps(view)
        def inner(*args: Any, **values: Any) -> Any:
            if "user" not in session:
                return redirect("/portal-login")
            if session["user"] != "boss":
                abort(403)
            return view(*args, **values)

        return inner

    app = make_app()
    app.add_url_rule("/enter/<name>", view_func=lambda name: session.update(user=name) or "in", endpoint="enter")
    FaultTolerance(app, authorize=lambda permission: admin_required(lambda: True)())
    client = app.test_client()
    assert client.get(ADMIN).location == "/portal-login"
    client.get("/enter/clerk")
    assert client.get(ADMIN).status_code == 403
    client.get("/enter/boss")
    assert client.get(ADMIN).status_code == 200


class User(UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


def with_logins(app: Flask) -> Flask:
    logins = LoginManager(app)
    logins.login_view = "enter"
    logins.user_loader(User)
    app.add_url_rule("/enter/", endpoint="enter", view_func=lambda: "log in")
    app.add_url_rule("/as/<name>", endpoint="as", view_func=lambda name: str(login_user(User(name))))
    return app


def test_flask_login_with_separate_rights_sends_a_stranger_to_the_log_in_page(make_app: Any) -> None:
    app = with_logins(make_app())
    rights = {"ann": RIGHTS, "bob": ("view",)}
    FaultTolerance(
        app, authorize=lambda permission: current_user.is_authenticated and permission in rights[current_user.id]
    )
    client = app.test_client()
    assert client.get(ADMIN).location.startswith("/enter/")
    client.get("/as/bob")
    assert client.get(ADMIN).status_code == 200
    assert client.post(ADMIN + "pause").status_code == 403
    client.get("/as/ann")
    assert client.post(ADMIN + "pause").status_code == 400, "the form is refused, not the person"


def test_flask_login_may_be_set_up_after_the_plugin(make_app: Any) -> None:
    app = make_app()
    FaultTolerance(app)
    with_logins(app)
    client = app.test_client()
    assert client.get(ADMIN).status_code == 302
    client.get("/as/ann")
    assert client.get(ADMIN).status_code == 200


def test_a_csrf_protection_of_the_portal_lets_the_pages_and_the_peer_through(make_app: Any) -> None:
    app = make_app()
    FaultTolerance(app, authorize=everybody)
    CSRFProtect(app)
    client = app.test_client()
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(ADMIN + "switching").text)[1]
    data = {"csrf_token": token, "reason": "works"}
    assert client.post(ADMIN + "pause", data=data).status_code == 302
    assert client.post(ADMIN + "pause", data={"reason": "works"}).status_code == 400
    assert client.post("/ft/node/command", data=b"{}").status_code == 503, "not 400: no token is asked of the peer"


# --- application factory -------------------------------------------------------------------------------------------


def test_one_extension_object_serves_several_applications(make_app: Any) -> None:
    ft = FaultTolerance(authorize=everybody)
    first, second = make_app(), make_app(FT_URL_PREFIX="/standby", FT_PREFIX="two")
    ft.init_app(first)
    ft.init_app(second, authorize=lambda permission: False)
    assert first.test_client().get(ADMIN).status_code == 200
    assert second.test_client().get("/standby/admin/").status_code == 403
    with first.app_context():
        assert ft.portal.config.prefix == ""
    with second.app_context():
        assert ft.portal.config.prefix == "two"
    with pytest.raises(RuntimeError, match="already mounted"):
        ft.init_app(first)


def test_mounted_at_the_root_the_portal_keeps_its_own_first_page(make_app: Any) -> None:
    app = make_app(FT_URL_PREFIX="")
    app.add_url_rule("/", endpoint="home", view_func=lambda: "portal")
    FaultTolerance(app, authorize=everybody)
    client = app.test_client()
    assert client.get("/").text == "portal"
    assert client.get("/monitor?mod=NONE").text == "OK"
    assert client.get("/admin/").status_code == 200


# --- nested blueprint ----------------------------------------------------------------------------------------------


def test_nested_pages_get_the_checks_and_headers_of_the_outer_blueprint(make_app: Any) -> None:
    app = make_app()
    outer, inner = Blueprint("office", "office", url_prefix="/office"), Blueprint("servers", "s", url_prefix="/servers")

    @outer.before_request
    def closed() -> Any:
        return None if request.headers.get("X-Key") == "open" else ("closed", 401)

    @outer.after_request
    def own_policy(response: Any) -> Any:
        response.headers["Content-Security-Policy"] = "default-src 'self' https://office.example"
        return response

    FaultTolerance(app, authorize=everybody, blueprint=inner)
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    client = app.test_client()
    url = "/office/servers/ft/admin/"
    assert client.get(url).status_code == 401
    client.environ_base["HTTP_X_KEY"] = "open"
    page = client.get(url)
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"] == "default-src 'self' https://office.example"
    assert client.get("/ft/").location == url, "the short address leads there"
    links = re.findall(r'(?:href|src|action|data-url)="([^"#?]+)', page.text)
    assert links and all(link.startswith("/office/servers/ft/admin/") for link in links), links
    style = client.get("/office/servers/ft/admin/static/ft.css")
    assert style.status_code == 200 and "no-store" not in style.headers["Cache-Control"], "browsers may keep it"
    assert page.headers["Cache-Control"] == "no-store"


def test_monitor_and_node_api_stay_where_balancers_and_the_peer_ask(make_app: Any) -> None:
    app, outer = make_app(), Blueprint("office", "office", url_prefix="/office")
    outer.before_request(lambda: ("closed", 401))
    FaultTolerance(app, authorize=everybody, blueprint=outer)
    app.register_blueprint(outer)
    client = app.test_client()
    assert client.get("/ft/monitor?mod=FT").text == "STANDBY"
    assert client.get("/ft/live").status_code == 200
    assert client.get("/ft/node/state").status_code == 503, "not configured yet, but there"


def test_a_blueprint_that_is_registered_already_is_refused_with_the_way_out(make_app: Any) -> None:
    app, outer = make_app(), Blueprint("office", "office", url_prefix="/office")
    app.register_blueprint(outer)
    with pytest.raises(RuntimeError, match="'office' is registered already: mount FaultTolerance first"):
        FaultTolerance(app, blueprint=outer)


def test_an_outer_blueprint_that_was_forgotten_is_named_in_the_log(make_app: Any, caplog: Any) -> None:
    app = make_app()
    FaultTolerance(app, authorize=everybody, blueprint=Blueprint("office", "office"))
    assert app.test_client().get("/ft/").status_code == 404
    assert "is not registered in the app" in caplog.text


# --- behind a proxy ------------------------------------------------------------------------------------------------

LINK = re.compile(r'\b(?:href|src|action|formaction|data-[\w-]*url)="([^"]*)"')


def links_of(text: str) -> list[str]:
    return [html.unescape(link) for link in LINK.findall(text)]


@pytest.mark.parametrize("how", ["ProxyFix", "SCRIPT_NAME"])
def test_under_a_prefix_of_a_proxy_every_link_of_every_page_is_right(make_busy: Any, how: str) -> None:
    site = make_busy()
    if how == "ProxyFix":
        site.app.wsgi_app = ProxyFix(site.app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
        extra: dict[str, Any] = {"headers": {"X-Forwarded-Prefix": "/customer7"}}
    else:
        extra = {"environ_overrides": {"SCRIPT_NAME": "/customer7"}}
    seen = 0
    for path in [*pages(site.app), ADMIN + "switch?target=server2"]:
        answer = site.client.get(path, **extra)
        if answer.mimetype != "text/html" or answer.status_code not in (200, 302):
            continue
        found = links_of(answer.text) + ([answer.location] if answer.location else [])
        wrong = [link for link in found if not link.startswith(("/customer7/", "#", "?"))]
        assert wrong == [], path
        seen += len(found)
    assert seen > 30
    assert site.client.get("/ft/", **extra).location == "/customer7/ft/admin/"


# --- headers -------------------------------------------------------------------------------------------------------


def test_the_pages_bring_a_strict_policy_and_the_portals_own_one_wins(make_app: Any) -> None:
    plain, own = make_app(), make_app()
    FaultTolerance(plain, authorize=everybody)
    assert plain.test_client().get(ADMIN).headers["Content-Security-Policy"].startswith("default-src 'self';")

    @own.after_request
    def policy(response: Any) -> Any:
        response.headers["Content-Security-Policy"] = "default-src 'self' https://cdn.example"
        return response

    FaultTolerance(own, authorize=everybody)
    answer = own.test_client().get(ADMIN)
    assert answer.headers.getlist("Content-Security-Policy") == ["default-src 'self' https://cdn.example"]
