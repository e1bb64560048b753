"""A vendor who signs licences, and a portal that asks for one."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Iterator

from tests.integration.cluster.harness import ROOT, Nodes, eventually

TOOL = "from ftplugin.licence.vendor import main; main()"


class Vendor:
    """Has a key pair of its own. ``public``: what goes into FT_LICENCE_KEY."""

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir()
        self._folder = folder
        said = self._run("keygen", "--key", str(folder / "key.pem"))
        self.public = said.strip().partition("=")[2]

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, "-c", TOOL, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout

    def licence(self, address: str, expires: str = "2099-12-31") -> pathlib.Path:
        """A file signed for the server with that IP address."""
        file = self._folder / f"IPSFT_lic-{address}.xml"
        values = ["--holder", "Example Ltd", "--node", address, "--expires", expires, "--out", str(file)]
        self._run("sign", "--key", str(self._folder / "key.pem"), *values)
        return file


@contextlib.contextmanager
def licence_needed(pair: Nodes, node: int, public: str) -> Iterator[None]:
    """The portal of that server runs with this FT_LICENCE_KEY; afterwards again without one."""
    file = pair.cluster.config_file(node)
    before = file.read_text()
    file.write_text(f'{before}FT_LICENCE_KEY = "{public}"\n')
    try:
        restart_portal(pair, node)
        yield
    finally:
        file.write_text(before)
        restart_portal(pair, node)


def restart_portal(pair: Nodes, node: int) -> None:
    pair.kill_and_wait(node, "portal")
    eventually(lambda: pair.cluster.monitor(node, "NONE") == "OK", 15, f"the portal of server{node} is back")
