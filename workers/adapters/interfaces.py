"""The node's interfaces and gateway; the questions themselves are in ``ftplugin.interfaces``, since the doctor asks them too."""

from ftplugin.interfaces import Ip, addresses, carrier, default_gateway, interface_of

__all__ = ["Ip", "addresses", "carrier", "default_gateway", "interface_of"]
