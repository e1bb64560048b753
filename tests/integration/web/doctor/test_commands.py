"""What the doctor says of a portal that lets heartbeats through, but not what the other server commands."""

from __future__ import annotations

from typing import Any

from flask import Flask, redirect

from .conftest import HOSTS, Pair


def closing(app: Flask) -> None:
    """A single sign-on in a layer around the portal, which knows of the monitor only."""
    inner = app.wsgi_app

    def layer(environ: Any, start: Any) -> Any:
        return (redirect("/login") if environ["PATH_INFO"].startswith("/ft/node/") else inner)(environ, start)

    app.wsgi_app = layer  # type: ignore[method-assign]


def test_a_log_in_before_the_node_api_is_wrong_though_every_heartbeat_is_good(pair: Pair) -> None:
    closing(pair.peer.app)
    pair.doctor()
    assert pair.wrong() == ["peer.commands"] and pair.status("peer.portal") == "ok"
    assert (
        "HTTP status 302 to /login" in pair.of("peer.commands")["found"]
        and "log-in" in pair.of("peer.commands")["todo"]
    )
    assert pair.status("server.commands") == "ok"


def test_a_check_before_each_request_lets_commands_through_and_trusted_hosts_need_the_addresses(pair: Pair) -> None:
    pair.own.app.before_request(lambda: ("closed", 401))
    pair.own.app.config["TRUSTED_HOSTS"] = ["portal.example"]
    pair.doctor()
    assert pair.wrong() == ["server.commands"] and "something else answers" in pair.of("server.commands")["found"]
    pair.own.app.config["TRUSTED_HOSTS"] = [HOSTS[0]]
    pair.doctor()
    assert pair.wrong() == [] and pair.status("server.commands") == "ok"
    assert pair.own.client.get("/ft/admin/", base_url=f"http://{HOSTS[0]}").status_code == 401
