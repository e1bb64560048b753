"""The demo portal's own part: phone directory, users with rights, log-in, a database. Nothing here knows of the plugin."""

from __future__ import annotations

import hmac
from typing import Any

from flask import Blueprint, Flask, current_app, flash, redirect, render_template, request, url_for
from flask_login import AnonymousUserMixin, LoginManager, UserMixin, login_required, login_user, logout_user
from flask_wtf import FlaskForm
from sqlalchemy import Column, Engine, MetaData, String, Table, create_engine, insert, or_, select
from sqlalchemy.exc import IntegrityError
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length

METADATA = MetaData()
ACCOUNT = Table(
    "account",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("full_name", String(80), nullable=False),
    Column("rights", String(80), nullable=False),  # words with blanks between
)
PERSON = Table(
    "person",
    METADATA,
    Column("number", String(20), primary_key=True),
    Column("name", String(80), nullable=False),
    Column("department", String(80), nullable=False),
)
ACCOUNTS = (
    ("admin", "Administrator", "view operate configure"),
    ("operator", "Operator on duty", "view operate"),
    ("guest", "Guest of the help desk", "view"),
)
PEOPLE = (
    ("2001", "Reception", "Hotel"),
    ("2002", "Anna Berger", "Accounts"),
    ("2003", "Marc Dubois", "Telephony"),
    ("2004", "Night porter", "Hotel"),
    ("2100", "Conference room", "Hotel"),
)
pages = Blueprint("portal", __name__)


class TestCallForm(FlaskForm):  # type: ignore[misc]
    number = StringField("Number", [InputRequired(), Length(max=20)])


class User(UserMixin):  # type: ignore[misc]
    """A row of ``account``."""

    def __init__(self, name: str, rights: str) -> None:
        self.id, self.rights = name, rights.split()


class Nobody(AnonymousUserMixin):  # type: ignore[misc]
    """A visitor who has not logged in."""

    rights: tuple[str, ...] = ()


class LoginForm(FlaskForm):  # type: ignore[misc]
    user = StringField("User", [InputRequired()])
    password = PasswordField("Password", [InputRequired()])


def init_app(app: Flask) -> None:
    """Log-in, database and pages. Needs PORTAL_DATABASE_URL, PORTAL_PASSWORD and PORTAL_ADDRESS, that of this portal."""
    logins = LoginManager(app)
    logins.login_view, logins.anonymous_user = "portal.login", Nobody
    logins.user_loader(_user)
    engine = create_engine(app.config["PORTAL_DATABASE_URL"])
    app.extensions["portal_database"] = engine
    _fill(engine)
    app.register_blueprint(pages)


def _fill(engine: Engine) -> None:
    METADATA.create_all(engine)
    with engine.connect() as connection:
        if connection.execute(select(ACCOUNT.c.name).limit(1)).first() is not None:
            return
    try:
        with engine.begin() as connection:
            connection.execute(insert(ACCOUNT), [dict(zip(ACCOUNT.c.keys(), row)) for row in ACCOUNTS])
            connection.execute(insert(PERSON), [dict(zip(PERSON.c.keys(), row)) for row in PEOPLE])
    except IntegrityError:
        return  # another process of this portal was first


def _rows(query: Any) -> list[Any]:
    engine: Engine = current_app.extensions["portal_database"]
    with engine.connect() as connection:
        return list(connection.execute(query).all())


def _user(name: str) -> User | None:
    found = _rows(select(ACCOUNT).where(ACCOUNT.c.name == name))
    return User(found[0].name, found[0].rights) if found else None


@pages.get("/")
@login_required  # type: ignore[untyped-decorator]
def home() -> str:
    return render_template("portal/home.html")


@pages.get("/directory")
@login_required  # type: ignore[untyped-decorator]
def directory() -> str:
    """The phone directory; ``?q=`` is a part of a name, number or department."""
    wanted = request.args.get("q", "")[:80]
    columns = (PERSON.c.number, PERSON.c.name, PERSON.c.department)
    like = or_(*(column.icontains(wanted, autoescape=True) for column in columns))
    return render_template("portal/directory.html", people=_rows(select(PERSON).where(like)), wanted=wanted)


@pages.get("/users")
@login_required  # type: ignore[untyped-decorator]
def users() -> str:
    return render_template("portal/users.html", accounts=_rows(select(ACCOUNT)))


def make_operator() -> Blueprint:
    """The page that makes sense only beside the services."""
    blueprint = Blueprint("operator", __name__)
    blueprint.add_url_rule("/operator", view_func=console, methods=["GET", "POST"])
    return blueprint


@login_required  # type: ignore[untyped-decorator]
def console() -> Any:
    """Says on which server it runs, whichever was asked, and takes test calls."""
    form = TestCallForm()
    runs_on = current_app.config["PORTAL_ADDRESS"]
    if form.validate_on_submit():
        flash(f"Test call to {form.number.data} from the server at {runs_on}.")
        return redirect(url_for("operator.console"))
    return render_template("portal/operator.html", form=form, runs_on=runs_on)


@pages.route("/login", methods=["GET", "POST"])
def login() -> Any:
    form = LoginForm()
    if form.validate_on_submit():
        # one password for all: this is a demo
        right = hmac.compare_digest(form.password.data.encode(), str(current_app.config["PORTAL_PASSWORD"]).encode())
        user = _user(form.user.data)
        if right and user is not None:
            login_user(user)
            target = request.args.get("next", "")
            safe = target.startswith("/") and target[1:2] not in ("/", "\\")
            return redirect(target if safe else url_for("portal.home"))
        flash("User or password is wrong.")
    return render_template("portal/login.html", form=form)


@pages.get("/logout")
def logout() -> Any:
    logout_user()
    return redirect(url_for("portal.login"))
