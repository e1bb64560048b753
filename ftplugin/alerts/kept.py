"""What must outlive the worker and a reboot: open incidents and what waits. A file of the instance folder, mode 600.

No table: an alert is needed most when the database is locked or full. A disk that takes nothing costs the memory of it over
a restart alone, and the page says so.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

from ftplugin.pairing.files import write_secret

FILE = "alerts.json"
VERSION = 1
BYTES_MAX = 20_000_000  # more than a full outbox with all targets and errors in a foreign script
FORM: dict[str, tuple[type, ...]] = {
    "open": (list,),
    "outbox": (dict,),
    "seen": (list,),
    "daily_wall_s": (int, float),
    "began_wall_s": (int, float),
}


def read(folder: pathlib.Path) -> dict[str, Any] | None:
    """What was kept; None: nothing yet. Raises ValueError when it cannot be read, with the way out."""
    path = folder / FILE
    try:
        with open(path, "rb") as opened:
            raw = opened.read(BYTES_MAX + 1)
        document = json.loads(raw) if len(raw) <= BYTES_MAX else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); alerts begin anew") from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f"{path}: is not of this version; alerts begin anew")
    if wrong := [name for name, kind in FORM.items() if not isinstance(document.get(name), kind)]:
        raise ValueError(f"{path}: cannot be read ({', '.join(wrong)}); alerts begin anew")
    return document


def write(folder: pathlib.Path, document: dict[str, Any]) -> str:
    """Keep it; what went wrong, "" for nothing."""
    try:
        write_secret(folder / FILE, json.dumps({"version": VERSION, **document}))
        return ""
    except OSError as error:
        return f"{folder / FILE}: {error.strerror or error}"
