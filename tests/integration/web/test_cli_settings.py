"""``ft settings …``: exit codes and output, as the page's twin."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftplugin.core.settings import NAMES

from .conftest import Site


@pytest.fixture
def run(site: Site) -> Any:
    site.agent()
    site.peer()
    runner = site.app.test_cli_runner()
    return lambda *arguments: runner.invoke(args=["ft", "settings", *arguments])


def test_show_lists_every_setting_and_says_whether_the_other_server_has_them(run: Any, site: Site) -> None:
    found = run("show")
    assert found.exit_code == 0 and found.output.startswith("revision=1\n")
    assert all(f"\n{name}=" in found.output for name in NAMES)
    assert "# not yet on server2: never heard" in found.output
    site.portal.settings.acknowledged(1)
    assert "# on server2 since 20" in run("show").output
    replication = json.loads(run("show", "--json").output)["replication"]
    assert replication["on_both"] is True and replication["since_wall_s"] > 1e9


def test_check_changes_nothing_and_its_exit_code_says_whether_the_change_could_be_saved(run: Any, site: Site) -> None:
    assert run("check").exit_code == 0 and run("check", "threshold=6").output == "Nothing is wrong.\n"
    warned = run("check", "threshold=3")
    assert warned.exit_code == 1 and warned.output.startswith("warning: threshold: ")
    refused = run("check", "timeout_s=99", "agent_port=x", "--json")
    assert refused.exit_code == 1 and [e["field"] for e in json.loads(refused.output)["errors"]] == ["agent_port"]
    assert run("check", "threshold").exit_code == 2
    assert site.portal.settings.current()[0] == 1


def test_preview_tells_both_stories_and_saves_nothing(run: Any, site: Site) -> None:
    found = run("preview", "interval_s=20", "threshold=3")
    assert found.exit_code == 0
    for line in (
        "interval_s: 30.0 -> 20.0",
        "warning: threshold: ",
        "expected_failover_s: 163 s -> 73 s",
        "both_active_bound_s: until healed -> until healed",
        "      60.0 s  server2  Bad heartbeat 3 of 3",
        "      33.0 s  server1  Its lease is over",
        "      75.0 s  server2  The services are up",
    ):
        assert f"\n{line}" in f"\n{found.output}", line
    document = json.loads(run("preview", "interval_s=20", "threshold=3", "--json").output)
    assert [f["fault"] for f in document["forecasts"]] == ["crash", "lan_cut"]
    assert [f["both_active_s"] for f in document["forecasts"]] == [0, 0]
    assert run("preview", "timeout_s=99").exit_code == 1
    assert site.portal.settings.current()[0] == 1


def test_history_lists_revisions_and_shows_one(run: Any, site: Site) -> None:
    site.portal.settings.acknowledged(1)
    assert run("set", "threshold=3", "--reason", "lab only").exit_code == 0
    found = run("history")
    assert found.exit_code == 0 and found.output.index("revision 2,") < found.output.index("revision 1,")
    assert "    threshold: 5 -> 3\n    reason: lab only\n" in found.output
    assert "not yet on both" in found.output and "on both since 20" in found.output
    assert len(json.loads(run("history", "--limit", "1", "--json").output)) == 1
    one = json.loads(run("history", "1", "--json").output)
    assert one["values"]["threshold"] == 5 and one["acknowledged"] is True
    missing = run("history", "9")
    assert missing.exit_code == 1 and "there is no revision 9" in missing.stderr
    assert run("history", "0").exit_code == 2


def test_set_refuses_when_another_revision_is_current_than_expected(run: Any, site: Site) -> None:
    site.configure(threshold=7)
    late = run("set", "threshold=6", "--expect", "1")
    assert late.exit_code == 1 and "revision 2" in late.stderr
    assert run("set", "threshold=6", "--expect", "2").exit_code == 0


@pytest.mark.parametrize("command", [("show",), ("check",), ("preview",), ("history",), ("set", "threshold=6")])
def test_without_a_database_every_command_is_3(run: Any, site: Site, command: tuple[str, ...]) -> None:
    site.portal.database.close()
    folder = site.portal.config.instance_dir
    folder.rename(folder.with_name("away"))
    folder.write_text("no folder")
    site.portal.settings._read_s = None  # as in the new process that a command is
    found = run(*command)
    assert found.exit_code == 3 and "Traceback" not in found.output and found.stderr
