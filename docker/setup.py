"""Writes the files of one part of compose.yml into its volume, from the environment, before its programs start.

    python setup.py server1|server2|outside

Run again it writes the same files and changes no settings that were saved. A real pair needs none of this: there
``ft pair`` exchanges the secrets (docs/install.md).
"""

from __future__ import annotations

import os
import pathlib
import sys

from demo.layout import make_redis, toml
from ftplugin.balancer.exports import make
from ftplugin.balancer.plan import Options
from ftplugin.config import NodeConfig
from ftplugin.core.settings import parse
from ftplugin.pairing import redis_users
from ftplugin.store.database import Database
from ftplugin.store.keys import Keys
from ftplugin.store.settings_store import SettingsStore

HOME = pathlib.Path("/var/lib/ft")
ADDRESSES = {"server1_address": "10.77.1.11:8080", "server2_address": "10.77.2.12:8080"}
REST = {
    "interval_s": "3",
    "timeout_s": "2",
    "threshold": "3",
    "service_stop_s": "2",
    "portal_restart_s": "2",
    "release_delay_s": "1",
    "cti_connect_s": "0",
    "cti_ports": "3",
    "vip_address": "10.77.0.100:8080",
    "witness": "10.77.0.10:2012",
    "enabled": "yes",
}
WHY = "short times, so that something can be seen"


def needed(name: str) -> str:
    """A variable of the environment. Ends the program when it is not set."""
    value = os.environ.get(name, "")
    if not value:
        raise SystemExit(f"setup: {name} is not set: make docker/.env with docker/make-env, as docs/docker.md says")
    return value


def more() -> dict[str, str]:
    """Further settings, over those above: FT_SETUP_SETTINGS="interval_s=5 lan_references=10.77.1.1"."""
    words = os.environ.get("FT_SETUP_SETTINGS", "").split()
    if wrong := [word for word in words if "=" not in word]:
        raise SystemExit(
            f"setup: FT_SETUP_SETTINGS has {wrong[0]!r}: write each setting as name=value, as interval_s=5"
        )
    return dict(word.split("=", 1) for word in words)


def node(name: str) -> None:
    """Configuration and Redis of one server; settings where there are none yet."""
    own = ADDRESSES[f"{name}_address"]
    make_redis(HOME, "0.0.0.0", 2011, needed("FT_SETUP_REDIS"), needed("FT_SETUP_PEER"))
    # by loopback: a server whose network is cut still has its own Redis
    service = {"name": "cti", "kind": "http", "url": "http://127.0.0.1:9001", "token": needed("CTI_TOKEN")}
    values = {
        "PORTAL_SECRET_KEY": needed("FT_SETUP_PORTAL_KEY"),
        "PORTAL_PASSWORD": needed("FT_SETUP_PORTAL_PASSWORD"),
        "FT_OWN_ADDRESS": own,
        "FT_REDIS_URL": f"redis://:{needed('FT_SETUP_REDIS')}@127.0.0.1:2011/0",
        "FT_PEER_REDIS_USER": "peer",
        "FT_PEER_REDIS_PASSWORD": needed("FT_SETUP_PEER"),
        "FT_WITNESS_USER": redis_users.WITNESS_USER,
        "FT_WITNESS_PASSWORD": needed("FT_SETUP_WITNESS"),
        "FT_INSTANCE_DIR": HOME,
        "FT_SECRET_KEYS": [needed("FT_SETUP_KEY")],
        "FT_SERVICES": [{**service, "stop_limit_s": 2.0}],
    }
    file = HOME / "node.toml"
    file.touch(0o600)
    file.write_text(toml(values))
    config = NodeConfig.from_environment({"FT_CONFIG_FILE": str(file)})
    store = SettingsStore(Database(config.database_url), own)
    if store.current()[0] == 0:
        store.save(ADDRESSES, "setup")
        if name == "server1":  # the other one takes it from here
            store.save({**REST, **more()}, "setup", override_reason=WHY)


def outside() -> None:
    """The witness's Redis and HAProxy's configuration."""
    voter = redis_users.line(
        redis_users.WITNESS_USER, redis_users.hashed(needed("FT_SETUP_WITNESS")), redis_users.witness_rules(Keys())
    )
    make_redis(HOME, "10.77.0.10", 2012, needed("FT_SETUP_REDIS"), "", {})
    with (HOME / "redis.conf").open("a") as file:
        file.write(voter + "\n")
    settings = parse({**ADDRESSES, **REST, **more()})
    (exported,) = make("haproxy", settings, 1, Options(follow="role", url_prefix="/ft"))
    published = "\nfrontend published\n    bind :8000\n    option forwardfor\n    default_backend ft_nodes\n"
    (HOME / "haproxy.cfg").write_text(exported.text + published)


if __name__ == "__main__":
    (part,) = sys.argv[1:]
    outside() if part == "outside" else node(part)
