"""An admin portal as somebody could have had it: Flask, Flask-Login, one page. The plugin is mounted in three lines.

    FT_CONFIG_FILE=node.toml python -m demo.portal --listen 127.0.0.11:8080

The file also holds the portal's own PORTAL_SECRET_KEY and PORTAL_PASSWORD.
"""

from __future__ import annotations

import argparse
import hmac
import os
import tomllib
from typing import Any

from flask import Flask, current_app, flash, redirect, render_template_string, request, url_for
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_wtf import FlaskForm
from waitress import create_server
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired

from ftplugin import FaultTolerance

THREADS = 8
CHANNEL_IDLE_S = 150  # longer than any heartbeat interval in use: the peer keeps its connection
CONNECTIONS_MAX = 500

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Demo portal</title>
<h1>Demo portal</h1>
{% for text in get_flashed_messages() %}<p role="alert">{{ text }}</p>{% endfor %}
{% block body %}{% endblock %}
{% if form %}<form method="post">{{ form.hidden_tag() }}
<p>{{ form.user.label }} {{ form.user(autocomplete="username") }}</p>
<p>{{ form.password.label }} {{ form.password(autocomplete="current-password") }}</p>
<p><button>Log in</button></p></form>
{% else %}<p>Logged in as {{ current_user.id }}.</p>
<p><a href="{{ prefix }}/">Fault tolerance</a></p>
<p><a href="{{ url_for('logout') }}">Log out</a></p>{% endif %}</html>"""


class User(UserMixin):  # type: ignore[misc]
    id = "admin"


class LoginForm(FlaskForm):  # type: ignore[misc]
    user = StringField("User", [InputRequired()])
    password = PasswordField("Password", [InputRequired()])


def create_app() -> Flask:
    """The portal, configured by the file that FT_CONFIG_FILE names."""
    app = Flask(__name__)
    app.config.from_file(os.environ["FT_CONFIG_FILE"], load=tomllib.load, text=False)
    app.config["SECRET_KEY"] = app.config["PORTAL_SECRET_KEY"]
    app.config["SESSION_COOKIE_NAME"] = "portal"
    logins = LoginManager(app)
    logins.login_view = "login"
    logins.user_loader(lambda name: User() if name == User.id else None)
    app.add_url_rule("/", view_func=home)
    app.add_url_rule("/login", view_func=login, methods=["GET", "POST"])
    app.add_url_rule("/logout", view_func=logout)
    FaultTolerance(app)
    return app


@login_required  # type: ignore[untyped-decorator]
def home() -> str:
    return _page(None)


def login() -> Any:
    form = LoginForm()
    if form.validate_on_submit():
        right = hmac.compare_digest(form.password.data.encode(), _config("PORTAL_PASSWORD").encode())
        if form.user.data == User.id and right:
            login_user(User())
            target = request.args.get("next", "")
            return redirect(target if target.startswith("/") and target[1:2] not in ("/", "\\") else url_for("home"))
        flash("User or password is wrong.")
    return _page(form)


def logout() -> Any:
    logout_user()
    return redirect(url_for("login"))


def _page(form: LoginForm | None) -> str:
    return render_template_string(PAGE, form=form, current_user=current_user, prefix=_config("FT_URL_PREFIX"))


def _config(name: str) -> str:
    return str(current_app.config.get(name, ""))


def main() -> None:
    parser = argparse.ArgumentParser(description="The demo's portal.")
    parser.add_argument("--listen", default="127.0.0.11:8080", metavar="ADDRESS:PORT")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    app = create_app()
    try:
        server = create_server(
            app,
            host=host,
            port=int(port),
            threads=THREADS,
            channel_timeout=CHANNEL_IDLE_S,
            connection_limit=CONNECTIONS_MAX,
            ident=None,
        )
    except OSError as error:
        raise SystemExit(f"portal cannot listen on {options.listen}: {error}") from None
    print(f"portal on {options.listen}", flush=True)
    server.run()


if __name__ == "__main__":
    main()
