"""Requests that reach the standby server and must run on the active one (spec 8 "Standby requests", guide 6.3.4.2).

``marks``: what a portal writes (``@ft.active_only``) and what a request to such a view gets. ``where``: who is active, as far as
this server knows. ``door``: the WSGI layer around the portal, where a request is passed on (``forward``, ``upstream``,
``headers``) and where one from the other server is believed (``hop``).
"""

from .limits import Limits

__all__ = ["Limits"]
