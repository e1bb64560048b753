"""HAProxy, keepalived and NGINX themselves take the exported files without a complaint, whatever the settings."""

from __future__ import annotations

import http.server
import pathlib
import shutil
import subprocess
import threading

import pytest

from ftplugin.balancer.exports import make
from ftplugin.balancer.plan import Options
from ftplugin.core.settings import Settings, SettingsError

LIMIT_S = 30
ADDRESSES = {
    "ipv4": ("127.0.0.11", "127.0.0.12", "127.0.0.13"),
    "ipv6": ("[::1]:80", "[::2]:80", "[::1]:18099"),
    "https": ("https://127.0.0.11", "https://127.0.0.12", "https://127.0.0.13"),
}
WAYS = {
    "role": ({}, Options()),
    "lead": ({"vip_test": True, "application_error": True}, Options(failback=True)),
    "stays": ({"vip_test": True}, Options(failback=False)),
}


def files(name: str, kind: str, way: str, folder: pathlib.Path) -> list[pathlib.Path]:
    """The exported files, written; none where the export itself refuses."""
    first, second, vip = ADDRESSES[kind]
    changes, options = WAYS[way]
    settings = Settings(server1_address=first, server2_address=second, vip_address=vip, **changes)
    if name == "keepalived" and kind == "ipv6":
        options = Options(vip="[::9]:80", failback=options.failback)
    try:
        made = make(name, settings, 1, options)
    except SettingsError as refused:
        assert (name, way) == ("keepalived-lvs", "stays") and refused.field == "failback"
        return []  # LVS always goes back, and the export says so
    for file in made:
        (folder / file.name).write_text(file.text)
    return [folder / file.name for file in made]


def said(*command: str) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ADDRESSES)
def test_haproxy_takes_the_file(kind: str, way: str, tmp_path: pathlib.Path) -> None:
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not on the PATH")
    [file] = files("haproxy", kind, way, tmp_path)
    code, text = said("haproxy", "-c", "-f", str(file))
    assert code == 0 and "WARNING" not in text, text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ADDRESSES)
@pytest.mark.parametrize("name", ["keepalived", "keepalived-lvs"])
def test_keepalived_complains_of_no_line(name: str, kind: str, way: str, tmp_path: pathlib.Path) -> None:
    if shutil.which("keepalived") is None:
        pytest.skip("keepalived is not on the PATH")
    for file in files(name, kind, way, tmp_path):
        if file.suffix == ".conf":
            _, text = said("keepalived", "-t", "-f", str(file))
            assert "Line" not in text and "Unknown" not in text, text


def test_keepalived_would_complain_of_a_wrong_line(tmp_path: pathlib.Path) -> None:
    if shutil.which("keepalived") is None:
        pytest.skip("keepalived is not on the PATH")
    file = files("keepalived", "ipv4", "role", tmp_path)[0]
    file.write_text(file.read_text().replace("    interval 7", "    interval 7.5"))
    assert "invalid number '7.5'" in said("keepalived", "-t", "-f", str(file))[1]


def nginx_file(file: pathlib.Path, folder: pathlib.Path) -> str:
    """A frame as Debian's own nginx.conf has it, with every path below ``folder``."""
    text = file.read_text().replace("/var/cache/nginx/ft", f"{folder}/cache").replace("/etc/nginx/ft.", f"{folder}/ft.")
    for port in ("80", "443"):
        text = text.replace(f"listen 127.0.0.13:{port}", "listen 127.0.0.13:18098")
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    frame = f"pid {folder}/pid; error_log stderr; daemon off; events {{}}\nhttp {{ access_log off; {paths}\n{text}}}\n"
    (folder / "nginx.conf").write_text(frame)
    return str(folder / "nginx.conf")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ADDRESSES)
def test_nginx_takes_the_file(kind: str, way: str, tmp_path: pathlib.Path) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("needs Debian's package nginx-light")
    [file] = files("nginx", kind, way, tmp_path)
    if kind == "https":
        key = ["-keyout", str(tmp_path / "ft.key"), "-out", str(tmp_path / "ft.crt")]
        said("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *key, "-days", "2", "-subj", "/CN=x")
    code, text = said("nginx", "-t", "-e", "stderr", "-c", nginx_file(file, tmp_path))
    assert code == 0 and "[warn]" not in text, text


class Portal(http.server.BaseHTTPRequestHandler):
    """Says at every path what the test has set."""

    status, body = 200, b"OK"

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(self.status)
        self.send_header("Location", "/login")
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("status", "body", "begin", "good"),
    [
        (200, b"OK", "", True),
        (200, b"IPSWS=OK\nmore", "IPSWS=OK", True),
        (200, b"IPSWS=KO\ndisk", "IPSWS=OK", False),
        (200, b"x IPSWS=OK", "IPSWS=OK", False),
        (302, b"IPSWS=OK", "IPSWS=OK", False),
        (503, b"STANDBY", "", False),
    ],
)
def test_ft_check_takes_only_status_200_and_the_right_beginning(
    tmp_path: pathlib.Path, status: int, body: bytes, begin: str, good: bool
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not on the PATH")
    script = next(file for file in files("keepalived", "ipv4", "role", tmp_path) if file.name == "ft-check")
    answers = type("Answers", (Portal,), {"status": status, "body": body})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/ft/monitor?mod=IPSWS"
        code, _ = said("/bin/sh", str(script), url, "10", *([begin] if begin else []))
        assert (code == 0) is good
    finally:
        server.shutdown()
        server.server_close()
    assert said("/bin/sh", str(script), url, "10")[0] != 0, "nobody answers any more"
