"""Forms of the admin page. The rules are in ``ftplugin.core.rules``: one place for page, command line and peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Length

from ftplugin.core.settings import NAMES, Settings
from ftplugin.core.terms import BalancerKind
from ftplugin.standing import MINUTES_MAX, OrderError

REASON_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class Row:
    """One setting on the screen: label in the guide's words, help, and the unit after the box."""

    name: str
    label: str
    help: str = ""
    unit: str = ""


SECTIONS: tuple[tuple[str, tuple[Row, ...]], ...] = (
    (
        "Servers",
        (
            Row("server1_address", "Server IP address #1", "The preferred one. IPv4 or IPv6, also http(s)://IP:port."),
            Row("server2_address", "Server IP address #2"),
            Row("enabled", "Enable Hot Standby mode", "Off: nothing switches any more; no role changes by it."),
        ),
    ),
    (
        "Load balancer",
        (
            Row("balancer_kind", "Balancer kind"),
            Row("vip_address", "IP Balancer VIP address", "With Windows NLB leave it empty."),
            Row("vip_test", "Test VIP address destination", "The server that the VIP leads to becomes active."),
            Row("vip_urls", "Use VIP address to build URLs"),
            Row(
                "application_error",
                "Switch server on application error",
                "Only if the balancer looks for IPSWS=OK too. Small errors may cause many switches.",
            ),
        ),
    ),
    (
        "Failback",
        (
            Row("failback", "First server auto restart as active"),
            Row("failback_stable_s", "Server #1 stable for", "Before it takes over again.", "s"),
            Row("failback_hours", "Allowed hours", "As 22-5 or 08:00-17:30; empty: always."),
        ),
    ),
    (
        "Heartbeat",
        (
            Row("timeout_s", "Heartbeat timeout (t)", "At most T; at least the slowest health check + 3 s.", "s"),
            Row("interval_s", "Heartbeat interval (T)", "0.2 to 3600.", "s"),
            Row("threshold", "Consecutive failures/successes to switch (N)", "At least 2; as in the balancer."),
            Row("suspect_interval_s", "Interval after a bad heartbeat", "Suspect mode: 0.2 to T; 0: off.", "s"),
            Row("portal_restart_s", "Portal restart time", "", "s"),
            Row("release_delay_s", "Call manager release delay", "", "s"),
        ),
    ),
    (
        "Services",
        (
            Row("service_stop_s", "Longest stop of all services", "The lease ends that much earlier.", "s"),
            Row("cti_connect_s", "CTI connect time", "", "s"),
            Row("cti_ports", "CTI ports"),
            Row("cti_devices", "CTI devices"),
            Row("daily_restart", "Daily restart time", "Not in this version: leave it empty."),
        ),
    ),
    (
        "Network",
        (
            Row("lan_references", "LAN reference hosts", "As 10.0.0.1 or tcp:10.0.0.1:80; empty: the default gateway."),
            Row("witness", "Witness", "IP:port of a third host's Redis; empty: none."),
            Row("rtt_ms", "Longest round trip", "", "ms"),
            Row("agent_port", "Agent port"),
            Row("flap_budget", "Automatic switches allowed", "Past it automatic switching freezes."),
            Row("flap_window_s", "In a window of", "", "s"),
        ),
    ),
)

KIND_LABELS = {
    BalancerKind.EXTERNAL: "External load balancer",
    BalancerKind.WINDOWS_NLB: "Windows NLB",
    BalancerKind.FLOATING: "Own floating address",
    BalancerKind.NONE: "None",
}


class SafeForm(FlaskForm):  # type: ignore[misc]
    """Always with a CSRF token, whatever the portal's WTF_CSRF_ENABLED says."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        csrf = True


class SettingsForm(SafeForm):
    """One field for each setting; ``base_revision`` is what the edit started from."""

    base_revision = HiddenField()
    override_reason = StringField("Reason to save all the same", validators=[Length(max=REASON_CHARS_MAX)])

    def values(self) -> dict[str, Any]:
        """What was entered, by setting name, unconverted."""
        return {name: self[name].data for name in NAMES}

    def add_error(self, name: str, message: str) -> None:
        """Show ``message`` beside the field ``name``."""
        field = self[name]
        field.errors = [*field.errors, message]


def _field(row: Row) -> Any:
    default = getattr(Settings(), row.name)
    if isinstance(default, bool):
        return BooleanField(row.label)
    if isinstance(default, BalancerKind):
        return SelectField(row.label, choices=[SelectChoice(str(kind), KIND_LABELS[kind]) for kind in BalancerKind])
    numeric = {"inputmode": "decimal"} if isinstance(default, (int, float)) else {}
    return StringField(row.label, render_kw={"autocomplete": "off", "spellcheck": "false", **numeric})


for _section, _rows in SECTIONS:
    for _row in _rows:
        setattr(SettingsForm, _row.name, _field(_row))


def filled(settings: Settings, revision: int) -> SettingsForm:
    """The form with the current settings."""
    data: dict[str, Any] = {}
    for name, value in settings.to_json().items():
        data[name] = value if isinstance(value, bool) else _text(value)
    return SettingsForm(formdata=None, data={**data, "base_revision": str(revision)})


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:.15g}" if isinstance(value, float) else str(value)


class SwitchForm(SafeForm):
    """The confirmation of a switchover."""

    target = HiddenField()
    expected_active = HiddenField()
    reason = StringField("Reason", validators=[InputRequired("Say why; it is recorded."), Length(max=REASON_CHARS_MAX)])


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
