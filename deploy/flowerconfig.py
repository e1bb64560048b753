"""Flower beside one server's Celery workers; the user and password come from the environment.

    celery -A workers flower --conf=/etc/ft/flowerconfig.py

Whoever may write to this server's Redis may order a switch, so Flower only shows, and only to who knows the password.
"""

import os

PASSWORD_CHARS_MIN = 12
_password = os.environ.get("FT_FLOWER_PASSWORD", "")
if len(_password) < PASSWORD_CHARS_MIN:
    raise SystemExit(
        f"flower: FT_FLOWER_PASSWORD has {len(_password)} characters, {PASSWORD_CHARS_MIN} are needed; make one with 'ft key'"
    )

basic_auth = [f"{os.environ.get('FT_FLOWER_USER') or 'admin'}:{_password}"]
address = os.environ.get("FT_FLOWER_ADDRESS") or "127.0.0.1"
_port = os.environ.get("FT_FLOWER_PORT") or "5555"
if not _port.isdecimal() or not 0 < int(_port) < 65536:
    raise SystemExit(f"flower: FT_FLOWER_PORT is {_port!r}; it must be a port, 1 to 65535, as 5555")
port = int(_port)
url_prefix = os.environ.get("FT_FLOWER_URL_PREFIX", "")
read_only = True  # a task or a "shutdown" sent from Flower would pass by the checks of the page
enable_events = False  # the switch worker sends events unasked; nobody else should
max_tasks = 1000
persistent = False
