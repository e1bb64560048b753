"""A forecast as a drawing: one lane for each server, time to the right. Inline SVG without style attributes or scripts.

Whoever does not see it has the table of events beside it; no state is told by colour alone: each has its own pattern, and its
word where there is room.
"""

from __future__ import annotations

from markupsafe import Markup

from ftplugin.core.terms import Designation
from ftplugin.forecast import Event, Fault, Forecast, Mark, Segment, Show

from .i18n import N_, translate as _

WIDTH, LEFT, RIGHT = 760, 84, 16
LANE_TOP = {Designation.SERVER1: 30, Designation.SERVER2: 78}
LANE_HEIGHT, AXIS_Y, LEGEND_Y, HEIGHT = 30, 122, 154, 176
CHAR_WIDTH = 7.2
STEPS = (1, 2, 5)
WORDS = {
    Show.ACTIVE: N_("Active"),
    Show.STARTING: N_("Starting"),
    Show.STANDBY: N_("Standby"),
    Show.STOPPING: N_("Stopping"),
    Show.DEAD: N_("Dead"),
}
SERVERS = {Designation.SERVER1: N_("Server #1"), Designation.SERVER2: N_("Server #2")}
FAULTS = {
    Fault.CRASH: N_("Crash of the active server"),
    Fault.LAN_CUT: N_("The active server is cut off from the LAN"),
}
TEXTS = {
    Mark.BAD_PROBE: N_("Bad heartbeat %(count)s of %(of)s"),
    Mark.LEASE_OVER: N_("Its lease is over: its portal says STANDBY, the guard stops the services"),
    Mark.STOPPED: N_("All its services have stopped, at the latest"),
    Mark.DEMOTED: N_("Its agent demotes itself (rule %(rule)s)"),
    Mark.LAST_PROBE: N_("Nothing holds rule %(rule)s back: last probe, then lock and fence"),
    Mark.PROMOTED: N_("It is active and starts the services"),
    Mark.RELEASED: N_("The call manager has released the ports"),
    Mark.READY: N_("The services are up"),
    Mark.HELD_BACK: N_("Nothing takes over: %(why)s"),
}
FAULT_TEXTS = {
    Fault.CRASH: N_("The host of the active server is gone; it answers nothing any more"),
    Fault.LAN_CUT: N_("The active server loses its LAN; it reaches neither the other server nor a reference host"),
}


def event_text(event: Event, fault: Fault) -> str:
    """What happened, in the user's language."""
    if event.mark is Mark.FAULT:
        return _(FAULT_TEXTS[fault])
    return _(TEXTS[event.mark], count=event.count, of=event.of, rule=event.rule, why=event.text)


def seconds(value_s: float) -> str:
    """12.5 s, 4 min 10 s, 2 h 05 min: as short as it stays exact enough."""
    if value_s < 120:
        return f"{round(value_s, 1):g} s"
    if value_s < 7200:
        return f"{int(value_s) // 60} min {int(value_s) % 60:02d} s"
    return f"{int(value_s) // 3600} h {int(value_s) % 3600 // 60:02d} min"


def draw(found: Forecast) -> Markup:
    """The SVG element."""
    name = f"ft-timeline-{found.fault.value}"
    parts = [
        Markup('<pattern id="{}-dead" width="8" height="8" patternUnits="userSpaceOnUse">{}</pattern>').format(
            name, _lines("M0 0L8 8M8 0L0 8")
        ),
        Markup('<pattern id="{}-slant" width="8" height="8" patternUnits="userSpaceOnUse">{}</pattern>').format(
            name, _lines("M-2 2L2 -2M0 8L8 0M6 10L10 6")
        ),
    ]
    body = [Markup("<defs>{}</defs>").format(Markup().join(parts)), _axis(found)]
    for server, segments in found.segments.items():
        top = LANE_TOP[server]
        body.append(_text(4, top + 20, _(SERVERS[server]), "ft-tl-name"))
        body += [_bar(found, segment, top, name) for segment in segments]
    body += [_mark(found, event) for event in found.events]
    body.append(_legend(found, name))
    title = Markup('<title id="{}">{}</title>').format(name, _title(found))
    shape = Markup('<svg class="ft-timeline" role="img" aria-labelledby="{0}" viewBox="0 0 {1} {2}">{3}{4}</svg>')
    return shape.format(name, WIDTH, HEIGHT, title, Markup().join(body))


def _title(found: Forecast) -> str:
    fault = _(FAULTS[found.fault])
    if found.ready_s is None:
        return _("%(fault)s: nothing takes over", fault=fault)
    return _("%(fault)s: services up again after %(delay)s", fault=fault, delay=seconds(found.ready_s))


def _x(found: Forecast, at_s: float) -> float:
    share = (at_s - found.start_s) / (found.end_s - found.start_s)
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _lines(path: str) -> Markup:
    return Markup('<path class="ft-tl-hatch" d="{}"/>').format(path)


def _text(x: float, y: float, text: str, css: str, anchor: str = "start") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(css, x, y, anchor, text)


def _box(show: Show, x: float, y: float, size: tuple[float, float], name: str, inner: Markup | str = "") -> Markup:
    """A rectangle in the colour and the pattern of ``show``."""
    shape = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"{}>{}</rect>')
    drawn = shape.format(f"ft-tl-{show.value}", x, y, *size, "", inner)
    pattern = {Show.DEAD: "dead", Show.STARTING: "slant", Show.STOPPING: "slant"}.get(show)
    if pattern:
        fill = Markup(' fill="url(#{}-{})"').format(name, pattern)
        drawn += shape.format("ft-tl-over", x, y, *size, fill, "")
    return drawn


def _bar(found: Forecast, segment: Segment, top: int, name: str) -> Markup:
    x1, x2 = _x(found, segment.start_s), _x(found, segment.end_s)
    width, word = max(1.5, round(x2 - x1, 1)), _(WORDS[segment.show])
    span = Markup("<title>{}: {} – {}</title>").format(word, seconds(segment.start_s), seconds(segment.end_s))
    drawn = _box(segment.show, x1, top, (width, LANE_HEIGHT), name, span)
    if len(word) * CHAR_WIDTH + 8 <= width:
        drawn += _text(
            round(x1 + width / 2, 1), top + 20, word, f"ft-tl-word ft-tl-{segment.show.value}-word", "middle"
        )
    return drawn


def _legend(found: Forecast, name: str) -> Markup:
    """What the patterns mean, since a short bar has no room for its word."""
    there = {segment.show for segments in found.segments.values() for segment in segments}
    drawn, x = Markup(), float(LEFT)
    for show in (s for s in Show if s in there):
        word = _(WORDS[show])
        drawn += _box(show, x, LEGEND_Y, (16, 12), name) + _text(x + 21, LEGEND_Y + 10, word, "ft-tl-time")
        x += 21 + len(word) * CHAR_WIDTH + 18
    cross = Markup('<path class="ft-tl-bad" d="M{0} {2}L{1} {3}M{1} {2}L{0} {3}"/>')
    if any(event.mark is Mark.BAD_PROBE for event in found.events):
        drawn += cross.format(x, x + 7, LEGEND_Y + 3, LEGEND_Y + 10)
        drawn += _text(x + 13, LEGEND_Y + 10, _("bad heartbeat"), "ft-tl-time")
    return drawn


def _mark(found: Forecast, event: Event) -> Markup:
    x, top = _x(found, event.at_s), LANE_TOP[event.server]
    title = Markup("<title>{}: {}</title>").format(seconds(event.at_s), event_text(event, found.fault))
    if event.mark is Mark.BAD_PROBE:
        cross = Markup('<path class="ft-tl-bad" d="M{0} {2}L{1} {3}M{1} {2}L{0} {3}">{4}</path>')
        return cross.format(x - 3.5, x + 3.5, top + LANE_HEIGHT + 2, top + LANE_HEIGHT + 9, title)
    if event.mark is Mark.FAULT:
        line = Markup('<path class="ft-tl-fault" d="M{0} 20V{1}">{2}</path>').format(x, AXIS_Y, title)
        return line + _text(x + 4, 18, _("fault"), "ft-tl-note")
    if event.mark is Mark.READY:
        line = Markup('<path class="ft-tl-ready" d="M{0} 20V{1}">{2}</path>').format(x, AXIS_Y, title)
        text = _("services up: %(delay)s", delay=seconds(event.at_s))
        return line + _text(x - 4, 18, text, "ft-tl-note", "end")
    return Markup()


def _axis(found: Forecast) -> Markup:
    """About eight round times, the fault at 0."""
    wanted_s = (found.end_s - found.start_s) / 8
    power = 0.001
    while power * 10 < wanted_s:
        power *= 10
    step_s = next((power * n for n in STEPS if power * n >= wanted_s), power * 10)
    drawn = Markup('<path class="ft-tl-axis" d="M{} {}H{}"/>').format(LEFT, AXIS_Y, WIDTH - RIGHT)
    for number in range(int(found.end_s / step_s) + 1):
        x = _x(found, number * step_s)
        drawn += Markup('<path class="ft-tl-axis" d="M{} {}v5"/>').format(x, AXIS_Y)
        drawn += _text(x, AXIS_Y + 18, seconds(number * step_s), "ft-tl-time", "middle")
    return drawn
