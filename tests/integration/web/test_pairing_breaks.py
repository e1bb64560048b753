"""Pairing that breaks off, does not fit, or replaces a dead server: nothing is half done, and nobody is left out."""

from __future__ import annotations

import fcntl
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

import pytest
import redis

from ftplugin import protocol
from ftplugin.core.terms import Designation
from ftplugin.pairing.command import tell
from ftplugin.pairing.exchange import PairingError
from ftplugin.pairing.files import write_secret
from ftplugin.pairing.keyring import REREAD_S, read_keys

from .conftest import KEY, MakeSite, Site
from .pairing_site import Two, two_servers  # noqa: F401


@pytest.mark.full  # in short: test_a_server_that_cannot_write_…, test_a_lost_confirmation_…
def test_a_pair_works_on_when_pairing_it_anew_breaks_off(two: Two) -> None:
    assert two.join(two.code()).exit_code == 0
    before = two.keys(two.first)
    code = two.code()
    two.cut.extend([b'"step": "join"'])
    assert two.join(code).exit_code == 1, "the answer with the new key is lost"
    two.lost.append(b'"confirm"')
    refused = two.join(two.code())
    assert refused.exit_code == 1 and "Pair once more" in refused.output
    assert two.keys(two.first) == before and two.keys(two.second)[0] == before[0]
    time.sleep(REREAD_S + 0.1)
    assert tell(two.second.portal, "keys", {})["keys"]
    two.lost.clear()
    assert two.join(two.code()).exit_code == 0 and two.keys(two.first) == two.keys(two.second) != before


@pytest.mark.parametrize("side", ["first", "second"])
def test_a_server_that_cannot_write_one_of_its_files_changes_none_of_them(
    two: Two, make_site: MakeSite, tmp_path: pathlib.Path, side: str
) -> None:
    """The first one's keys, or the second one's password, are in a folder that takes no file: as on a full disk."""
    if side == "second":
        write_secret(tmp_path / "password" / "file", "word")
        former = two.second.portal.config
        place = {"FT_OWN_ADDRESS": former.own_address, "FT_INSTANCE_DIR": str(tmp_path / "second")}
        place |= {"FT_REDIS_URL": former.redis_url, "FT_PEER_REDIS_PASSWORD_FILE": str(tmp_path / "password" / "file")}
        two.second = make_site(FT_SECRET_KEYS=[], **place)
        own, other = two.first.portal.config.own_address, former.own_address
        two.second.configure(server1_address=own, server2_address=other)
    folder = tmp_path / {"first": "away", "second": "password"}[side]
    assert two.join(two.code()).exit_code == 0
    before = [secrets_of(one) for one in (two.first, two.second)]
    code = two.code()
    folder.rename(tmp_path / "kept")
    folder.write_text("in the way")
    refused = two.join(code)
    assert refused.exit_code != 0, refused.output
    folder.unlink()
    (tmp_path / "kept").rename(folder)
    after = [secrets_of(one) for one in (two.first, two.second)]
    assert [kept[1:] for kept in after] == [kept[1:] for kept in before], "both logins are the former ones"
    assert [kept[0][0] for kept in after] == [kept[0][0] for kept in before], "the former key signs"
    password = two.second.portal.config.secrets.peer_password_file.read_text().strip()
    client = redis.Redis(port=two.first.redis.port, username="peer", password=password, driver_info=None, protocol=2)
    assert client.ping(), "and it counts at the running Redis"
    time.sleep(REREAD_S + 0.1)
    assert tell(two.second.portal, "keys", {})["keys"], "the pair talks"
    assert two.join(two.code()).exit_code == 0


def secrets_of(site: Site) -> list[Any]:
    kept = site.portal.config.secrets
    assert kept.keys_file is not None
    return [read_keys(kept.keys_file), kept.peer_password_file.read_text(), kept.redis_users_file.read_text()]


def test_a_lost_file_of_keys_is_not_replaced_under_workers_that_run(two: Two) -> None:
    assert two.join(two.code()).exit_code == 0
    path = two.first.portal.config.secrets.keys_file
    assert path is not None
    path.unlink()
    descriptor = os.open(two.first.portal.config.instance_dir / "agent.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        fresh = subprocess_pair(two.first)
        assert fresh.returncode == 1 and "join it from here" in fresh.stderr and not path.exists(), fresh.stderr
    finally:
        os.close(descriptor)


def subprocess_pair(site: Site) -> Any:
    """'ft pair' as an administrator runs it: a process that has read nothing before."""
    config = site.portal.config
    values = {"FT_OWN_ADDRESS": config.own_address, "FT_INSTANCE_DIR": str(config.instance_dir)}
    values |= {"FT_SECRET_KEYS_FILE": str(config.secrets.keys_file), "FT_REDIS_URL": config.redis_url}
    environment = {**os.environ, **values, "FT_CONFIG_FILE": ""}
    command = [sys.executable, "-m", "ftplugin.cli", "pair", "--no-wait"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_servers_that_do_not_fit_are_told_why(two: Two, make_site: MakeSite, tmp_path: pathlib.Path) -> None:
    code = two.code()
    cases = {
        "FT_OWN_ADDRESS there is": {"FT_OWN_ADDRESS": "127.0.0.77:1"},
        "on both servers; each needs its own": {"FT_OWN_ADDRESS": two.first.portal.config.own_address},
        "FT_PREFIX is 'x' there and '' here": {"FT_PREFIX": "x"},
    }
    for index, (words, changes) in enumerate(cases.items()):
        place = {
            "FT_OWN_ADDRESS": two.second.portal.config.own_address,
            "FT_INSTANCE_DIR": str(tmp_path / f"misfit{index}"),
        }
        refused = two.join(code, make_site(**{**place, "FT_SECRET_KEYS": [], **changes}))
        assert refused.exit_code == 1 and words in refused.output
    assert two.join(code).exit_code == 0, "a server that does not fit uses up nothing"


def test_keys_in_the_configuration_are_not_replaced_behind_its_back(two: Two, make_site: MakeSite) -> None:
    given = make_site(FT_SECRET_KEYS=[KEY], FT_OWN_ADDRESS="127.0.0.77:1")
    refused = two.run(given, "pair")
    assert refused.exit_code == 1 and "FT_SECRET_KEYS is set in the configuration" in refused.output


def test_a_dead_server_is_replaced_and_its_machine_is_shut_out(
    two: Two, make_site: MakeSite, tmp_path: pathlib.Path
) -> None:
    assert two.join(two.code()).exit_code == 0
    time.sleep(REREAD_S + 0.1)
    assert tell(two.second.portal, "keys", {})["keys"], "the pair talks"
    place = {"FT_OWN_ADDRESS": two.second.portal.config.own_address, "FT_INSTANCE_DIR": str(tmp_path / "new machine")}
    new = make_site(FT_SECRET_KEYS=[], **place)
    new.configure(server1_address=two.first.portal.config.own_address, server2_address=place["FT_OWN_ADDRESS"])
    assert two.join(two.code(), new).exit_code == 0
    time.sleep(REREAD_S + 0.1)
    assert tell(new.portal, "keys", {})["keys"]
    with pytest.raises(PairingError):
        tell(two.second.portal, "keys", {})
    assert len(two.keys(two.first)) == 1
    ask = protocol.make_ask(two.keys(two.second), Designation.SERVER2, protocol.new_nonce())
    answer = two.first.client.get("/ft/node/state", headers={protocol.ASK_HEADER: ask})
    assert answer.status_code == 403 and "X-FT-State" not in answer.headers
