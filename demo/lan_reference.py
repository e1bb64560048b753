"""The demo's LAN reference: accepts TCP connections and closes them.

The settings name it ``tcp:ADDRESS:PORT``; on a real LAN the default gateway is asked instead. Stopping it does not take
the LAN away: a refused connection proves just as well that the host is there. A cut LAN needs hosts of their own.
"""

from __future__ import annotations

import argparse
import socket


def main() -> None:
    parser = argparse.ArgumentParser(description="Accepts TCP connections and closes them.")
    parser.add_argument("--listen", default="127.0.0.1:7002", metavar="ADDRESS:PORT")
    host, _, port = parser.parse_args().listen.rpartition(":")
    try:
        server = socket.create_server((host, int(port)), backlog=64)
    except OSError as error:
        raise SystemExit(f"LAN reference cannot listen on {host}:{port}: {error}") from None
    print(f"LAN reference on {host}:{port}", flush=True)
    while True:
        connection, _ = server.accept()
        connection.close()


if __name__ == "__main__":
    main()
