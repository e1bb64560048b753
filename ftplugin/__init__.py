"""Hot standby for a pair of application servers: what a portal mounts.

``from ftplugin import FaultTolerance`` and ``FaultTolerance(app, authorize=…)``. Names are loaded at first use, so
that the guard and the pure core do not pay for Flask or SQLAlchemy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import ConfigError, NodeConfig
    from .core.settings import Settings, SettingsError
    from .extension import FaultTolerance, Portal
    from .health.checks import Degraded

__version__ = "0.1.0"
__all__ = ["ConfigError", "Degraded", "FaultTolerance", "NodeConfig", "Portal", "Settings", "SettingsError", "__version__"]

_HOMES = {
    "ConfigError": "config",
    "Degraded": "health.checks",
    "FaultTolerance": "extension",
    "NodeConfig": "config",
    "Portal": "extension",
    "Settings": "core.settings",
    "SettingsError": "core.settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
