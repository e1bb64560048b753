"""Controllers of services (spec 6) and their configuration: ``build`` makes them from the FT_SERVICES tables,
``build_portal`` the portal's from FT_PORTAL.

The standard library and ``redis``-free on purpose: the guard imports this package too.
"""

from .common import Common, Service, ServiceError
from .portal import build_portal
from .tables import KINDS, build

__all__ = ["KINDS", "Common", "Service", "ServiceError", "build", "build_portal"]
