"""What a table holds in secret stays on this server: agents' parameters and passwords in what leaves it for support."""

from __future__ import annotations

import json
from typing import Any

from ftplugin.config import NodeConfig
from ftplugin.logs.secrets_out import Cleaner, shown_config

TABLES: list[dict[str, Any]] = [
    {"name": "db", "kind": "ocf", "agent": "ocf:heartbeat:mysql", "params": {"replication_passwd": "hunter22"}},
    {
        "name": "beat",
        "kind": "supervisord",
        "program": "beat",
        "url": "unix:///s",
        "user": "ft",
        "password": "pa55word",
    },
]


def test_parameters_and_passwords_of_services_are_not_shown_and_are_taken_out_of_texts() -> None:
    config = NodeConfig.of({"FT_SERVICES": TABLES, "FT_SECRET_KEYS": ["a key of this pair, long enough"]})
    shown = json.dumps(shown_config(config))
    assert "ocf:heartbeat:mysql" in shown and "unix:///s" in shown
    text = Cleaner(config).text("mysql said: login with hunter22 failed; supervisord wants pa55word")
    for secret in ("hunter22", "pa55word"):
        assert secret not in shown and secret not in text
