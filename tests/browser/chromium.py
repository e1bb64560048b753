"""Headless Chromium, driven by Playwright: one administrator at one portal, who also notices what is wrong with the page.

Why Playwright: its wheel brings its own driver and speaks the devtools protocol to any Chromium, so that Debian's and PyPI are
enough; Selenium also wants a chromedriver of the very same version, and downloads one when it finds none. Its ``evaluate``
goes through the devtools protocol too, so that a check can be run in a page whose own policy forbids foreign scripts.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DESKTOP, PHONE = (1280, 800), (360, 740)
ANSWER_LIMIT_MS = 10_000
# the browser's own line for an answer that is no 2xx, or for none; pages are expected to meet these and say so
LOAD_FAILED = "Failed to load resource:"
WATCH_POLICY = """document.addEventListener("securitypolicyviolation", function (event) {
  console.error("policy violated: " + event.violatedDirective + " by " + (event.blockedURI || "inline") + " " + event.sample);
});"""


def program() -> str:
    """Path of a Chromium on the PATH, or "" when there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), "")


@contextlib.contextmanager
def running() -> Iterator[Browser]:
    """One headless Chromium; ended with its processes at the end."""
    arguments = ["--disable-dev-shm-usage"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=arguments, timeout=30_000)
        try:
            yield browser
        finally:
            browser.close()


class Administrator:
    """At one portal, in a browser window with cookies of its own. ``problems``: what the browser complained about."""

    def __init__(self, browser: Browser, url: str, password: str, **window: Any) -> None:
        self.url, self._password = url, password
        width, height = window.pop("size", DESKTOP)
        settings: Mapping[str, Any] = {"viewport": {"width": width, "height": height}, "locale": "en-GB", **window}
        self.context: BrowserContext = browser.new_context(**settings)
        self.context.set_default_timeout(ANSWER_LIMIT_MS)
        self.context.add_init_script(WATCH_POLICY)
        self.problems: list[str] = []
        self.context.on("console", self._console)
        self.context.on("weberror", lambda error: self.problems.append(f"error on the page: {error.error}"))
        self.context.on("dialog", self._dialog)
        self.page: Page = self.context.new_page()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(LOAD_FAILED):
            self.problems.append(f"{message.location.get('url', '')}: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"a script of somebody else ran: {dialog.type} {dialog.message}")
        dialog.dismiss()

    def close(self) -> None:
        self.context.close()

    def log_in(self) -> None:
        """Through the portal's own page."""
        self.page.goto(f"{self.url}/login")
        self.page.get_by_label("User").fill("admin")
        self.page.get_by_label("Password").fill(self._password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(re.compile(rf"^{re.escape(self.url)}/(?!login)"))

    def log_out_elsewhere(self) -> None:
        """The session ends as by time: the open page knows nothing of it."""
        self.context.clear_cookies()

    def open(self, path: str = "/") -> Page:
        """A page of the plugin; ``path`` below its ``/ft/admin``."""
        self.page.goto(f"{self.url}/ft/admin{path}")
        return self.page
