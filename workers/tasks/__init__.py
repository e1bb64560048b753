"""The tasks: thin, options at the decorator; the agent does the work."""

from . import heartbeat, switch, vip_destination, watchdog

__all__ = ["heartbeat", "switch", "vip_destination", "watchdog"]
