"""A portal with views that run on the active server alone, for the tests and the benchmark of standby requests.

    python -m tests.integration.standby.site_app waitress ADDRESS:PORT

serves it; what it needs is in the environment as one JSON object, TEST_PORTAL.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Flask, Response, jsonify, redirect, render_template_string, request, session
from flask.views import MethodView

from ftplugin import FaultTolerance
from ftplugin.standby import Limits

PIECE = b"0123456789abcdef" * 4096
TABLE = """<!doctype html><title>Calls</title><table>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>
{% endfor %}</tr>{% endfor %}</table>"""
ROWS = [[f"{row}-{column}" for column in range(8)] for row in range(100)]
QUICK = Limits(answer_s=1.0, idle_s=1.0, total_s=3.0, request_bytes=1_000_000, answer_bytes=1_000_000)


def create_app(config: dict[str, Any] | None = None) -> Flask:
    """The portal; ``config``: of the app, else from TEST_PORTAL."""
    app = Flask("portal")
    app.config.update(json.loads(os.environ["TEST_PORTAL"]) if config is None else config)
    ft = FaultTolerance(authorize=lambda permission: True, forwards_max=4)
    ran: list[str] = []
    app.extensions["ran"] = ran
    me = app.config["FT_OWN_ADDRESS"]

    @app.before_request
    def note() -> None:
        ran.append(request.path)
        if request.mimetype == "application/x-www-form-urlencoded":
            assert request.form is not None  # as a check of form tokens does: it takes the body

    @app.after_request
    def stamp(response: Response) -> Response:
        response.headers["X-Stamped-By"] = me
        return response

    @app.route("/echo", methods=["GET", "POST", "PUT", "OPTIONS"])
    @app.get("/any/<path:rest>")
    @ft.active_only
    def echo(rest: str = "") -> Response:
        return jsonify(
            by=me,
            method=request.method,
            url=request.url,
            query=request.query_string.decode(),
            path=request.path,
            client=request.remote_addr,
            headers=dict(request.headers),
            form=request.form.to_dict(),
            body=request.get_data(as_text=True)[:10_000],
            length=len(request.get_data()),
            user=session.get("user", ""),
        )

    @app.get("/login/<user>")
    @ft.active_only
    def login(user: str) -> Any:
        session.permanent = True
        session["user"] = user
        answer = redirect("/echo")
        answer.set_cookie("second", "a=b")
        return answer

    @app.get("/here")
    def here() -> str:
        return me

    @app.get("/page")
    @ft.active_only
    def page() -> str:
        return render_template_string(TABLE, rows=ROWS)

    @app.get("/bare")
    @ft.active_only
    def bare() -> str:
        return "well"

    _add_bodies(app, ft)
    _add_marked_in_other_ways(app, ft)
    ft.init_app(app)
    return app


def _add_bodies(app: Flask, ft: FaultTolerance) -> None:
    """Views with long answers and questions."""

    @app.get("/stream/<int:pieces>")
    @ft.active_only
    def stream(pieces: int) -> Response:
        sized = {"Content-Length": str(pieces * len(PIECE))} if "sized" in request.args else {}
        return Response(_pieces(pieces), headers=sized, content_type="application/octet-stream")

    @app.get("/broken/<int:pieces>")
    @ft.active_only
    def broken(pieces: int) -> Response:
        sized = {"Content-Length": str(2 * pieces * len(PIECE))} if "sized" in request.args else {}

        def cut() -> Iterator[bytes]:
            yield from _pieces(pieces)
            raise ConnectionError("this view ends in the middle")

        return Response(cut(), headers=sized)

    @app.put("/swallow")
    @ft.active_only
    def swallow() -> str:
        count = 0
        while piece := request.stream.read(len(PIECE)):
            count += len(piece)
        return str(count)

    @app.route("/quick", methods=["GET", "POST"])
    @ft.active_only(limits=QUICK)
    def quick() -> str:
        return str(len(request.get_data()))


def _add_marked_in_other_ways(app: Flask, ft: FaultTolerance) -> None:
    """Behind decorators, classes and blueprints, and those that are not passed on but redirected."""
    me = app.config["FT_OWN_ADDRESS"]

    @app.route("/hidden", methods=["GET", "POST"])
    @_hiding(reads_body=False)
    @ft.active_only
    def hidden() -> str:
        return f"{me} {request.get_data(as_text=True)}"

    @app.post("/taken")
    @_hiding(reads_body=True)
    @ft.active_only
    def taken() -> str:
        return me

    app.add_url_rule("/class", view_func=ft.active_only(Shown.as_view("shown", me)))
    outer, inside = Blueprint("outer", __name__), Blueprint("inside", __name__)
    inside.add_url_rule("/inside", view_func=lambda: me)
    outer.register_blueprint(inside)
    app.register_blueprint(ft.active_only(outer), url_prefix="/outer")
    away, phones = Blueprint("away", __name__), Blueprint("phones", __name__)
    away.add_url_rule("/away/<path:rest>", view_func=lambda rest: f"{me} {request.full_path}", methods=["GET", "POST"])
    phones.add_url_rule("/phone/<path:rest>", view_func=lambda rest: f"<at>{me}</at>")
    ft.active_only(away, by="redirect")
    ft.active_only(phones, by="phone")
    app.register_blueprint(away)
    app.register_blueprint(phones)


class Shown(MethodView):
    """A view of a class."""

    def __init__(self, me: str) -> None:
        self.me = me

    def get(self) -> str:
        return self.me


def _hiding(*, reads_body: bool) -> Callable[[Any], Any]:
    """A decorator without functools.wraps, which hides that the view is marked."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*args: Any, **values: Any) -> Any:
            if reads_body:
                request.get_data()
            return view(*args, **values)

        checked.__name__ = view.__name__
        return checked

    return decorate


def _pieces(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield PIECE


def main() -> None:
    kind, listen = sys.argv[1:3]
    host, _, port = listen.rpartition(":")
    if kind == "waitress":
        from waitress import create_server

        create_server(create_app(), host=host, port=int(port), threads=8, ident=None).run()
    else:
        from gevent.pywsgi import WSGIServer

        WSGIServer((host, int(port)), create_app(), log=None).serve_forever()


if __name__ == "__main__":
    main()
