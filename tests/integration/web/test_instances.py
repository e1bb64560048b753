"""Several instances on one server: the page says which it is, and what two must not share is refused by name."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from ftplugin import FaultTolerance
from ftplugin.config import ConfigError
from ftplugin.core.terms import Role

from .conftest import KEY, OWN, MakeSite, RedisProcess, Site

ROOT = pathlib.Path(__file__).parents[3]
PAGES = ("", "switching", "settings", "history", "log", "licence", "rules")


def ft(folder: pathlib.Path, redis: RedisProcess, *arguments: str, **config: str) -> subprocess.CompletedProcess[str]:
    """``ft …`` of a server that is configured by the environment."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("FT_")}
    own = {"FT_OWN_ADDRESS": OWN, "FT_REDIS_URL": redis.url, "FT_INSTANCE_DIR": str(folder)}
    own |= {"FT_SECRET_KEYS": json.dumps([KEY])}
    command = [sys.executable, "-m", "ftplugin.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=plain | own | config, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_names_the_instance(make_site: MakeSite, page: str) -> None:
    site = make_site(FT_PREFIX="shop-2")
    site.configure()
    assert "instance shop-2" in site.client.get(f"/ft/admin/{page}").text
    assert "instance shop-2" not in make_site().client.get(f"/ft/admin/{page}").text


def test_ft_status_names_the_instance(site: Site, tmp_path: pathlib.Path) -> None:
    named = ft(tmp_path / "instance", site.redis, "status", FT_PREFIX="shop-2")
    assert named.stdout.startswith("instance shop-2\n"), named.stderr
    assert "instance" not in ft(tmp_path / "instance", site.redis, "status").stdout.splitlines()[0]
    document = json.loads(ft(tmp_path / "instance", site.redis, "status", "--json", FT_PREFIX="shop-2").stdout)
    assert document["instance"] == "shop-2"


def test_two_instances_share_redis_and_folder_and_know_nothing_of_each_other(make_site: MakeSite) -> None:
    one, two = make_site(), make_site(FT_PREFIX="x", FT_URL_PREFIX="/ft-x")
    for site in (one, two):
        site.configure()
        site.agent()
    one.configure(interval_s=20.0)
    one.role(Role.ACTIVE, epoch=8)
    two.role(Role.STANDBY, epoch=3)
    assert one.client.get("/ft/monitor?mod=FT").text == "ACTIVE"
    assert two.client.get("/ft-x/monitor?mod=FT").text == "STANDBY"
    assert two.client.get("/ft/monitor?mod=FT").status_code == 404
    assert two.portal.settings.current()[1].interval_s != one.portal.settings.current()[1].interval_s
    one.portal.report.line("test", "of the first")
    assert "of the first" in one.log() and "of the first" not in two.log()


def test_two_instances_in_one_process_and_at_one_port_are_two_applications(make_site: MakeSite) -> None:
    """As docs/install.md shows it: by the path, which is left as it is, since the other server asks by the same."""
    from werkzeug.test import Client

    one, two = make_site(), make_site(FT_PREFIX="x", FT_URL_PREFIX="/ft-x")
    for site, role in ((one, Role.ACTIVE), (two, Role.STANDBY)):
        site.configure()
        site.role(role)

    def both(environ: Any, start_response: Any) -> Any:
        app = two.app if environ["PATH_INFO"].startswith("/ft-x/") else one.app
        return app(environ, start_response)

    client = Client(both)
    assert client.get("/ft/monitor?mod=FT").text == "ACTIVE"
    assert client.get("/ft-x/monitor?mod=FT").text == "STANDBY"
    page = client.get("/ft-x/admin/").text
    assert 'href="/ft-x/admin/settings"' in page and 'href="/ft/admin' not in page


def test_second_instance_in_one_application_is_refused_with_the_way_out(site: Site) -> None:
    with pytest.raises(RuntimeError, match="a second app with its own FT_PREFIX"):
        FaultTolerance(site.app)


def test_database_of_another_instance_is_refused_by_portal_and_command_line(
    make_site: MakeSite, tmp_path: pathlib.Path
) -> None:
    url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    first = make_site(FT_PREFIX="one", FT_DATABASE_URL=url)
    first.configure()
    with pytest.raises(ConfigError, match="^FT_DATABASE_URL=.*FT_PREFIX='one'.*FT_PREFIX='two': give each instance"):
        make_site(FT_PREFIX="two", FT_DATABASE_URL=url)
    said = ft(tmp_path, first.redis, "settings", "set", "threshold=4", FT_PREFIX="two", FT_DATABASE_URL=url)
    assert said.returncode == 2 and "belongs to the instance with FT_PREFIX='one'" in said.stderr
    assert make_site(FT_PREFIX="one", FT_DATABASE_URL=url).portal.settings.current()[0] == 1, "nothing was written"


def test_claim_of_the_database_is_no_pause_and_no_drain(site: Site) -> None:
    assert site.portal.journal.standing() == {} and site.portal.journal.notices() == {}
