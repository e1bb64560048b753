"""The systemd units as ``make install-units`` puts them into a folder."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).parents[3]
SYSTEM = pathlib.Path("/usr/lib/systemd/system")
SERVICES = ("release", "guard", "tick", "switch", "portal", "leave", "flower")


def install(folder: pathlib.Path, venv: str = "/opt/ft/venv") -> pathlib.Path:
    """Run the target with that DESTDIR; the folder of the units."""
    command = ["make", "-s", "install-units", f"DESTDIR={folder}", f"FT_VENV={venv}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return folder / "etc" / "systemd" / "system"


def as_root(folder: pathlib.Path) -> None:
    """What ``systemd-analyze --root`` wants to find beside them: systemd's own units, and the programs."""
    shutil.copytree(SYSTEM, folder / "usr/lib/systemd/system", symlinks=True, ignore_dangling_symlinks=True)
    programs = ("opt/ft/venv/bin/python", "opt/ft/venv/bin/waitress-serve", "opt/ft/venv/bin/celery")
    for program in (*programs, "usr/bin/redis-server", "bin/true"):
        file = folder / program
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
