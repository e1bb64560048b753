"""An admin portal as somebody could have had it: its own pages, users, database, layout. The plugin is mounted into it.

    FT_CONFIG_FILE=node.toml python -m demo.portal --listen 127.0.0.11:8080

The file also holds the portal's own PORTAL_SECRET_KEY and PORTAL_PASSWORD; PORTAL_DATABASE_URL is SQLite beside that file
unless it says otherwise. Its pages are in ``demo/portal_pages.py`` and know nothing of the plugin.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import tomllib

from flask import Flask
from flask_login import current_user
from waitress import create_server

from demo import portal_pages
from ftplugin import FaultTolerance

THREADS = 8
CHANNEL_IDLE_S = 150  # longer than any heartbeat interval in use: the peer keeps its connection
CONNECTIONS_MAX = 500


def create_app() -> Flask:
    """The portal, configured by the file that FT_CONFIG_FILE names."""
    app = Flask(__name__)
    file = pathlib.Path(os.environ["FT_CONFIG_FILE"]).absolute()
    app.config["PORTAL_DATABASE_URL"] = f"sqlite:///{file.parent / 'portal.sqlite3'}"
    app.config.from_file(str(file), load=tomllib.load, text=False)
    app.config["SECRET_KEY"] = app.config["PORTAL_SECRET_KEY"]
    # a cookie does not know ports: that of another instance on this host needs another name
    app.config["SESSION_COOKIE_NAME"] = "portal" + app.config.get("FT_PREFIX", "")
    app.config["PORTAL_ADDRESS"] = app.config["FT_OWN_ADDRESS"]
    portal_pages.init_app(app)
    ft = FaultTolerance(app, authorize=lambda right: right in current_user.rights, layout="portal/layout.html")
    app.register_blueprint(
        ft.active_only(portal_pages.make_operator())
    )  # runs on the active server, whichever is asked
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="The demo's portal.")
    parser.add_argument("--listen", default="127.0.0.11:8080", metavar="ADDRESS:PORT")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    app = create_app()
    try:
        server = create_server(
            app,
            host=host,
            port=int(port),
            threads=THREADS,
            channel_timeout=CHANNEL_IDLE_S,
            connection_limit=CONNECTIONS_MAX,
            ident=None,
        )
    except OSError as error:
        raise SystemExit(f"portal cannot listen on {options.listen}: {error}") from None
    print(f"portal on {options.listen}", flush=True)
    server.run()


if __name__ == "__main__":
    main()
