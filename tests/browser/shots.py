"""``python -m tests.browser.shots``: pictures of the main pages of a running two-node cluster, into docs/images.

Exit codes: 0 every picture is made; 1 the cluster or a page did not do what was expected; 2 wrong usage, or no Chromium here.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator

from playwright.sync_api import Browser, Error, Page

from demo.cluster import Cluster, ClusterConfig, ProcessError, SetupError, free_config
from demo.layout import check_ports
from tests.integration.cluster.harness import ROOT, Nodes, eventually

from .chromium import PHONE, Administrator, program, running
from .licences import Vendor, licence_needed

IMAGES = ROOT / "docs" / "images"
BYTES_MAX = 200_000
WINDOW = (1120, 760)
HEIGHT_MAX = {False: 1100, True: 2300}  # on a desktop, on a phone
PASSWORD = "shots-only"


class Studio:
    """The cluster, a browser, and where the pictures go."""

    def __init__(self, pair: Nodes, browser: Browser, folder: pathlib.Path, only: list[str]) -> None:
        self.pair, self.browser, self.folder, self.only = pair, browser, folder, only
        self.too_large: list[str] = []

    @contextlib.contextmanager
    def visit(self, node: int, *, scheme: str = "light", size: tuple[int, int] = WINDOW) -> Iterator[Administrator]:
        url = f"http://{self.pair.cluster.address(node)}"
        admin = Administrator(self.browser, url, self.pair.cluster.secrets.password, size=size, color_scheme=scheme)
        try:
            admin.log_in()
            yield admin
            if admin.problems:
                raise AssertionError(f"the browser complains: {admin.problems}")
        finally:
            admin.close()

    def keep(self, page: Page, name: str) -> None:
        """The page as it stands, without what is far below."""
        if self.only and name not in self.only:
            return
        page.wait_for_load_state("load")  # with its style sheet
        file = self.folder / f"{name}.png"
        size = page.viewport_size or {"width": 0, "height": 0}
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"], f"{name} is {wide} px wide in a window of {size['width']} px"
        bottom = page.evaluate("Math.ceil(document.body.getBoundingClientRect().bottom + window.scrollY)")
        height = min(bottom, HEIGHT_MAX[size["width"] < WINDOW[0]])
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height}
        page.screenshot(path=file, full_page=True, clip=clip, animations="disabled")  # type: ignore[arg-type]
        kept = file.stat().st_size
        print(f"  {file.name}: {kept / 1000:.0f} kB", flush=True)
        if kept > BYTES_MAX:
            self.too_large.append(file.name)


def normal(studio: Studio) -> None:
    """Status in normal operation: light, dark, on a phone."""
    for name, scheme, size in (
        ("status", "light", WINDOW),
        ("status-dark", "dark", WINDOW),
        ("status-phone", "light", PHONE),
    ):
        with studio.visit(1, scheme=scheme, size=size) as admin:
            page = admin.open()
            page.wait_for_timeout(2500)
            studio.keep(page, name)


PLAIN = (  # name, path, scheme, size
    ("settings", "/settings", "light", WINDOW),
    ("switching", "/switching", "light", WINDOW),
    ("switchover", "/switch?target=server2", "light", WINDOW),
    ("rules", "/rules", "light", WINDOW),
    ("balancer", "/balancer", "light", WINDOW),
    ("replication", "/replication", "light", WINDOW),
)


def plain(studio: Studio) -> None:
    """Pages that need nothing but to be opened."""
    for name, path, scheme, size in PLAIN:
        with studio.visit(1, scheme=scheme, size=size) as admin:
            studio.keep(admin.open(path), name)


def preview(studio: Studio) -> None:
    """What would follow from other settings, with the timelines of both servers; and what is wrong with a value."""
    for name, scheme in (("preview", "light"), ("preview-dark", "dark")):
        with studio.visit(1, scheme=scheme) as admin:
            page = admin.open("/settings")
            for field, value in (("interval_s", "20"), ("timeout_s", "10"), ("threshold", "3")):
                page.locator(f"[name={field}]").fill(value)
            page.get_by_role("button", name="Validate").click()
            page.get_by_text("Nothing is saved yet").wait_for()
            studio.keep(page, name)


def failover(studio: Studio) -> None:
    """The page of server #2 while it takes over from a dead server #1; then its forced takeover, log and history."""
    with studio.visit(2) as admin:
        page = admin.open()
        studio.pair.stop_node(1)
        page.get_by_role("progressbar").or_(page.get_by_text("A switch is running")).first.wait_for(timeout=30_000)
        page.wait_for_timeout(1500)
        studio.keep(page, "failover")
    studio.pair.wait_active(2, 30)
    studio.pair.start(1)
    studio.pair.wait_healthy(2)
    with studio.visit(1, scheme="dark") as admin:
        studio.keep(admin.open("/force"), "forced-takeover-dark")
    with studio.visit(2) as admin:
        studio.keep(admin.open("/log?source=agent"), "log")
        page = admin.open("/history")
        studio.keep(page, "history")
        page.get_by_role("row", name="F1").first.get_by_role("link").first.click()
        studio.keep(page, "incident")
    studio.pair.bring_back()


def switchover(studio: Studio) -> None:
    """A switchover that is done, with its steps."""
    with studio.visit(1) as admin:
        page = admin.open("/switch?target=server2")
        page.get_by_label("Reason").fill("new kernel on server #1")
        page.get_by_role("button", name="Switch now").click()
        page.get_by_text("Done: server2 is active").last.wait_for(timeout=30_000)
        studio.keep(page, "switchover-done")
    studio.pair.bring_back()


def licence(studio: Studio) -> None:
    """A licence that is for the other server is refused; the good one stays."""
    vendor = Vendor(studio.pair.cluster.config.directory / "vendor")
    with licence_needed(studio.pair, 2, vendor.public), studio.visit(2) as admin:
        page = admin.open("/licence")
        for node in (2, 1):
            file = vendor.licence(studio.pair.cluster.config.address(f"node{node}"))
            page.get_by_label("Licence file").set_input_files(file)
            page.get_by_role("button", name="Install").click()
            page.get_by_text("Nothing was changed" if node == 1 else "is installed").first.wait_for()
        studio.keep(page, "licence")


SCENES: tuple[Callable[[Studio], None], ...] = (normal, plain, preview, failover, switchover, licence)


def cluster_config(folder: pathlib.Path) -> ClusterConfig:
    """The demo's own addresses where they are free, so that the pictures show what the documentation says."""
    config = ClusterConfig(
        directory=folder, interval_s=1.0, timeout_s=1.0, threshold=5, cti_ports=12, cti_scale=0.9, password=PASSWORD
    )
    try:
        check_ports(config)
    except SetupError:
        return free_config(config)
    return config


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.shots", description="Pictures of the main pages.")
    parser.add_argument("--folder", type=pathlib.Path, default=IMAGES, help="where they go (default docs/images)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this picture; may be repeated")
    options = parser.parse_args(arguments)
    if not program():
        print("no Chromium on the PATH: install the package chromium", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the cluster too
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="ft-shots-") as folder:
            with Cluster(cluster_config(pathlib.Path(folder))) as cluster, running() as browser:
                pair = Nodes(cluster)
                eventually(pair.healthy, 60, pair.story)
                studio = Studio(pair, browser, options.folder, options.only)
                for scene in SCENES:
                    scene(studio)
                assert not studio.too_large, f"larger than {BYTES_MAX} bytes: {', '.join(studio.too_large)}"
    except (AssertionError, Error, ProcessError, SetupError) as error:
        print(f"not every picture was made: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
