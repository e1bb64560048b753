"""Health checks: what a check may answer (``checks``), the node's own (``tables``), the portal's (``portal``), and how
both are read (``reading``). See docs/health.md."""

from .checks import CheckState, Degraded

__all__ = ["CheckState", "Degraded"]
