"""One HTTP exchange under one deadline; the code is in ``ftplugin.http_client``, since the portal asks its peer by it too."""

from ftplugin.http_client import Answer, ContextSource, HttpClient, HttpFailure, Link

__all__ = ["Answer", "ContextSource", "HttpClient", "HttpFailure", "Link"]
