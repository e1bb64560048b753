"""What the doctor says of a portal that lets heartbeats through, but not what the other server commands."""

from __future__ import annotations

from typing import Any

from flask import redirect, request

from .conftest import HOSTS, Pair


def test_a_log_in_before_the_node_api_is_wrong_though_every_heartbeat_is_good(pair: Pair) -> None:
    pair.peer.app.before_request(lambda: redirect("/login"))
    pair.doctor()
    assert pair.wrong() == ["peer.commands"] and pair.status("peer.portal") == "ok"
    assert (
        "HTTP status 302 to /login" in pair.of("peer.commands")["found"]
        and "log-in" in pair.of("peer.commands")["todo"]
    )
    assert pair.status("server.commands") == "ok"


def test_the_check_of_the_documentation_lets_commands_through(pair: Pair) -> None:
    def closed() -> Any:
        return None if (request.endpoint or "").startswith(("ft_monitor", "ft_node", "ft_metrics")) else ("closed", 401)

    pair.own.app.before_request(closed)
    pair.own.app.config["TRUSTED_HOSTS"] = ["portal.example"]
    pair.doctor()
    assert pair.wrong() == ["server.commands"] and "something else answers" in pair.of("server.commands")["found"]
    pair.own.app.config["TRUSTED_HOSTS"] = [HOSTS[0]]
    pair.doctor()
    assert pair.wrong() == [] and pair.status("server.commands") == "ok"
    assert pair.own.client.get("/ft/admin/", base_url=f"http://{HOSTS[0]}").status_code == 401
