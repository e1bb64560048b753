"""Forms of the admin pages; that of the settings is in ``settings_form.py``."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, StringField
from wtforms.validators import DataRequired, InputRequired, Length

from ftplugin.standing import MINUTES_MAX, OrderError

from .i18n import N_

REASON_CHARS_MAX = 500
_said_why = DataRequired(N_("Say why; it is recorded."))  # blanks alone say nothing


class SafeForm(FlaskForm):  # type: ignore[misc]
    """Always with a CSRF token, whatever the portal's WTF_CSRF_ENABLED says."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        csrf = True


class SwitchForm(SafeForm):
    """The confirmation of a switchover."""

    target = HiddenField()
    expected_active = HiddenField()
    reason = StringField("Reason", validators=[_said_why, Length(max=REASON_CHARS_MAX)])


class ForceForm(SafeForm):
    """A forced takeover of this server (M2). The name typed is compared with the server's own by the view."""

    reason = StringField("Reason", validators=[_said_why, Length(max=REASON_CHARS_MAX)])
    typed = StringField(
        "Name of this server", validators=[InputRequired("Type the name of this server."), Length(max=40)]
    )
    checked = BooleanField("The other server is switched off or cut off: I have checked it")


class PauseForm(SafeForm):
    """Pause of automatic switching on both servers; the rules are in ``ftplugin.standing``."""

    reason = StringField("Reason")
    minutes = StringField("Minutes")

    def minutes_given(self) -> int | None:
        """The minutes, None when the field is empty. Raises OrderError naming the field."""
        text = (self.minutes.data or "").strip()
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise OrderError("minutes", f"must be a whole number from 1 to {MINUTES_MAX}, or empty, not {text[:40]!r}")
        return int(text)


class DrainForm(SafeForm):
    """Drain of this server."""

    reason = StringField("Reason")


class ActionForm(SafeForm):
    """A button without fields."""
