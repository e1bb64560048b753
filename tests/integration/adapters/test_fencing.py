"""The fence command, run for real: exit 0 alone is a fence, its whole process group ends at its limit."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Sequence

import pytest

from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.terms import Designation
from tests.parts import alive, eventually
from workers.fencing import FenceCommand
from workers.ports import Fenced

REASON = "the peer's portal answered but did not confirm that it stopped"


def fence(argv: Sequence[str], limit_s: float = 5.0, said: list[str] | None = None) -> Fenced:
    told = said if said is not None else []
    return FenceCommand(argv, limit_s).fence(Designation.SERVER2, "10.0.0.2:8080", 12, REASON, told.append)


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def test_it_is_told_whom_to_fence_and_why_and_no_secret_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FT_SECRET_KEYS", "do not tell")
    ended = fence(shell("env | grep ^FT_ | sort"))
    assert ended.done
    assert ended.detail == (
        f"exit 0: FT_FENCE_ADDRESS=10.0.0.2:8080 / FT_FENCE_EPOCH=12 / FT_FENCE_REASON={REASON} / FT_FENCE_TARGET=server2"
    )


@pytest.mark.parametrize("code", [1, 2, 126, 255])
def test_any_other_exit_code_is_no_fence(code: int) -> None:
    ended = fence(shell(f"echo no power switch; exit {code}"))
    assert ended == Fenced(done=False, detail=f"exit {code}: no power switch")


def test_a_command_that_was_killed_is_no_fence() -> None:
    assert not fence(shell("kill -9 $$")).done


@pytest.mark.parametrize("argv", [["/nowhere/fence"], ["/tmp"], ["/bin/true\0"]])
def test_a_program_that_cannot_be_run_is_no_fence_and_says_so(argv: list[str]) -> None:
    ended = fence(argv)
    assert not ended.done and "cannot be run" in ended.detail


def test_at_its_limit_it_ends_with_all_that_it_started(tmp_path: pathlib.Path) -> None:
    pid_file = tmp_path / "pid"
    began_s = time.monotonic()
    ended = fence(shell(f"sleep 60 & echo $! > {pid_file}; trap '' TERM; wait; sleep 60"), limit_s=0.7)
    assert not ended.done and "killed after its limit of 0.7 s" in ended.detail
    assert time.monotonic() - began_s < 5
    pid = int(pid_file.read_text())
    eventually(lambda: not alive(pid), 10, "what it started ends too")


def test_while_it_runs_the_page_is_told_each_second() -> None:
    said: list[str] = []
    assert fence(shell("sleep 1.5"), said=said).done
    assert said == ["the fence command against server2 has run for 1 of 5 s"]


def test_what_the_caller_raises_while_it_runs_ends_it_with_all_that_it_started(tmp_path: pathlib.Path) -> None:
    """As when the other server takes its role back meanwhile: it must not be powered off then."""
    pid_file = tmp_path / "pid"

    def taken_back(text: str) -> None:
        raise LookupError(f"a higher epoch was seen, {text}")

    command = FenceCommand(shell(f"sleep 60 & echo $! > {pid_file}; wait"), 30.0)
    with pytest.raises(LookupError, match="has run for 1 of 30 s"):
        command.fence(Designation.SERVER2, "10.0.0.2:8080", 12, REASON, taken_back)
    pid = int(pid_file.read_text())
    eventually(lambda: not alive(pid), 10, "what it started ends too")


def test_its_output_may_be_long_and_binary() -> None:
    ended = fence(shell("head -c 100000 /dev/urandom; exit 3"))
    assert not ended.done and len(ended.detail) < 1000


# --- configuration ------------------------------------------------------------------------------------------------

NODE = {"FT_OWN_ADDRESS": "10.0.0.1", "FT_SECRET_KEYS": ["a key of 16 chars"]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("FT_FENCE_COMMAND", "power-off"),
        ("FT_FENCE_COMMAND", [""]),
        ("FT_FENCE_COMMAND", ["ipmitool", 3]),
        ("FT_FENCE_LIMIT_S", 0.0),
        ("FT_FENCE_LIMIT_S", 5000.0),
        ("FT_WATCHDOG_SILENT_S", 0.0),
        ("FT_WATCHDOG_WINDOW_S", float("nan")),
        ("FT_WATCHDOG_RESTARTS_MAX", 0),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        NodeConfig.of({**NODE, key: value})


def test_without_a_fence_command_there_is_none() -> None:
    config = NodeConfig.of(NODE)
    assert config.fence_command == () and config.watchdog_silent_s == 60.0
