"""IPaddr2 in a LAN of namespaces: a floating address on a host, and the gratuitous ARP that another host sees."""

from __future__ import annotations

import json
import pathlib
import socket
import struct
import subprocess
import time
from typing import Any, Iterator

import pytest

from ftplugin.core.terms import ServiceState as S
from tests.lab.lan import Lan, missing
from workers.adapters.services import build

from .conftest import becomes, needs_agents
from .test_examples import example

pytestmark = [pytest.mark.lab, needs_agents]

HOSTS = {"node1": "10.78.0.11", "node2": "10.78.0.12", "client": "10.78.0.20"}
ADDRESS = "10.78.0.100"
ETHERNET_ARP = 0x0806


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    if why := missing():
        pytest.skip(why)
    with Lan("vip", HOSTS) as made:
        yield made


def service_on(lan: Lan, host: str, folder: pathlib.Path, monkeypatch: Any) -> Any:
    """The controller of a host; what its agent keeps is apart from the other host's."""
    (folder / host).mkdir()
    monkeypatch.setenv("HA_RSCTMP", str(folder / host))
    table = example("vip", {"10.0.0.100": ADDRESS})
    table["params"] |= {"arp_interval": 50, "arp_count": 3}  # of the page's table: less to wait for
    with lan.inside(host):
        return build([table | {"start_limit_s": 20.0, "stop_limit_s": 5.0}], folder / host)[0]


def holds(lan: Lan, host: str) -> bool:
    argv = [*lan.prefix(host), "ip", "-j", "addr", "show", "dev", "eth0"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True)
    return any(entry["local"] == ADDRESS for entry in json.loads(done.stdout)[0]["addr_info"])


def gratuitous(listener: socket.socket, limit_s: float) -> str:
    """Hardware address of the first host that says unasked that ADDRESS is its own; empty when none does in time."""
    deadline_s = time.monotonic() + limit_s
    wanted = socket.inet_aton(ADDRESS)
    while (left_s := deadline_s - time.monotonic()) > 0:
        listener.settimeout(left_s)
        try:
            frame = listener.recv(2048)
        except TimeoutError:
            break
        hardware, sender, target = struct.unpack("!6s4s6x4s", frame[22:42])
        if sender == target == wanted:
            return hardware.hex(":")
    return ""


def card_of(lan: Lan, host: str) -> str:
    argv = [*lan.prefix(host), "ip", "-j", "link", "show", "dev", "eth0"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True)
    return str(json.loads(done.stdout)[0]["address"])


def test_address_moves_between_hosts_and_a_client_is_told_unasked(
    lan: Lan, tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    services = {host: service_on(lan, host, tmp_path, monkeypatch) for host in ("node1", "node2")}
    with lan.inside("client"):
        listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERNET_ARP))
    with listener:
        for epoch, host in ((2, "node1"), (5, "node2")):
            with lan.inside(host):
                assert services[host].status().state is S.STANDBY
                services[host].promote(epoch, 2.5)
                becomes(services[host], S.ACTIVE)
            assert holds(lan, host)
            assert gratuitous(listener, 5.0) == card_of(lan, host), "the client learns the new network card at once"
            with lan.inside(host):
                assert services[host].demote(epoch).state is S.STANDBY
            assert not holds(lan, host)
            while gratuitous(listener, 0.3):
                continue  # what node1 said until it was demoted; from here on it must be silent


def test_address_that_is_deleted_by_hand_is_seen_and_put_back(
    lan: Lan, tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    service = service_on(lan, "node1", tmp_path, monkeypatch)
    with lan.inside("node1"):
        service.promote(2, 2.5)
        becomes(service, S.ACTIVE)
        subprocess.run(["ip", "addr", "del", f"{ADDRESS}/32", "dev", "eth0"], timeout=10, check=True)
        assert service.status().state is S.STANDBY, "the watchdog restarts it in its role"
        service.promote(2, 2.5)
        becomes(service, S.ACTIVE)
        assert holds(lan, "node1")
        assert service.demote(3).state is S.STANDBY
