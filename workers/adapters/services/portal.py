"""FT_PORTAL: the controller of the own portal, one of those that services have.

Unlike a service the portal runs on both servers at all times, so it may start by itself at boot. There is no epoch that
it could be refused under, and no lease.
"""

from __future__ import annotations

from typing import Any, Mapping

from .common import Service, ServiceError
from .tables import LIMITS, build_one, own_kind

NAME = "portal"
WHERE = "FT_PORTAL"
PORTAL_KINDS = ("command", "systemd", "supervisord")


def build_portal(table: Mapping[str, Any], prefix: str = "", *, ask_outside: bool = True) -> Service | None:
    """The portal's controller; None for an empty table: it is not watched.

    prefix: FT_PREFIX of the instance. ask_outside: as of ``build``. Raises ServiceError naming the key.
    """
    if not table:
        return None
    kind = table.get("kind")
    if kind not in PORTAL_KINDS:
        raise ServiceError(f"{WHERE}.kind: must be one of {', '.join(PORTAL_KINDS)} (got {kind!r})")
    allowed = ("kind", *LIMITS, *own_kind(kind).KEYS)
    for key in table:
        if key not in allowed:
            raise ServiceError(f"{WHERE}.{key}: is no key of a {kind} portal; they are {', '.join(allowed)}")
    own = {**table, "name": NAME}
    return build_one(WHERE, own, None, prefix, ask_outside, at_boot=True)
