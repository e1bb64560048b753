"""Starting and ending the demo: what a user sees when it cannot start, and that it leaves no process behind."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from demo.cluster import Cluster, ClusterConfig, ProcessError, free_config
from demo.layout import Group, SetupError, check_ports, toml
from demo.processes import Supervision, session_members

from tests.parts import eventually

from .helpers import ROOT

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
# ends only by force, and has a child that supervisord does not know of
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); time.sleep(600)",
)


def supervision(directory: pathlib.Path, **programs: tuple[str, ...]) -> Supervision:
    directory.mkdir(parents=True, exist_ok=True)
    group = Group(name="test", directory=directory, programs=tuple(programs.items()), env={})
    return Supervision(group.name, group.config, group.write(), group.env)


def test_a_taken_port_is_named_with_the_way_out_and_nothing_starts(tmp_path: pathlib.Path) -> None:
    config = free_config(ClusterConfig(directory=tmp_path))
    with socket.create_server((f"{config.net}.12", config.redis_port)):
        command = [sys.executable, "-m", "demo.cluster", "--net", config.net, "--directory", str(tmp_path)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert ended.returncode == 2
    assert f"{config.net}.12:{config.redis_port}" in ended.stderr and "--redis-port" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    assert not (tmp_path / "node1").exists()


def test_every_port_of_the_cluster_is_checked(tmp_path: pathlib.Path) -> None:
    config = free_config(ClusterConfig(directory=tmp_path, witness=True))
    with socket.create_server((config.outside, config.witness_port)), pytest.raises(SetupError, match="witness"):
        check_ports(config)


def test_a_killed_program_is_restarted_by_its_supervisor(tmp_path: pathlib.Path) -> None:
    group = supervision(tmp_path, one=SLEEPER)
    group.start()
    try:
        first = eventually(lambda: group.pid("one"))
        group.kill("one")
        second = eventually(lambda: (pid := group.control("getProcessInfo", "one")["pid"]) not in (0, first) and pid)
        assert second != first
        with pytest.raises(ProcessError, match="two is not running"):
            group.pid("two")
    finally:
        group.stop()
    assert not group.running


def test_killing_everything_leaves_nothing_to_restart_it(tmp_path: pathlib.Path) -> None:
    group = supervision(tmp_path, one=SLEEPER, two=STUBBORN)
    group.start()
    session = group.session
    eventually(lambda: len(session_members(session)) == 4, what="supervisord, two programs, one child")
    group.kill_everything()
    assert session_members(session) == {}
    group.start()
    group.stop()


def test_frozen_all_stop_and_the_end_still_leaves_none(tmp_path: pathlib.Path) -> None:
    group = supervision(tmp_path, one=SLEEPER, two=STUBBORN)
    group.start()
    session = group.session
    eventually(lambda: len(session_members(session)) == 4)
    group.freeze()
    eventually(lambda: set(session_members(session).values()) == {"T"}, what="all frozen")
    group.stop()
    assert session_members(session) == {}


def test_a_socket_path_that_is_too_long_is_moved(tmp_path: pathlib.Path) -> None:
    group = supervision(tmp_path / ("long" * 25), one=SLEEPER)
    for _ in range(2):
        group.start()
        group.stop()
        assert not group.running and not group.socket.parent.exists()


def test_killed_with_9_the_starter_leaves_no_process(tmp_path: pathlib.Path) -> None:
    config = free_config(ClusterConfig(directory=tmp_path, balancer=False))
    code = (
        "import sys, time\n"
        "from demo.cluster import Cluster, arguments\n"
        "cluster = Cluster(arguments(sys.argv[1:])); cluster.start()\n"
        "print(*[cluster.node(n).session for n in (1, 2, 'outside')], flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, "--net", config.net, "--directory", str(tmp_path), "--no-balancer"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as starter:
        assert starter.stdout is not None
        sessions = [int(word) for word in starter.stdout.readline().split()]
        starter.send_signal(signal.SIGKILL)
    assert len(sessions) == 3
    try:
        eventually(lambda: not any(session_members(s) for s in sessions), 30, "every session has ended")
    finally:
        for pid in [pid for s in sessions for pid in session_members(s)]:
            os.kill(pid, signal.SIGKILL)


def test_seeded_nodes_have_the_same_settings_at_the_same_revision(tmp_path: pathlib.Path) -> None:
    cluster = Cluster(free_config(ClusterConfig(directory=tmp_path)))
    cluster.prepare()
    (one, first), (two, second) = (cluster.settings_store(n).current() for n in (1, 2))
    assert one == two == 1 and first == second and first.enabled and first.threshold == 3
    assert cluster.node_config(1).secret_keys == cluster.node_config(2).secret_keys


def test_toml_that_is_written_can_be_read_again() -> None:
    import tomllib

    values = {"A": 'quote " and \\ back', "B": [1, 2.5], "C": True, "D": [{"name": "x", "port": 1}], "E": "ü"}
    assert tomllib.loads(toml(values)) == values
