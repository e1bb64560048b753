"""The exported files, as ``ft balancer export`` writes them, run and move the VIP with the pair: over and back, within T."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping

import pytest

from tests.integration.cluster.harness import SLACK_S, eventually

from .checks import MACHINE_S
from .site import VIP, Site
from .timeline import Asker

NGINX_VIP = f"{VIP}:8081"  # beside HAProxy on the balancer's host
BLINK_S = 0.05
END_S = 10.0

needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs Debian's package nginx-light")


def export(site: Site, name: str, *words: str) -> pathlib.Path:
    """The directory with the files that the command line has written, from the settings that are live."""
    directory = site.directory / f"export-{name}"
    done = site.pair.ft(1, "balancer", "export", name, "--follow", "role", "--directory", str(directory), *words)
    assert done.returncode == 0, done.stderr
    return directory


def wait_moved(site: Site, to: int, since_s: float, addresses: Mapping[str, str]) -> dict[str, float]:
    """How long after the server has become active each address led there, in seconds; asked by the client."""
    bound_s = site.pair.failover_bound_s() + SLACK_S
    eventually(lambda: site.timeline.first(to, "ACTIVE", since_s) is not None, bound_s, site.pair.story)
    active_s = site.timeline.first(to, "ACTIVE", since_s)
    assert active_s is not None
    found: dict[str, float] = {}
    end_s = time.monotonic() + END_S
    with site.on("client"):
        while len(found) < len(addresses) and time.monotonic() < end_s:
            for name in addresses.keys() - found.keys():
                asker = Asker(addresses[name])
                status, word, server = asker.ask()
                asker.close()
                reached = server or site.server_at(VIP)
                if (status, word, reached) == (200, "ACTIVE", f"server{to}"):
                    found[name] = time.monotonic() - active_s
            time.sleep(BLINK_S)
    site.note(f"the VIP moved to server{to} after it was active by {found}")
    return found


def run_haproxy(site: Site) -> None:
    """In place of the file with which the demo has started it."""
    shutil.copy(export(site, "haproxy") / "haproxy.cfg", site.directory / "balancer" / "haproxy.cfg")
    site.kill("balancer", "haproxy")  # its supervisor starts it with the new file


@contextlib.contextmanager
def running_nginx(site: Site) -> Iterator[None]:
    """NGINX on the balancer's host with the exported file, in a frame as Debian's own nginx.conf."""
    directory = export(site, "nginx", "--vip", NGINX_VIP)
    frame = f"pid {directory}/pid; error_log stderr; daemon off; master_process off; events {{}}\n"
    (directory / "cache").mkdir(exist_ok=True)
    exported = directory / "ft.conf"
    exported.write_text(exported.read_text().replace("/var/cache/nginx/ft", f"{directory}/cache"))
    paths = "".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(f"{frame}http {{ access_log off; {paths} include {directory}/ft.conf; }}\n")
    program = [shutil.which("nginx") or "nginx", "-e", "stderr", "-c", str(directory / "nginx.conf")]
    with open(directory / "nginx.log", "ab") as log:
        process = subprocess.Popen([*site.lan.prefix("balancer"), *program], stderr=log)
    try:
        yield
        assert process.poll() is None, (directory / "nginx.log").read_text()
    finally:
        process.terminate()
        process.wait(END_S)


def over(site: Site, addresses: Mapping[str, str]) -> None:
    """The active server dies."""
    bound_s = site.pair.settings().interval_s + MACHINE_S
    moved = wait_moved(site, 2, site.kill_node(1), addresses)
    assert moved.keys() == addresses.keys() and max(moved.values()) <= bound_s, f"over: {moved}, bound {bound_s} s"


def back(site: Site, addresses: Mapping[str, str]) -> None:
    """A switchover brings users to server #1 again."""
    at_s, bound_s = time.monotonic(), site.pair.settings().interval_s + MACHINE_S
    site.pair.order_switch(1)
    moved = wait_moved(site, 1, at_s, addresses)
    assert moved.keys() == addresses.keys() and max(moved.values()) <= bound_s, f"back: {moved}, bound {bound_s} s"


@needs_nginx
def test_haproxy_and_nginx_follow_over_and_after_new_settings_and_a_new_export_back(site: Site) -> None:
    addresses, file = {"haproxy": site.vip, "nginx": NGINX_VIP}, site.directory / "balancer" / "haproxy.cfg"
    before = site.pair.settings().interval_s
    run_haproxy(site)
    with running_nginx(site):
        over(site, addresses)
    site.start_node(1)
    site.pair.wait_healthy(2)
    site.pair.wait_live(site.pair.save(1, {"interval_s": 2 * before}))
    try:
        checked = site.pair.ft(1, "balancer", "check", str(file))
        assert checked.returncode == 1 and "interval: " in checked.stdout, "the old file no longer fits"
        run_haproxy(site)
        with running_nginx(site):
            eventually(lambda: site.served() == "server2 ACTIVE", END_S, site.served)
            back(site, addresses)
    finally:
        site.pair.wait_live(site.pair.save(1, {"interval_s": before}), END_S)
        run_haproxy(site)


@needs_nginx
@pytest.mark.full
@pytest.mark.site(interval_s=4.0, timeout_s=1.0, threshold=3)
def test_nginx_that_keeps_answers_and_haproxy_are_no_later_than_one_long_interval(site: Site) -> None:
    addresses = {"haproxy": site.vip, "nginx": NGINX_VIP}
    with running_nginx(site):
        assert "proxy_cache_valid 200 503 1s" in (site.directory / "export-nginx" / "ft.conf").read_text()
        over(site, addresses)
        site.start_node(1)
        site.pair.wait_healthy(2)
        back(site, addresses)


@pytest.mark.full
@pytest.mark.skipif(shutil.which("keepalived") is None, reason="keepalived is not on the PATH")
@pytest.mark.site(floating=True)
def test_keepalived_moves_the_address_over_and_back(site: Site) -> None:
    """The demo runs keepalived with the product's own export."""
    for number in (1, 2):
        text = (site.cluster.config.node_directory(number) / "keepalived.conf").read_text()
        assert f"keepalived (VRRP) for server #{number}" in text
    over(site, {"keepalived": site.vip})
    site.start_node(1)
    site.pair.wait_healthy(2)
    back(site, {"keepalived": site.vip})
