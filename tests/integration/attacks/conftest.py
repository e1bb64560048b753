"""The fixtures of the web tests, and the Redis with the peer's user."""

from __future__ import annotations

from ..adapters.test_peer_user import clean, server
from ..web.conftest import make_site, redis_process, served, site

__all__ = ["clean", "make_site", "redis_process", "served", "server", "site"]
