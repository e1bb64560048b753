"""A LAN of hosts made from network namespaces, with faults as verbs.

A bridge, the switch, lives in a namespace of its own; every host has its own with ``lo`` and ``eth0`` and sees
nothing of the machine's other networks. A host's cable has a patch in it, and all of it lies in the switch's namespace,
where the host can neither see nor undo what is done to it:

    eth0 = near<n> - patch<n> - far<n> = port<n> - lan        =: a veth pair; patch<n>: a bridge of two ports

    cuts and loss          rules of nftables' bridge family at port<n>, replaced in one transaction; they stop ARP too
    no carrier             near<n> goes down
    delay and copies       netem at near<n> and far<n> where the kernel has it
    the rest, or no netem  ``tests.lab.relay`` copies between near<n> and far<n> in place of the patch. netem would let
                           jitter reorder, cannot hold back some frames of a delayed stream, counts its queue in frames

Loss, delay, copies, reordering and rate act on both ways, each way by itself. Faults of two hosts add up on a frame
between them. A verb replaces what the same verb said before about that host; ``heal`` takes back.
"""

from __future__ import annotations

import ipaddress
import pathlib
import select
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import ContextManager, Mapping, Sequence

from tests.lab import namespaces
from tests.lab.namespaces import LabError, has_netem, missing

__all__ = ["Faults", "LabError", "Lan", "missing"]

ROOT = pathlib.Path(__file__).parents[2]
NAME_CHARACTERS_MAX = 6
RELAY_LIMIT_S = 10.0
RELAY_IDLE = "--idle"  # it takes nothing in: the patch forwards

# Clients that open a connection per request fill the default range with TIME_WAIT; services listen below it.
HOST_SYSCTLS = {
    "ipv4/ip_local_port_range": "10240 65535",
    "ipv4/tcp_tw_reuse": "1",
    "ipv4/tcp_max_tw_buckets": "1024",
}
SWITCH_SYSCTLS = {"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"}
NETEM_FRAMES = 100_000  # under way at once; its default of 1000 would lose frames that no verb said to lose


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What is wrong with one host's port. The defaults are a good one."""

    cut: bool = False
    no_carrier: bool = False
    loss_percent: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    duplicate_percent: float = 0.0
    reorder_percent: float = 0.0
    reorder_s: float = 0.0
    bytes_per_s: int = 0

    @property
    def netem(self) -> str:
        """Options of netem for all that is wrong with the wire; empty when nothing is, or netem cannot do it."""
        if self.jitter_s or self.reorder_percent or self.bytes_per_s or not (self.delay_s or self.duplicate_percent):
            return ""
        return f"limit {NETEM_FRAMES} delay {self.delay_s * 1000:.3f}ms duplicate {self.duplicate_percent}%"

    @property
    def relay(self) -> str:
        """Options of the relay; empty when nothing is wrong with the wire."""
        if not any((self.delay_s, self.duplicate_percent, self.reorder_percent, self.bytes_per_s)):
            return ""
        return (
            f"--delay-s {self.delay_s} --jitter-s {self.jitter_s} --duplicate-percent {self.duplicate_percent}"
            f" --reorder-percent {self.reorder_percent} --reorder-s {self.reorder_s} --bytes-per-s {self.bytes_per_s}"
        )


class RelayProcess:
    """A running ``tests.lab.relay`` between two interfaces, idle until it is told what to do."""

    def __init__(self, host: str, namespace: str, near: str, far: str) -> None:
        self._host = host
        command = ("ip", "netns", "exec", namespace, sys.executable, "-m", "tests.lab.relay", near, far, RELAY_IDLE)
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            self._await_ready()
        except LabError:
            self._process.kill()
            self._process.wait(RELAY_LIMIT_S)
            raise

    def change(self, options: str) -> None:
        """Give it other parameters; it has taken them when this returns.

        :raises LabError: it does not answer.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(options + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise LabError(self._died()) from error
        self._await_ready()

    def stop(self) -> None:
        """End it by ending its input.

        :raises LabError: it died before: its host was cut from then on, and no test may pass over that.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it is dead, which is said below
            self._process.stdin.close()
        try:
            self._process.wait(RELAY_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(RELAY_LIMIT_S)
        self._process.stdout.close()
        if self._process.returncode:  # it ends with 0 when its input ends, and only then
            raise LabError(self._died())

    def _await_ready(self) -> None:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], RELAY_LIMIT_S)[0]:
            raise LabError(f"the relay of {self._host} did not answer within {RELAY_LIMIT_S} s")
        if self._process.stdout.readline() != "ready\n":
            self._process.wait(RELAY_LIMIT_S)
            raise LabError(self._died())

    def _died(self) -> str:
        status = self._process.poll()
        return f"the relay of {self._host} ended by itself ({status=}, see stderr): the host was cut, this run is void"


class Lan:
    """Hosts on one switch; a context manager that removes everything on exit, also after a failure half way.

    Processes still running inside a host at the exit are killed. Methods may be called from any thread.

    :param name: short name, at most 6 letters and digits; two LANs of one process need two names.
    :param hosts: host name -> IPv4 address, all in one /24; at most 200 hosts.
    :param extra: host name -> further addresses of that host, such as the VIP at a balancer.
    :raises ValueError: the name, a host or an address does not fit.
    """

    def __init__(self, name: str, hosts: Mapping[str, str], extra: Mapping[str, Sequence[str]] = {}) -> None:
        _check(name, hosts, extra)
        self._name = name
        self._hosts = dict(hosts)
        self._extra = {host: tuple(addresses) for host, addresses in extra.items()}
        self._number = {host: number for number, host in enumerate(self._hosts, 1)}
        self._switch = namespaces.name_of(name, "switch")
        self._faults: dict[str, Faults] = {}
        self._pairs: set[tuple[str, str]] = set()  # nothing from the first reaches the second
        self._relays: dict[str, RelayProcess] = {}
        self._lock = threading.RLock()
        self._undo = ExitStack()

    # -- life ----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> "Lan":
        namespaces.remove_orphans()
        self._faults = {host: Faults() for host in self._hosts}
        self._pairs.clear()
        with ExitStack() as undo:
            namespaces.add(
                self._switch, SWITCH_SYSCTLS
            )  # first: one of that name would be another LAN's, not ours to undo
            undo.callback(namespaces.remove, self._switch)
            namespaces.ip_batch(
                self._switch,
                "link add lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                "link set lan up",
            )
            for host, address in self._hosts.items():
                namespaces.add(self._namespace(host), HOST_SYSCTLS)
                undo.callback(namespaces.remove, self._namespace(host))
                self._plug_in(host, address)
            undo.callback(self._stop_relays)
            self._write_rules()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._undo.close()

    def _plug_in(self, host: str, address: str) -> None:
        space, n = self._namespace(host), self._number[host]
        mac = "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))  # a capture is read by address
        namespaces.ip_batch(
            self._switch,
            f"link add near{n} type veth peer name eth0 address {mac} netns {space}",
            f"link add far{n} type veth peer name port{n}",
            f"link add patch{n} type bridge stp_state 0 forward_delay 0 mcast_snooping 0 ageing_time 0",
            f"link set patch{n} up",
        )
        namespaces.tune(space, {"ipv6/conf/eth0/disable_ipv6": "1"})
        namespaces.offload_nothing(space, "eth0")
        namespaces.offload_nothing(self._switch, f"near{n}", f"far{n}", f"port{n}")
        namespaces.ip_batch(
            space,
            f"address add {address}/24 dev eth0",
            *(f"address add {more}/32 dev eth0" for more in self._extra.get(host, ())),
            "link set eth0 up",
        )
        plugs = ((f"near{n}", f"patch{n}"), (f"far{n}", f"patch{n}"), (f"port{n}", "lan"))
        namespaces.ip_batch(self._switch, *(f"link set {plug} master {bridge} up" for plug, bridge in plugs))

    # -- hosts ---------------------------------------------------------------------------------------------------------

    def prefix(self, host: str) -> tuple[str, ...]:
        """What to put before a command so that it runs on that host; ``/sys`` shows that host's interfaces too."""
        return ("ip", "netns", "exec", self._namespace(host))

    def inside(self, host: str) -> ContextManager[None]:
        """The calling thread is on that host's network; sockets opened there stay there. Returns to the old one always.

        Only the network: ``/sys``, files and processes stay those of the machine.
        """
        return namespaces.inside(self._namespace(host))

    def _namespace(self, host: str) -> str:
        return namespaces.name_of(self._name, self._known(host))

    def _known(self, host: str) -> str:
        if host not in self._hosts:
            raise ValueError(f"host {host!r} is not on LAN {self._name!r}; there are: {', '.join(self._hosts)}")
        return host

    # -- faults --------------------------------------------------------------------------------------------------------

    def cut(self, host: str, *, carrier: bool = False) -> None:
        """Cut a host from the LAN, both ways, ARP too.

        :param carrier: False: silent, as a switch that forwards nothing; True: its port is down, it sees no carrier.
        """
        self._change(host, no_carrier=True) if carrier else self._change(host, cut=True)

    def cut_between(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Cut two hosts from each other; both still reach all others.

        :param one_way: nothing from a reaches b, b still reaches a.
        """
        if self._known(a) == self._known(b):
            raise ValueError(f"cut_between({a!r}, {b!r}): a host is not cut from itself; name two hosts")
        with self._lock:
            self._pairs |= {(a, b)} if one_way else {(a, b), (b, a)}
            self._write_rules()

    def lose(self, host: str, percent: float) -> None:
        """Lose that share of the frames of a host, each way, each frame by its own chance. 0 ends it."""
        self._change(host, loss_percent=_percent("lose", percent))

    def delay(self, host: str, delay_s: float, jitter_s: float = 0.0) -> None:
        """Hold every frame of a host for ``delay_s`` +- ``jitter_s`` seconds, each way, in order."""
        if not 0 <= jitter_s <= delay_s:
            raise ValueError(f"delay: {delay_s=} {jitter_s=}: seconds, 0 <= jitter_s <= delay_s")
        self._change(host, delay_s=delay_s, jitter_s=jitter_s)

    def duplicate(self, host: str, percent: float) -> None:
        """Deliver that share of the frames of a host twice, each way."""
        self._change(host, duplicate_percent=_percent("duplicate", percent))

    def reorder(self, host: str, percent: float, by_s: float) -> None:
        """Hold that share of the frames of a host ``by_s`` seconds longer, each way: later ones overtake them."""
        if by_s < 0:
            raise ValueError(f"reorder: {by_s=}: seconds, not negative")
        self._change(host, reorder_percent=_percent("reorder", percent), reorder_s=by_s)

    def limit_rate(self, host: str, bytes_per_s: int) -> None:
        """Let a host send and hear that many bytes a second, with a queue of half a second, then lost. 0: no limit."""
        if bytes_per_s < 0:
            raise ValueError(f"limit_rate: {bytes_per_s=}: bytes a second, not negative; 0 ends the limit")
        self._change(host, bytes_per_s=int(bytes_per_s))

    def heal(self, host: str | None = None) -> None:
        """Take back every fault of that host, cuts between it and others included; without a host, every fault."""
        with self._lock:
            for name in self._hosts if host is None else (self._known(host),):
                self._pairs = {pair for pair in self._pairs if name not in pair}
                self._set(name, Faults())
            self._write_rules()

    # -- how -----------------------------------------------------------------------------------------------------------

    def _change(self, host: str, **changes: float) -> None:
        with self._lock:
            self._set(host, replace(self._faults[self._known(host)], **changes))  # type: ignore[arg-type]
            self._write_rules()

    def _set(self, host: str, faults: Faults) -> None:
        old, self._faults[host] = self._faults[host], faults
        if faults.no_carrier != old.no_carrier:
            state = "down" if faults.no_carrier else "up"
            namespaces.ip_batch(self._switch, f"link set near{self._number[host]} {state}")
        if faults.relay == old.relay:
            return
        netem, old_netem = (one.netem if has_netem() else "" for one in (faults, old))
        if netem:  # a new means comes before the old one goes: both for a moment, but never none
            self._netem(host, "replace", netem)
        elif faults.relay and host in self._relays:
            self._relays[host].change(faults.relay)
        elif faults.relay:
            self._insert_relay(host, faults.relay)
        if old_netem and not netem:
            self._netem(host, "del", "")
        if netem or not faults.relay:
            self._remove_relay(host)

    def _write_rules(self) -> None:
        """Replace all rules in one transaction. Loss is drawn once where a frame enters and once where it leaves."""
        enter, cross, leave = [], [], []
        for host, faults in self._faults.items():
            if not (faults.cut or faults.loss_percent):
                continue
            chance = max(1, round(faults.loss_percent * 10_000))
            all_of_it = faults.cut or chance == 1_000_000
            verdict = "drop" if all_of_it else f"numgen random mod 1000000 < {chance} drop"
            enter.append(f"iifname port{self._number[host]} {verdict}")
            leave.append(f"oifname port{self._number[host]} {verdict}")
        for a, b in sorted(self._pairs):
            cross.append(f"iifname port{self._number[a]} oifname port{self._number[b]} drop")
        chains = "\n".join(
            f"chain at_{hook} {{ type filter hook {hook} priority 0; policy accept; {'; '.join(rules)}; }}"
            for hook, rules in (("prerouting", enter), ("forward", cross), ("postrouting", leave))
            if rules
        )
        script = f"table bridge lab\ndelete table bridge lab\ntable bridge lab {{\n{chains}\n}}\n"
        namespaces.run("ip", "netns", "exec", self._switch, "nft", "-f", "-", text=script)

    def _netem(self, host: str, verb: str, netem: str) -> None:
        for end in ("near", "far"):
            device = ("dev", f"{end}{self._number[host]}", "root")
            namespaces.run("tc", "-n", self._switch, "qdisc", verb, *device, "netem", *netem.split())

    def _insert_relay(self, host: str, options: str) -> None:
        """Put a relay in place of the patch; it is running when the plugs are drawn, so few frames are lost."""
        near, far = f"near{self._number[host]}", f"far{self._number[host]}"
        self._relays[host] = RelayProcess(host, self._switch, near, far)
        namespaces.ip_batch(self._switch, f"link set {near} nomaster", f"link set {far} nomaster")
        self._relays[host].change(options)

    def _remove_relay(self, host: str) -> None:
        if host not in self._relays:
            return
        relay, n = self._relays.pop(host), self._number[host]
        try:
            relay.change(RELAY_IDLE)
            namespaces.ip_batch(self._switch, f"link set near{n} master patch{n}", f"link set far{n} master patch{n}")
        finally:
            relay.stop()

    def _stop_relays(self) -> None:
        while self._relays:
            self._relays.popitem()[1].stop()


def _check(name: str, hosts: Mapping[str, str], extra: Mapping[str, Sequence[str]]) -> None:
    if not (name.isalnum() and len(name) <= NAME_CHARACTERS_MAX):
        raise ValueError(f"name {name!r}: letters and digits, at most {NAME_CHARACTERS_MAX}")
    if not hosts or len(hosts) > 200:
        raise ValueError(f"hosts: {len(hosts)} given; one to 200 fit on a LAN")
    for host in (*hosts, *extra):
        if not host.replace("-", "").replace("_", "").isalnum() or host == "switch" or host not in hosts:
            raise ValueError(f"host {host!r}: letters, digits, - and _, not 'switch', and extra names only hosts")
    if len({ipaddress.IPv4Interface(f"{address}/24").network for address in hosts.values()}) > 1:
        raise ValueError(f"hosts {dict(hosts)}: all addresses must be in one /24")
    addresses = [ipaddress.IPv4Address(one) for one in (*hosts.values(), *(a for more in extra.values() for a in more))]
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"hosts {dict(hosts)}, extra {dict(extra)}: an address is given twice")


def _percent(verb: str, percent: float) -> float:
    if not 0 <= percent <= 100:
        raise ValueError(f"{verb}: {percent=}: from 0 to 100")
    return float(percent)
