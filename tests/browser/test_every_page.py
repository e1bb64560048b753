"""What holds for every page: found by following the links, so that a new page is looked at too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from playwright.sync_api import Page

from tests.integration.cluster.harness import Nodes

from .axe import serious_violations
from .chromium import DESKTOP, PHONE, Administrator
from .conftest import Visit

START = ("/", "/switch?target=server2")
PAGES_MIN, PAGES_MAX = 5, 40
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) { return []; }
  return Array.from(document.querySelectorAll("body *")).filter(e => e.getBoundingClientRect().right > width + 1)
    .map(e => e.tagName + "." + e.className + " " + (e.textContent || "").trim().slice(0, 40));
}"""


def kind(path: str) -> str:
    """One for all pages that differ only in what they show: the address without numbers and names of days."""
    parts = urlsplit(path)
    names = sorted(pair.partition("=")[0] for pair in parts.query.split("&") if pair)
    return re.sub(r"/(?=[^/]*\d)[^/]+", "/*", parts.path) + "?" + "&".join(names)


def every_page(admin: Administrator) -> Iterator[str]:
    """Each kind of page once, opened."""
    waiting, seen = list(START), set[str]()
    while waiting:
        path = waiting.pop(0)
        if kind(path) in seen:
            continue
        seen.add(kind(path))
        assert len(seen) <= PAGES_MAX, sorted(seen)
        answer = admin.context.request.get(f"{admin.url}/ft/admin{path}")
        if not answer.headers.get("content-type", "").startswith("text/html") or "attachment" in str(answer.headers):
            continue
        assert answer.ok, f"{path}: {answer.status}"
        admin.open(path)
        waiting += links(admin.page)
        yield path


def links(page: Page) -> list[str]:
    """Links to pages of the plugin, each below its ``/ft/admin``."""
    script = "() => Array.from(document.querySelectorAll('a[href]:not([download])')).map(a => a.pathname + a.search)"
    return [found.removeprefix("/ft/admin") for found in page.evaluate(script) if found.startswith("/ft/admin/")]


def test_every_page_is_accessible_light_and_dark_on_desktop_and_phone(pair: Nodes, visit: Visit) -> None:
    admin = visit(1)
    page, wrong, seen = admin.page, list[str](), list[str]()
    for path in every_page(admin):
        seen.append(path)
        for scheme, (width, height), rules in (
            ("light", DESKTOP, ()),
            ("dark", DESKTOP, ("color-contrast",)),
            ("dark", PHONE, ()),
            ("light", PHONE, ("color-contrast", "scrollable-region-focusable")),
        ):
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            wrong += [f"{path} {scheme} {width} px: {line}" for line in serious_violations(page, *rules)]
            wrong += [f"{path} {width} px wide, but sticks out: {what}" for what in page.evaluate(TOO_WIDE)[:3]]
    assert len(seen) >= PAGES_MIN, seen
    assert not wrong, "\n".join(wrong)


def test_a_page_with_faults_would_be_noticed(pair: Nodes, visit: Visit) -> None:
    """The checks above, and the one for what the browser complains about, can fail."""
    admin = visit(1)
    page = admin.open()
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.evaluate("""() => {
      const main = document.querySelector("main") || document.body;
      main.insertAdjacentHTML("beforeend", "<input><p class='ft-probe'>grey on grey, and wider than a phone is</p>");
      const probe = main.querySelector(".ft-probe");
      for (const [name, value] of [["color", "#999"], ["background", "#aaa"], ["width", "900px"]]) {
        probe.style.setProperty(name, value);
      }
      main.appendChild(document.createElement("script")).textContent = "window.inlineRan = true";
      setTimeout(() => { throw new Error("planted"); });
    }""")
    found = "\n".join(serious_violations(page))
    assert "color-contrast" in found and "label" in found
    assert any("grey on grey" in what for what in page.evaluate(TOO_WIDE))
    page.wait_for_timeout(100)
    assert page.evaluate("window.inlineRan") is None
    assert any("policy violated: script-src" in problem for problem in admin.problems), admin.problems
    assert any("planted" in problem for problem in admin.problems), admin.problems
    admin.problems.clear()
