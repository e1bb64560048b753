"""What gave way is put in its place again, as an edit of now; for the page and the command."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote_to_bytes

from .conflicts import Lost
from .files import FolderThing
from .files_kept import restore
from .rows import RowThing


def put_back(thing: Any, lost: Lost) -> bool:
    """thing: what is registered under ``lost.subject``. False: its content is not here, but on ``lost.kept_on``.

    Raises ReplicationError, ValueError, OSError: then nothing was changed.
    """
    if isinstance(thing, RowThing) and isinstance(lost.lost.get("values"), dict):
        thing.restore(lost.lost["values"])
        return True
    if isinstance(thing, FolderThing) and lost.lost.get("file"):
        restore(thing, os.fsdecode(unquote_to_bytes(str(lost.lost["path"]))), str(lost.lost["file"]))
        return True
    return False
