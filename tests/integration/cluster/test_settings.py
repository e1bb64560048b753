"""Settings changed on one running server go live on both; contradictory ones are refused and the old ones stay."""

from __future__ import annotations

import time

import pytest

from .harness import SLACK_S, Pair, eventually

FASTER = ("interval_s=0.5", "timeout_s=0.5", "threshold=5")  # a lease of 1.55 s, about as long as before


@pytest.mark.parametrize("saved_at", (1, 2))
def test_interval_changed_on_one_server_is_live_on_both_without_a_restart(pair: Pair, saved_at: int) -> None:
    workers = [pair.cluster.node(n).pid(name) for n in (1, 2) for name in ("tick", "switch", "portal", "guard")]
    epoch, begun_s = pair.status(1)["epoch"], time.monotonic()
    said = pair.ft(saved_at, "settings", "set", *FASTER, "--reason", "faster for a test", "--json")
    assert said.returncode == 0, said.stderr
    pair.wait_live(pair.settings_revision(saved_at), 3 * pair.cluster.config.interval_s + SLACK_S)
    for node in (1, 2):
        assert pair.settings(node).interval_s == 0.5 and pair.settings(node).threshold == 5
        eventually(lambda: ticks_in(pair, node, 2.0) >= 3, 15, f"server{node} ticks each 0.5 s")
    pair.wait_healthy(1)
    assert pair.status(1)["epoch"] == epoch and "ACTIVE" not in pair.watcher.words(2, begun_s)
    assert workers == [pair.cluster.node(n).pid(name) for n in (1, 2) for name in ("tick", "switch", "portal", "guard")]


def ticks_in(pair: Pair, node: int, seconds: float) -> int:
    """Different ticks seen within that time; at T = 1 s no more than two fit."""
    end_s, seen = time.monotonic() + seconds - 0.2, set()
    while time.monotonic() < end_s:
        seen.add(pair.tick_s(node))
        time.sleep(0.05)
    return len(seen)


CONTRADICTIONS = {
    "timeout_s=2": "timeout_s",
    "threshold=1": "threshold",
    "service_stop_s=60": "threshold",
    "vip=x": "vip",
}


def test_contradictory_settings_are_refused_by_field_and_the_old_ones_stay(pair: Pair) -> None:
    before = [pair.portals[n].settings.current() for n in (1, 2)]
    for given, field in CONTRADICTIONS.items():
        said = pair.ft(1, "settings", "set", given, "--reason", "in spite of everything")
        assert said.returncode == 1 and said.stderr.startswith(f"{field}: "), said.stderr
    pair.ticks_pass(2)  # settings travel with the heartbeats
    assert [pair.portals[n].settings.current() for n in (1, 2)] == before


def test_contradiction_on_the_page_is_shown_beside_its_field_and_nothing_is_saved(pair: Pair) -> None:
    browser, before = pair.browser(2), pair.portals[2].settings.current()
    page = browser.get("/ft/admin/settings").text
    values = {**form_values(page), "timeout_s": "5"}
    answer = browser.post("/ft/admin/settings", values, form="/ft/admin/settings")
    assert answer.status_code == 400 and "must not exceed" in answer.text
    assert pair.portals[2].settings.current() == before


def form_values(page: str) -> dict[str, str]:
    """What the browser would send of the settings form as it stands."""
    from html.parser import HTMLParser

    class Fields(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.values: dict[str, str] = {}
            self._name = ""

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            found = dict(attributes)
            name = found.get("name") or ""
            if tag == "input" and name and (found.get("type") != "checkbox" or "checked" in found):
                self.values[name] = found.get("value") or ""
            elif tag in ("select", "textarea"):
                self._name = name
                self.values.setdefault(name, "")
            elif tag == "option" and "selected" in found:
                self.values[self._name] = found.get("value") or ""

        def handle_data(self, data: str) -> None:
            if self.get_starttag_text() and self.get_starttag_text().startswith("<textarea"):  # type: ignore[union-attr]
                self.values[self._name] = self.values[self._name] or data.strip()

    fields = Fields()
    fields.feed(page)
    return {k: v for k, v in fields.values.items() if k != "csrf_token"}
