"""The processes that act on a node: tick worker, switch worker, beat and guard.

``celery -A workers`` finds its application here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

__version__ = "0.1.0"


def _application() -> Celery:
    from ftplugin.config import ConfigError, NodeConfig

    from .app import create_app

    try:
        return create_app(NodeConfig.from_environment())
    except ConfigError as error:
        raise SystemExit(f"workers: {error}") from None


def __getattr__(name: str) -> Any:
    """``workers.celery`` is built when asked for, so that the guard and tests import this package without Celery."""
    if name != "celery":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["celery"] = application = _application()
    return application
