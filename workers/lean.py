"""Celery without what it loads only because it happens to be installed: 3 MiB in each worker for nothing that is used here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# kombu's serializers beside JSON, and Celery's memory dumps
UNUSED = ("yaml", "msgpack", "psutil")


@contextmanager
def without_unused() -> Iterator[None]:
    """While this lasts, importing one of ``UNUSED`` fails as if it were not installed; Celery and kombu then do without. Who
    imports one afterwards, such as a service controller of another package, gets it."""
    hidden = [name for name in UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None there makes the import fail
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def load_celery() -> None:
    """Import what a worker needs of Celery and kombu."""
    with without_unused():
        import celery.apps.worker  # noqa: F401
        import celery.utils.debug  # noqa: F401
        import kombu.serialization  # noqa: F401
