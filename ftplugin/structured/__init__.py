"""The lines of FT_REPORT a second time, for machines: as JSON or in systemd's journal, where FT_LOG_JSON asks for it.

``Report`` stays the one source: each line goes to its day file and then here, with what is known around it (``report.bound``).
structlog makes the lines (``lines``), own sinks carry them (``sinks``); neither is imported unless it is asked for. Nothing
here raises or waits: a disk that is full or hangs, a dead journal or a stuck terminal costs lines, which are counted, and no
tick.
"""

from __future__ import annotations

import pathlib

JOURNAL, STDERR = "journal", "-"
PATH_CHARS_MAX = 4_000


def log_json_problem(target: str) -> str:
    """What is wrong with FT_LOG_JSON, as a sentence with the way out; "" when nothing is.

    A folder that is missing now is no problem: it may be mounted later, and no log keeps a server from starting.
    """
    if target in ("", JOURNAL, STDERR):
        return ""
    if len(target) > PATH_CHARS_MAX or not target.isprintable():
        return f"must be a path of at most {PATH_CHARS_MAX} printable characters"
    if not target.startswith("/"):
        return 'must be "-" for standard error, "journal", or an absolute path, as "/var/lib/ft/ft.jsonl"; empty: none'
    if target.endswith("/") or pathlib.Path(target).is_dir():
        return 'is a folder: add the name of the file, as "/var/lib/ft/ft.jsonl"'
    return ""
