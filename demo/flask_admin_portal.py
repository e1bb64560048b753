"""The plugin inside Flask-Admin: its menu has one more entry, and the pages stand in its frame.

    FT_CONFIG_FILE=node.toml python -m demo.flask_admin_portal --listen 127.0.0.11:8080

Needs PORTAL_SECRET_KEY and PORTAL_PASSWORD in that file. There is one user, ``admin``; whoever is logged in may do all.
"""

from __future__ import annotations

import argparse
import hmac
import os
import pathlib
import tomllib
from typing import Any

from flask import Flask, current_app, flash, redirect, request, url_for
from flask_admin import Admin, AdminIndexView, BaseView, expose
from flask_admin.menu import MenuLink
from flask_babel import Babel
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from flask_wtf import FlaskForm
from sqlalchemy import Column, Engine, MetaData, String, Table, create_engine, select
from waitress import serve
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired

from ftplugin import FaultTolerance

THREADS, CHANNEL_IDLE_S = 8, 150


METADATA = MetaData()
PERSON = Table("person", METADATA, Column("number", String(20), primary_key=True), Column("name", String(80)))


class User(UserMixin):  # type: ignore[misc]
    id = "admin"


class LoginForm(FlaskForm):  # type: ignore[misc]
    user = StringField("User", [InputRequired()])
    password = PasswordField("Password", [InputRequired()])


class ForUsers:
    """A part of the portal for those who are logged in."""

    def is_accessible(self) -> bool:
        return bool(current_user.is_authenticated)

    def inaccessible_callback(self, name: str, **values: Any) -> Any:
        return redirect(url_for("login.index"))


class Home(ForUsers, AdminIndexView):  # type: ignore[misc]
    """The first page."""


class People(ForUsers, BaseView):  # type: ignore[misc]
    """The phone directory: a table of this portal's own database."""

    def __init__(self, engine: Engine, **names: Any) -> None:
        super().__init__(**names)
        self.engine = engine

    @expose("/")  # type: ignore[untyped-decorator]
    def index(self) -> Any:
        with self.engine.connect() as connection:
            people = connection.execute(select(PERSON)).all()
        return self.render("flask_admin/people.html", people=people)


class Login(BaseView):  # type: ignore[misc]
    """Log-in and log-out."""

    def is_visible(self) -> bool:
        return False

    @expose("/", methods=["GET", "POST"])  # type: ignore[untyped-decorator]
    def index(self) -> Any:
        form = LoginForm()
        if form.validate_on_submit():
            word = str(current_app.config["PORTAL_PASSWORD"])
            if form.user.data == User.id and hmac.compare_digest(form.password.data.encode(), word.encode()):
                login_user(User())
                return redirect(url_for("admin.index"))
            flash("User or password is wrong.", "error")
        return self.render("flask_admin/login.html", form=form)

    @expose("/out")  # type: ignore[untyped-decorator]
    def out(self) -> Any:
        logout_user()
        return redirect(url_for("login.index"))


def create_app() -> Flask:
    """The portal, configured by the file that FT_CONFIG_FILE names."""
    app = Flask(__name__)
    file = pathlib.Path(os.environ["FT_CONFIG_FILE"]).absolute()
    app.config.from_file(str(file), load=tomllib.load, text=False)
    app.config["SECRET_KEY"] = app.config["PORTAL_SECRET_KEY"]
    logins = LoginManager(app)
    logins.login_view = "login.index"
    logins.user_loader(lambda name: User() if name == User.id else None)
    Babel(app, locale_selector=lambda: request.accept_languages.best_match(("en", "fr")))
    engine = create_engine(f"sqlite:///{file.parent / 'flask_admin.sqlite3'}")
    METADATA.create_all(engine)
    home = Home(url="/")
    admin = Admin(app, name="Demo portal", index_view=home)
    admin.add_view(People(engine, name="Directory", endpoint="people"))
    admin.add_view(Login(name="Log in", endpoint="login", url="/login"))

    def layout(title: str, head: str, body: str) -> str:
        return str(home.render("flask_admin/frame.html", title=title, head=head, body=body))

    FaultTolerance(app, layout=layout)
    admin.add_link(MenuLink(name="Hot Standby", endpoint="ft_home"))
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="The demo's portal in Flask-Admin.")
    parser.add_argument("--listen", default="127.0.0.11:8080", metavar="ADDRESS:PORT")
    options = parser.parse_args()
    print(f"portal on {options.listen}", flush=True)
    serve(create_app(), listen=options.listen, threads=THREADS, channel_timeout=CHANNEL_IDLE_S, ident=None)


if __name__ == "__main__":
    main()
