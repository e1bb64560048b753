"""The settings as a form: label in the guide's words, help and unit of each field, and what a choice makes meaningless.

The rules are in ``ftplugin.core.rules``: one place for page, command line and peer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wtforms import BooleanField, HiddenField, SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import ValidationError

from ftplugin.core.settings import NAMES, Settings
from ftplugin.core.terms import BalancerKind
from ftplugin.store.settings_store import TEXT_CHARS_MAX

from .forms import REASON_CHARS_MAX, SafeForm
from .i18n import N_, translate as _

NUMBER_CHARS_MAX = 20  # a number longer than this is no number of these fields


@dataclass(frozen=True, slots=True)
class Row:
    """One setting on the screen: label in the guide's words, help, and the unit after the box."""

    name: str
    label: str
    help: str = ""
    unit: str = ""


SECTIONS: tuple[tuple[str, tuple[Row, ...]], ...] = (
    (
        N_("Servers"),
        (
            Row(
                "server1_address",
                N_("Server IP address #1"),
                N_("The preferred one. IPv4 or IPv6, also http(s)://IP:port."),
            ),
            Row("server2_address", N_("Server IP address #2"), N_("Another address than #1, in the same form.")),
            Row(
                "enabled",
                N_("Enable Hot Standby mode"),
                N_("Off: nothing switches by itself any more; no role changes by it."),
            ),
        ),
    ),
    (
        N_("Load balancer"),
        (
            Row(
                "balancer_kind",
                N_("Balancer kind"),
                N_("Decides which settings fit together; no server acts differently by it."),
            ),
            Row("vip_address", N_("IP Balancer VIP address"), N_("With Windows NLB leave it empty.")),
            Row(
                "vip_test",
                N_("Test VIP address destination"),
                N_("The server that the VIP leads to for N heartbeats becomes active."),
            ),
            Row("vip_urls", N_("Use VIP address to build URLs"), N_("URLs for phones and users name the VIP.")),
            Row(
                "application_error",
                N_("Switch server on application error"),
                N_("Only if the balancer looks for IPSWS=OK too. Small errors may cause many switches."),
            ),
        ),
    ),
    (
        N_("Failback"),
        (
            Row(
                "failback",
                N_("First server auto restart as active"),
                N_("Server #1 takes over again by itself when it is healthy."),
            ),
            Row(
                "failback_stable_s",
                N_("Server #1 stable for"),
                N_("So long it must be healthy before it takes over again."),
                N_("s"),
            ),
            Row("failback_hours", N_("Allowed hours"), N_("Of failback, as 22-5 or 08:00-17:30; empty: always.")),
        ),
    ),
    (
        N_("Heartbeat"),
        (
            Row(
                "timeout_s",
                N_("Heartbeat timeout (t)"),
                N_("At most T; at least the slowest health check + 3 s."),
                N_("s"),
            ),
            Row(
                "interval_s", N_("Heartbeat interval (T)"), N_("0.2 to 3600. The balancer must have the same."), N_("s")
            ),
            Row(
                "threshold",
                N_("Consecutive failures/successes to switch (N)"),
                N_("At least 2; as in the balancer. (N-1)*T must be longer than a portal restart."),
            ),
            Row(
                "suspect_interval_s",
                N_("Interval after a bad heartbeat"),
                N_("Suspect mode: 0.2 to T; 0: off. Counts sooner, never switches before (N-1)*T."),
                N_("s"),
            ),
            Row(
                "portal_restart_s",
                N_("Portal restart time"),
                N_("How long a restart of the portal takes. Used to warn of a too short (N-1)*T."),
                N_("s"),
            ),
            Row(
                "release_delay_s",
                N_("Call manager release delay"),
                N_("Until it gives the ports of a dead server free. Used for the delays that are shown."),
                N_("s"),
            ),
        ),
    ),
    (
        N_("Services"),
        (
            Row(
                "service_stop_s",
                N_("Longest stop of all services"),
                N_("The lease of an active server ends that much earlier."),
                N_("s"),
            ),
            Row(
                "cti_connect_s",
                N_("CTI connect time"),
                N_("Used, as the next two, for the delays that are shown, unless FT_SERVICES says how long a start takes."),
                N_("s"),
            ),
            Row("cti_ports", N_("CTI ports"), N_("200 ms each in the delays that are shown.")),
            Row("cti_devices", N_("CTI devices"), N_("200 ms each in the delays that are shown.")),
            Row(
                "daily_restart",
                N_("Daily restart time"),
                N_("HH:MM, local time; empty: none. Portal, then services; the standby server first."),
            ),
        ),
    ),
    (
        N_("Network"),
        (
            Row(
                "lan_references",
                N_("LAN reference hosts"),
                N_(
                    "As 10.0.0.1 or tcp:10.0.0.1:80; empty: the default gateway. A server that reaches none is cut off."
                ),
            ),
            Row(
                "witness",
                N_("Witness"),
                N_("IP:port of a third host's Redis; empty: none. With it two servers are never active at once."),
            ),
            Row("rtt_ms", N_("Longest round trip"), N_("Network limits are at least four times this."), N_("ms")),
            Row("agent_port", N_("Agent port"), N_("TCP port of the other server's agent; the guide's is 2011.")),
            Row(
                "flap_budget",
                N_("Automatic switches allowed"),
                N_("Both servers together. Past it automatic switching freezes."),
            ),
            Row("flap_window_s", N_("In a window of"), N_("The time in which they are counted."), N_("s")),
        ),
    ),
)
ROWS: dict[str, Row] = {row.name: row for _title, rows in SECTIONS for row in rows}
OWN_ADDRESS = N_("IP address of this server")
KIND_LABELS = {
    BalancerKind.EXTERNAL: N_("External load balancer"),
    BalancerKind.WINDOWS_NLB: N_("Windows NLB"),
    BalancerKind.FLOATING: N_("Own floating address"),
    BalancerKind.NONE: N_("None"),
}


class SettingsForm(SafeForm):
    """One field for each setting. ``base_revision`` and ``base_mark`` are what the edit started from."""

    base_revision = HiddenField()
    base_mark = HiddenField()
    override_reason = StringField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.balancer_kind.choices = [SelectChoice(str(k), _(KIND_LABELS[k])) for k in BalancerKind]

    def validate_override_reason(self, field: StringField) -> None:
        count = len(field.data or "")
        if count > REASON_CHARS_MAX:
            text = _("is too long: %(count)s characters; at most %(max)s are taken", count=count, max=REASON_CHARS_MAX)
            raise ValidationError(text)

    def values(self) -> dict[str, Any]:
        """What was entered, by setting name, unconverted."""
        return {name: self[name].data for name in NAMES}

    def hidden(self) -> list[tuple[str, str]]:
        """Name and text of everything entered, as a browser would send it again; the reason has a field of its own."""
        sent = [(name, value) for name, value in self.values().items() if value is not False]
        sent += [(name, self[name].data) for name in ("base_revision", "base_mark")]
        return [(name, "y" if value is True else str(value or "")) for name, value in sent]

    def add_error(self, name: str, message: str) -> None:
        """Show ``message`` beside the field ``name``."""
        field = self[name]
        field.errors = [*field.errors, message]

    def base(self) -> tuple[int, str] | None:
        """Revision and mark that the edit started from; None when the form does not say."""
        text = self.base_revision.data or ""
        return (int(text), str(self.base_mark.data or "")[:8]) if text.isdecimal() and len(text) <= 9 else None

    def start_from(self, revision: int, settings: Settings) -> None:
        self.base_revision.data, self.base_mark.data = str(revision), settings.mark


def _field(row: Row) -> Any:
    default = getattr(Settings(), row.name)
    if isinstance(default, bool):
        return BooleanField()
    if isinstance(default, BalancerKind):
        return SelectField(choices=[], validate_choice=False)  # the rules name the value and the choices
    number = isinstance(default, (int, float))
    extra = (
        {"inputmode": "decimal", "maxlength": str(NUMBER_CHARS_MAX)} if number else {"maxlength": str(TEXT_CHARS_MAX)}
    )
    return StringField(render_kw={"autocomplete": "off", "spellcheck": "false", **extra})


for _row in ROWS.values():
    setattr(SettingsForm, _row.name, _field(_row))


def filled(settings: Settings, revision: int, base: Settings | None = None) -> SettingsForm:
    """The form with ``settings``, as an edit of ``base`` (``settings`` itself unless given), which is ``revision``."""
    form = SettingsForm(formdata=None, data={name: as_typed(value) for name, value in settings.to_json().items()})
    form.start_from(revision, base or settings)
    return form


def as_typed(value: Any) -> Any:
    """The plain JSON value of a setting as the form holds it."""
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:.15g}" if isinstance(value, float) else value if isinstance(value, bool) else str(value)


def shown(name: str, value: Any) -> str:
    """The plain JSON value of a setting as text for people, with its unit, in the user's language."""
    if isinstance(value, bool):
        return _("on") if value else _("off")
    if name == "balancer_kind":
        return _(KIND_LABELS[BalancerKind(value)])
    if value in ("", []):
        return _("empty")
    unit = ROWS[name].unit
    return str(as_typed(value)) + (f" {_(unit)}" if unit else "")


def idle(values: Mapping[str, Any]) -> dict[str, str]:
    """Settings that have no effect by what else is chosen, with the reason. ``values``: what the form holds."""
    found: dict[str, str] = {}
    if not values["failback"]:
        off = _("No effect while “First server auto restart as active” is off.")
        found |= {"failback_stable_s": off, "failback_hours": off}
    if not str(values["vip_address"] or "").strip():
        without = _("Needs an IP Balancer VIP address.")
        found |= {"vip_test": without, "vip_urls": without}
    if values["balancer_kind"] == BalancerKind.WINDOWS_NLB:
        found["application_error"] = _("Leave it off with Windows NLB, which cannot look at the answer.")
        found["vip_address"] = _("Leave it empty with Windows NLB.")
    if values["balancer_kind"] == BalancerKind.FLOATING:
        found["vip_test"] = _("Tells nothing with an own floating address: who has it always reaches itself.")
    return found
