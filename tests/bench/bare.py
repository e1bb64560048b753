"""A Flask view that does nothing, under the demo's server with the demo's settings: what the monitor is held against."""

from __future__ import annotations

import sys

from flask import Flask, Response
from waitress import create_server

from demo.portal import CHANNEL_IDLE_S, CONNECTIONS_MAX, THREADS


def create_app() -> Flask:
    """One rule, one constant answer of the monitor's size."""
    app = Flask(__name__)
    app.add_url_rule("/bare", view_func=bare)
    return app


def bare() -> Response:
    return Response("ACTIVE", content_type="text/plain")


def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    server = create_server(
        create_app(),
        host=host,
        port=int(port),
        threads=THREADS,
        channel_timeout=CHANNEL_IDLE_S,
        connection_limit=CONNECTIONS_MAX,
        ident=None,
    )
    server.run()


if __name__ == "__main__":
    main()
