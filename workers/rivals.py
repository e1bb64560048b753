"""Another instance that uses the same names in this Redis: two that both forgot FT_PREFIX, or both servers on one Redis.

Each would overwrite the other's role, so the second worker of a kind is refused, as by the lock file when they share a folder.
Redis itself knows who is there: every connection of a worker has its name, and a killed worker has none. So nothing can be
left behind that keeps a worker from starting.
"""

from __future__ import annotations

import zlib

import redis

from ftplugin.config import NodeConfig
from ftplugin.store.keys import Keys


def client_name(config: NodeConfig, role: str) -> str:
    """Of the connections of the worker ``role`` ("tick", "switch") or of beat: which names it uses, and who it is."""
    where = zlib.crc32(str(config.instance_dir).encode())
    return f"{Keys(config.prefix).client(role)}{config.own_address}#{where:08x}"


def rival(client: redis.Redis, config: NodeConfig, role: str) -> str:
    """Who else is the worker ``role`` of this prefix in this Redis, with the way out; "" when nobody is, or none can tell.

    client: named by ``client_name``. Of two that start at the same time the one that connected first goes on.
    """
    own_name, names = client_name(config, role), Keys(config.prefix).client(role)
    own, others = [], {}
    try:
        for connection in client.client_list():
            name, number = str(connection.get("name", "")), int(connection["id"])
            if name == own_name:
                own.append(number)
            elif name.startswith(names):
                others[number] = name.removeprefix(names).partition("#")[0]
    except (redis.RedisError, OSError, KeyError, ValueError):
        return ""
    first = min(others, default=0)
    if not others or not own or min(own) < first:
        return ""
    return (
        f"FT_PREFIX={config.prefix!r}: another {role} worker with this prefix uses the Redis of FT_REDIS_URL, that of "
        f"{others[first] or 'an instance without FT_OWN_ADDRESS'} in another FT_INSTANCE_DIR. Give each instance its own "
        "FT_PREFIX, and each server its own Redis."
    )
