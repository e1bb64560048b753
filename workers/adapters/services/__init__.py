"""Controllers of services (spec 6) and their configuration: ``build`` makes them from the FT_SERVICES tables.

The standard library and ``redis``-free on purpose: the guard imports this package too.
"""

from .common import Common, Service, ServiceError
from .tables import KINDS, build

__all__ = ["KINDS", "Common", "Service", "ServiceError", "build"]
