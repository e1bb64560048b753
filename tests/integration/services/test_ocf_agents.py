"""Agents of Debian's package resource-agents under the OCF controller: the real thing, nothing stands in."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
from typing import Any, Iterator

import pytest

from ftplugin.core.terms import ServiceState as S
from workers.adapters.services import build

from ..adapters.conftest import free_port, wait_until
from .conftest import becomes, needs_agents

pytestmark = needs_agents


def service_of(folder: pathlib.Path, agent: str, params: dict[str, Any], **more: Any) -> Any:
    table = {"name": agent, "kind": "ocf", "agent": f"ocf:heartbeat:{agent}", "params": params}
    return build([table | {"start_limit_s": 20.0, "stop_limit_s": 5.0} | more], folder)[0]


def test_dummy_is_started_to_own_and_its_standby_is_stopped(tmp_path: pathlib.Path) -> None:
    state = tmp_path / "dummy.state"
    service = service_of(tmp_path, "Dummy", {"state": str(state)})
    assert service.status().state is S.STANDBY
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    assert state.exists()
    assert service.promote(4, 2.5).state is S.ACTIVE, "it runs: nothing is started again"
    state.unlink()
    assert service.status().state is S.STANDBY, "gone: the watchdog starts it again in its role"
    assert service.restart(True).state is S.STANDBY
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    assert service.demote(7).state is S.STANDBY and not state.exists()
    assert service.promote(4, 2.5).state is S.UNKNOWN, "a lower epoch is refused"


def test_stateful_stays_started_as_standby_and_is_promoted_and_demoted(tmp_path: pathlib.Path) -> None:
    state = tmp_path / "stateful.state"
    service = service_of(tmp_path, "Stateful", {"state": str(state)})
    reading = service.status()
    assert reading.state is S.DEAD and "not started" in reading.detail, "the watchdog is to start it"
    service.restart(False)
    becomes(service, S.STANDBY)
    assert state.read_text().strip() == "slave"
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    assert state.read_text().strip() == "master"
    assert service.demote(5).state is S.STANDBY
    assert state.read_text().strip() == "slave", "standby is not stopped (spec 5.5)"


def test_stateful_that_was_not_started_is_promoted_in_one_go(tmp_path: pathlib.Path) -> None:
    state = tmp_path / "stateful.state"
    service = service_of(tmp_path, "Stateful", {"state": str(state)})
    assert service.demote(3).state is S.DEAD, "what is not started owns nothing"
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    assert state.read_text().strip() == "master"


NGINX = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 16; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "here"; }} }}
}}
"""


class Nginx:
    """A real nginx by its agent. ``says`` is what a client gets."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.port = folder, free_port()
        self.config = folder / "nginx.conf"
        self.config.write_text(NGINX.format(folder=folder, port=self.port))
        params = {
            "configfile": str(self.config),
            "httpd": "/usr/sbin/nginx",
            "status10url": f"http://127.0.0.1:{self.port}/",
        }
        self.service = service_of(folder, "nginx", params, stop_limit_s=8.0, status_limit_s=4.0)

    @property
    def pid(self) -> int:
        return int((self.folder / "nginx.pid").read_text())

    def says(self) -> str:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        with contextlib.closing(client), contextlib.suppress(OSError):
            client.request("GET", "/")
            return client.getresponse().read().decode()
        return "no answer"


@pytest.fixture
def nginx(tmp_path: pathlib.Path) -> Iterator[Nginx]:
    if shutil.which("nginx", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("needs Debian's package nginx-light")
    made = Nginx(tmp_path)
    yield made
    made.service.demote(1 << 40)


def test_nginx_serves_while_it_owns_and_comes_back_after_kill_9(nginx: Nginx) -> None:
    assert nginx.service.status().state is S.STANDBY and nginx.says() == "no answer"
    nginx.service.promote(4, 2.5)
    becomes(nginx.service, S.ACTIVE)
    assert nginx.says() == "here"
    os.killpg(os.getpgid(nginx.pid), signal.SIGKILL)
    reading = wait_until(lambda: (r := nginx.service.status()).state is not S.ACTIVE and r)
    assert reading.state in (S.DEAD, S.STANDBY), "the watchdog restarts it in its role"
    nginx.service.restart(True)
    nginx.service.promote(4, 2.5)
    becomes(nginx.service, S.ACTIVE)
    assert nginx.says() == "here"
    assert nginx.service.demote(5).state is S.STANDBY
    assert nginx.says() == "no answer"


def test_validate_all_of_nginx_names_a_configuration_that_is_not_there(nginx: Nginx, tmp_path: pathlib.Path) -> None:
    assert nginx.service.validate() == ""
    params = {"configfile": str(tmp_path / "missing.conf"), "httpd": "/usr/sbin/nginx"}
    said = service_of(tmp_path, "nginx", params).validate()
    assert "validate-all says exit" in said and "missing.conf" in said
