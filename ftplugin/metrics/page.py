"""The page itself: ``<prefix>/metrics``, for the networks of FT_METRICS_ALLOW and nobody else."""

from __future__ import annotations

from flask import Blueprint, Response, request
from prometheus_client.exposition import choose_encoder

from ftplugin.extension import Portal, portal
from ftplugin.web.allowed import plain, within

from .families import sheet_of
from .look import Look

REFUSED = "metrics address"
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")
PROXY_KNOWN = "werkzeug.proxy_fix.orig"  # ProxyFix has put the client's own address into its place


def make_blueprint() -> Blueprint:
    """The blueprint ``ft_metrics``; mounted where FT_METRICS_ALLOW names somebody."""
    blueprint = Blueprint("ft_metrics", __name__)
    blueprint.add_url_rule("/metrics", "metrics", metrics)
    return blueprint


def metrics() -> Response:
    """Text of Prometheus, or OpenMetrics where the scraper asks for it. Reads Redis and database, never the network."""
    ft = portal()
    if problem := _barred(ft):
        ft.refuse(REFUSED, problem)
        return Response(f"{problem}\n", status=403, content_type="text/plain")
    sheet = sheet_of(Look.at(ft), version=ft.version, instance=ft.config.prefix, licence=ft.licence.state())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    response = Response(encode(sheet), content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    return response


def _barred(ft: Portal) -> str:
    """Why the asker may not read, "" when it may. What came through a proxy has the proxy's address, whoever asked."""
    environ, remote = request.environ, request.remote_addr or ""
    try:
        named = within(plain(remote), ft.config.metrics_allow)
    except ValueError:
        named = False
    if not named:
        return f"{remote or 'an unknown address'} may not read the metrics (FT_METRICS_ALLOW)"
    if PROXY_KNOWN not in environ and any(header in environ for header in FORWARDED):
        return f"a request through the proxy {remote} may not read the metrics: ask this server itself, or use ProxyFix"
    return ""
