"""``ft database``: what an administrator asks and orders before an upgrade."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from ftplugin.cli import group
from ftplugin.store import migrations
from ftplugin.store.database import Database

from .conftest import alike
from .servers import Server
from .test_migrations import as_released, set_revision

KEY = "test-key-of-32-characters-long-ok"
Ft = Callable[..., Result]


@pytest.fixture
def ft(tmp_path: pathlib.Path) -> Ft:
    file = tmp_path / "node.toml"
    file.write_text(f'FT_INSTANCE_DIR = "{tmp_path}/instance"\nFT_SECRET_KEYS = ["{KEY}"]\n')

    def run(*words: str, url: str = "") -> Result:
        environment = {"FT_CONFIG_FILE": str(file), "FT_DATABASE_URL": url}
        return CliRunner().invoke(group, ["database", *words], env=environment)

    return run


@alike
def test_an_old_database_is_shown_and_upgraded(ft: Ft, kind: str, new_url: Callable[[str], str]) -> None:
    url = new_url(kind)
    as_released(kind, url, "before_migrations")
    before = ft("current", url=url)
    assert before.exit_code == 1 and "state: upgrade due" in before.stdout and "secret" not in before.stdout
    done = ft("upgrade", url=url)
    assert (done.exit_code, done.stdout) == (0, f"Upgraded from revision none to {migrations.HEAD}.\n"), done.stderr
    after = ft("current", "--json", url=url)
    facts = json.loads(after.stdout)
    assert after.exit_code == 0 and facts["revision"] == facts["newest"] == migrations.HEAD
    assert ft("upgrade", url=url).stdout == f"Nothing to do: revision {migrations.HEAD}.\n"


def test_to_look_at_a_new_server_makes_nothing(ft: Ft, tmp_path: pathlib.Path) -> None:
    found = ft("current")
    assert found.exit_code == 1 and "revision: none: made before there were revisions, or empty" in found.stdout
    assert not (tmp_path / "instance" / "ft.sqlite3").exists()
    assert ft("upgrade").exit_code == 0 and (tmp_path / "instance" / "ft.sqlite3").exists()


def test_tables_of_a_newer_version_are_fine_and_those_of_others_are_refused(
    ft: Ft, new_url: Callable[[str], str]
) -> None:
    url = new_url("sqlite")
    set_revision(url, "0999")
    newer = ft("current", url=url)
    assert newer.exit_code == 0 and "state: newer than this code" in newer.stdout
    assert ft("upgrade", url=url).exit_code == 0 and Database(url).revision() == "0999"
    set_revision(url, "9f31ab")
    assert ft("current", url=url).exit_code == 1
    refused = ft("upgrade", url=url)
    assert refused.exit_code == 1 and "its revision '9f31ab' is none of ftplugin" in refused.stderr


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_a_server_that_does_not_answer_is_3_and_an_unknown_one_2(
    ft: Ft, server: Server, new_url: Callable[[str], str]
) -> None:
    url = new_url(server.kind)
    server.freeze()
    silent = ft("current", url=url)
    assert silent.exit_code == 3 and "cannot be used" in silent.stderr and "secret" not in silent.stderr
    unknown = ft("current", url="oracle://ft:secret@127.0.0.1/ft")
    assert unknown.exit_code == 2 and "oracle is not supported" in unknown.stderr and "secret" not in unknown.stderr
