"""Every verb of the lab's LAN, seen from its hosts: a fault that does less or more than it says proves nothing."""

from __future__ import annotations

import hashlib
import itertools
import os
import select
import signal
import socket
import subprocess
import threading
import time
from typing import Iterator

import pytest

from tests.lab import namespaces
from tests.lab.lan import Lan, LabError, missing

from .traffic import HOSTS, PORT, VIP, bound, carrier, exchange, left_over, on, one_way, reaches, relays, trip_times_s

pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]


@pytest.fixture(scope="module")
def shared() -> Iterator[Lan]:
    with Lan("verbs", HOSTS, {"c": [VIP]}) as lan:
        echoes = [bound(lan, host, PORT) for host in HOSTS]
        end, ended = socket.socketpair()

        def answer() -> None:
            while ended not in (ready := select.select([*echoes, ended], [], [])[0]):
                for echo in ready:
                    data, asker = echo.recvfrom(2048)
                    echo.sendto(data, asker)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield lan
        finally:
            end.close()
            thread.join(5)
            for sock in (*echoes, ended):
                sock.close()


@pytest.fixture
def lan(shared: Lan) -> Iterator[Lan]:
    shared.heal()
    for near, far in itertools.permutations(HOSTS, 2):  # so that no test counts the wait for an ARP answer
        assert reaches(shared, near, HOSTS[far]), f"{near} does not reach {far} on a healed LAN"
    yield shared
    shared.heal()


# -- hosts -------------------------------------------------------------------------------------------------------------


def test_a_host_sees_the_lan_and_nothing_else_of_the_machine(lan: Lan) -> None:
    assert sorted(os.listdir("/sys/class/net")) != ["eth0", "lo"], "the machine itself looks like a host"
    assert on(lan, "a", "ls", "/sys/class/net").split() == ["eth0", "lo"]
    assert HOSTS["a"] in on(lan, "a", "ip", "-4", "address", "show", "dev", "eth0")
    routes = on(lan, "a", "ip", "-4", "route").splitlines()
    assert len(routes) == 1 and routes[0].startswith("10.99.7.0/24"), routes
    assert reaches(lan, "a", "127.0.0.1") and reaches(lan, "a", VIP)


def test_a_thread_inside_a_host_returns_also_after_an_error(lan: Lan) -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    with pytest.raises(ZeroDivisionError), lan.inside("a"):
        with lan.inside("b"):
            deeper = os.readlink("/proc/thread-self/ns/net")
        assert os.readlink("/proc/thread-self/ns/net") not in (before, deeper)
        _ = 1 / 0
    assert os.readlink("/proc/thread-self/ns/net") == before


# -- cuts --------------------------------------------------------------------------------------------------------------


def test_a_silent_cut_stops_everything_even_arp_and_the_host_still_has_carrier(lan: Lan) -> None:
    lan.cut("b")
    assert one_way(lan, "a", "b", 20)[1] == [] and one_way(lan, "b", "a", 20)[1] == []
    assert carrier(lan, "b") == "1"
    assert reaches(lan, "a", HOSTS["c"]), "the others are not cut"
    for host in "ab":
        on(lan, host, "ip", "neighbour", "flush", "dev", "eth0")
    for near, far in ("ab", "ba"):
        assert not reaches(lan, near, HOSTS[far], 0.5)
    for near, far in ("ab", "ba"):
        assert "lladdr" not in on(
            lan, near, "ip", "neighbour", "show", HOSTS[far]
        ), f"ARP came through the cut to {near}"
    lan.heal("b")
    assert reaches(lan, "a", HOSTS["b"]) and reaches(lan, "b", HOSTS["a"])


def test_a_pulled_cable_is_seen_by_the_host_until_it_is_healed(lan: Lan) -> None:
    lan.cut("b", carrier=True)
    assert carrier(lan, "b") == "0" and carrier(lan, "a") == "1"
    assert not reaches(lan, "a", HOSTS["b"], 0.3) and reaches(lan, "a", HOSTS["c"])
    lan.heal()
    assert carrier(lan, "b") == "1" and reaches(lan, "a", HOSTS["b"])


def test_two_hosts_cut_from_each_other_both_reach_the_third(lan: Lan) -> None:
    lan.cut_between("a", "b")
    assert one_way(lan, "a", "b", 20)[1] == [] and one_way(lan, "b", "a", 20)[1] == []
    assert reaches(lan, "a", HOSTS["c"]) and reaches(lan, "b", HOSTS["c"])
    lan.heal("a")
    assert reaches(lan, "b", HOSTS["a"])


def test_a_one_way_cut_lets_the_other_way_through(lan: Lan) -> None:
    lan.cut_between("a", "b", one_way=True)
    assert one_way(lan, "a", "b", 20)[1] == []
    assert len(one_way(lan, "b", "a", 20)[1]) == 20
    assert reaches(lan, "a", HOSTS["c"])


# -- loss, delay, copies, order, rate ----------------------------------------------------------------------------------


def test_loss_of_30_percent_each_way_loses_about_half_of_the_round_trips(lan: Lan) -> None:
    lan.lose("b", 30)
    lost = 1 - len(exchange(lan, "a", "b")[1]) / 400
    assert 0.40 <= lost <= 0.62, lost
    there = 1 - len(one_way(lan, "a", "b")[1]) / 400
    assert 0.20 <= there <= 0.40, there
    assert len(exchange(lan, "a", "c", 50)[1]) == 50, "the others lose nothing"
    lan.lose("b", 100)
    assert not reaches(lan, "a", HOSTS["b"], 0.3)
    lan.lose("b", 0)
    assert len(exchange(lan, "a", "b", 50)[1]) == 50


def test_a_delay_of_100_ms_each_way_makes_round_trips_of_200_ms_and_only_for_that_host(lan: Lan) -> None:
    lan.delay("b", 0.1)
    times_s = trip_times_s(lan, "a", "b")
    assert len(times_s) == 40 and all(0.200 <= one < 0.260 for one in times_s), times_s
    assert max(trip_times_s(lan, "a", "c")) < 0.1
    lan.delay("b", 0.03)
    assert 0.06 <= min(trip_times_s(lan, "a", "b")) < 0.1, "a second delay replaces the first"
    lan.heal("b")
    assert max(trip_times_s(lan, "a", "b")) < 0.05


def test_jitter_varies_the_delay_and_keeps_the_order(lan: Lan) -> None:
    lan.delay("b", 0.1, jitter_s=0.05)
    sent, arrived = one_way(lan, "a", "b", 40, gap_s=0.02)
    times_s = [at_s - sent[number] for number, at_s in arrived]
    assert [number for number, _ in arrived] == list(range(40))
    assert min(times_s) >= 0.05 and max(times_s) < 0.2 and max(times_s) - min(times_s) > 0.03, times_s


def test_duplicates_arrive_twice_and_nothing_is_lost(lan: Lan) -> None:
    lan.duplicate("b", 50)
    arrived = [number for number, _ in one_way(lan, "a", "b")[1]]
    assert set(arrived) == set(range(400))
    assert 140 <= len(arrived) - 400 <= 260, len(arrived)
    assert max(arrived.count(number) for number in range(400)) == 2


def test_reordered_datagrams_arrive_after_later_ones_and_nothing_is_lost(lan: Lan) -> None:
    lan.reorder("b", 20, by_s=0.03)
    arrived = [number for number, _ in one_way(lan, "a", "b")[1]]
    assert sorted(arrived) == list(range(400))
    overtaken = sum(number < highest for number, highest in zip(arrived, itertools.accumulate(arrived, max)))
    assert 40 <= overtaken <= 130, overtaken


def test_a_slow_line_carries_its_rate_and_the_bytes_arrive_whole(lan: Lan) -> None:
    lan.limit_rate("b", 100_000)
    payload = os.urandom(200_000)
    with lan.inside("b"):
        listener = socket.create_server((HOSTS["b"], 7008))
    with lan.inside("a"):
        client = socket.create_connection((HOSTS["b"], 7008), timeout=5)
    with listener, client, listener.accept()[0] as server:
        server.settimeout(5)
        start_s = time.monotonic()
        sender = threading.Thread(target=client.sendall, args=(payload,))
        sender.start()
        got = bytearray()
        while len(got) < len(payload):
            got += server.recv(65536) or pytest.fail(f"the connection ended after {len(got)} bytes")
        took_s = time.monotonic() - start_s
        sender.join(5)
    assert hashlib.sha256(got).digest() == hashlib.sha256(payload).digest()
    assert 1.9 <= took_s < 4.0, took_s


def test_faults_of_one_host_hold_together_and_survive_the_healing_of_another(lan: Lan) -> None:
    lan.delay("b", 0.05)
    lan.duplicate("b", 100)
    lan.lose("b", 30)
    lan.delay("c", 0.02)
    lan.cut("a")
    lan.heal("a")
    sent, arrived = one_way(lan, "a", "b")
    different = {number for number, _ in arrived}
    assert 0.02 <= 1 - len(different) / 400 <= 0.40 and len(arrived) > len(different), (len(different), len(arrived))
    assert min(at_s - sent[number] for number, at_s in arrived) >= 0.05
    assert min(trip_times_s(lan, "a", "c")) >= 0.04
    lan.cut("b", carrier=True)
    lan.heal("b")
    assert max(trip_times_s(lan, "a", "b")) < 0.05


def test_a_healed_line_has_no_relay_left_in_it(lan: Lan) -> None:
    lan.reorder("b", 10, by_s=0.01)
    assert relays()
    lan.heal("b")
    assert not relays()
    assert len(exchange(lan, "a", "b", 50)[1]) == 50


# -- the end -----------------------------------------------------------------------------------------------------------


def test_nothing_is_left_after_an_exception_not_even_a_process_that_ignores_signals() -> None:
    before = relays()
    with pytest.raises(ZeroDivisionError), Lan("boom", {"a": "10.99.8.1", "b": "10.99.8.2"}) as lan:
        lan.reorder("a", 10, by_s=0.01)
        assert len(left_over("boom")) == 3 and len(relays() - before) == 1
        stubborn = ("sh", "-c", "trap '' TERM HUP INT; echo up; while :; do sleep 1; done")
        process = subprocess.Popen((*lan.prefix("b"), *stubborn), stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        with process.stdout:
            _ = 1 / 0
    assert process.wait(5) == -signal.SIGKILL
    assert left_over("boom") == [] and relays() == before


def test_a_lan_that_cannot_be_built_leaves_nothing_and_the_one_in_its_way_unharmed() -> None:
    with Lan("twice", {"a": "10.99.8.1"}) as first:
        alive = subprocess.Popen((*first.prefix("a"), "sleep", "60"))
        with pytest.raises(LabError, match="exists"), Lan("twice", {"a": "10.99.8.1"}):
            pass
        assert len(left_over("twice")) == 2 and alive.poll() is None
        assert "10.99.8.1/24" in on(first, "a", "ip", "address")
    assert alive.wait(5) == -signal.SIGKILL and left_over("twice") == []
    with pytest.raises(OSError):
        namespaces.add(namespaces.name_of("half", "a"), {"ipv4/tcp_tw_reuse": "nonsense"})
    assert left_over("half") == []


def test_a_relay_that_dies_makes_the_run_void() -> None:
    with pytest.raises(LabError, match="relay of a ended by itself"), Lan("dead", {"a": "10.99.8.1"}) as lan:
        before = relays()
        lan.reorder("a", 10, by_s=0.01)
        (relay,) = relays() - before
        os.kill(relay, signal.SIGKILL)
    assert left_over("dead") == []


def test_what_a_killed_run_left_behind_is_removed_by_the_next() -> None:
    run = subprocess.Popen(("sleep", "60"))
    orphan = f"ftlab.old.{run.pid}.a"
    namespaces.add(orphan, {})
    sleeper = subprocess.Popen(("ip", "netns", "exec", orphan, "sh", "-c", "echo up; sleep 60"), stdout=subprocess.PIPE)
    assert sleeper.stdout is not None and sleeper.stdout.readline() == b"up\n"
    sleeper.stdout.close()
    run.kill()
    run.wait(5)
    with Lan("next", {"a": "10.99.8.1"}):
        assert sleeper.wait(5) == -signal.SIGKILL
        assert not (namespaces.NAMED / orphan).exists()


@pytest.mark.parametrize(
    ("name", "hosts", "extra", "word"),
    [
        ("toolong", {"a": "10.99.8.1"}, {}, "at most 6"),
        ("a.b", {"a": "10.99.8.1"}, {}, "letters and digits"),
        ("ok", {}, {}, "one to 200"),
        ("ok", {"switch": "10.99.8.1"}, {}, "not 'switch'"),
        ("ok", {"a": "10.99.8.1", "b": "10.99.9.1"}, {}, "one /24"),
        ("ok", {"a": "10.99.8.1"}, {"a": ["10.99.8.1"]}, "given twice"),
        ("ok", {"a": "10.99.8.1"}, {"b": ["10.99.8.9"]}, "extra names only hosts"),
    ],
)
def test_a_lan_that_makes_no_sense_is_refused(
    name: str, hosts: dict[str, str], extra: dict[str, list[str]], word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        Lan(name, hosts, extra)


def test_a_fault_that_makes_no_sense_is_refused_and_changes_nothing(lan: Lan) -> None:
    with pytest.raises(ValueError, match="'d' is not on LAN.*there are: a, b, c"):
        lan.cut("d")
    with pytest.raises(ValueError, match="not cut from itself"):
        lan.cut_between("a", "a")
    with pytest.raises(ValueError, match="from 0 to 100"):
        lan.lose("a", 101)
    with pytest.raises(ValueError, match="jitter_s <= delay_s"):
        lan.delay("a", 0.1, jitter_s=0.2)
    assert len(exchange(lan, "a", "b", 50)[1]) == 50
