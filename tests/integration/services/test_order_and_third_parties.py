"""In which order services start, and controllers of other packages: good ones, broken ones and ones that hang."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import pytest

from ftplugin.core.terms import ServiceState as S
from workers.adapters.services import ServiceError, build


def table(name: str, *after: str) -> dict[str, Any]:
    return {"name": name, "kind": "http", "url": "http://127.0.0.1:1", "after": list(after)}


@pytest.mark.parametrize(
    "tables, order",
    [
        ([table("a"), table("b")], "ab"),
        ([table("a", "b"), table("b")], "ba"),
        ([table("a", "c"), table("b"), table("c")], "bca"),
        ([table("a", "b", "c"), table("b", "c"), table("c"), table("d")], "cbad"),
        ([], ""),
    ],
)
def test_services_start_behind_what_they_name_and_else_as_listed(tables: list[dict[str, Any]], order: str) -> None:
    assert "".join(service.name for service in build(tables)) == order


@pytest.mark.parametrize(
    "tables, words",
    [
        ([table("a", "x")], ["FT_SERVICES[1].after", "no service 'x'", "a"]),
        ([table("a", "a")], ["FT_SERVICES[1].after", "a after a"]),
        ([table("z"), table("a", "b"), table("b", "c", "z"), table("c", "a")], ["a after b after c after a"]),
        ([table("a") | {"after": "b"}, table("b")], ["FT_SERVICES[1].after", "list", "'b'"]),
        ([table("a") | {"after": [1]}], ["FT_SERVICES[1].after", "list"]),
        ([table("a"), table("a")], ["FT_SERVICES[2].name", "taken"]),
        ([table("a\nb")], ["FT_SERVICES[1].name", "line of text"]),
    ],
)
def test_order_that_cannot_be_is_refused_by_name(tables: list[dict[str, Any]], words: list[str]) -> None:
    with pytest.raises(ServiceError) as caught:
        build(tables)
    assert all(word in str(caught.value) for word in words), caught.value


# --- third parties

MODULE = '''
import time
from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading

class Pbx:
    """What docs/services.md shows."""

    KEYS, REQUIRED = ("host",), ("host",)

    def __init__(self, common, *, host):
        if " " in host:
            raise ValueError(f"host: must have no blanks (got {host!r})")
        self.name, self.state = common.name, ServiceState.STANDBY

    def _say(self, state):
        self.state = state
        return self.status()

    def promote(self, epoch, lease_left_s): return self._say(ServiceState.ACTIVE)
    def demote(self, epoch): return self._say(ServiceState.STANDBY)
    def status(self): return ServiceReading(name=self.name, state=self.state)
    def restart(self, own): return self.demote(0)
    def renew(self, epoch, lease_left_s, limit_s): pass

class Hung(Pbx):
    def demote(self, epoch): time.sleep(60)
    def status(self): raise RuntimeError("boom")
    def promote(self, epoch, lease_left_s): return "yes"

class Halved:
    KEYS = REQUIRED = ()
    def __init__(self, common): pass
    def promote(self, epoch, lease_left_s): pass

class Raises(Pbx):
    def __init__(self, common, *, host): raise KeyError("oops")

def keyless(common): pass
number = 7
'''
ENTRIES = {
    "pbx": "pbx_ft:Pbx",
    "hung": "pbx_ft:Hung",
    "halved": "pbx_ft:Halved",
    "raises": "pbx_ft:Raises",
    "keyless": "pbx_ft:keyless",
    "number": "pbx_ft:number",
    "nowhere": "pbx_ft:Nowhere",
    "missing": "no_such_module:X",
}


@pytest.fixture
def installed(tmp_path: pathlib.Path, monkeypatch: Any) -> pathlib.Path:
    """A package with controllers, installed as pip leaves it."""
    (tmp_path / "pbx_ft.py").write_text(MODULE)
    info = tmp_path / "pbx_ft-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pbx-ft\nVersion: 1.0\n")
    lines = [f"{name} = {place}" for name, place in ENTRIES.items()]
    (info / "entry_points.txt").write_text("\n".join(["[ftplugin.services]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def foreign(kind: str, **more: Any) -> Any:
    return build([{"name": "x", "kind": kind, "host": "pbx1", "stop_limit_s": 0.5, "status_limit_s": 0.5} | more])[0]


@pytest.mark.usefixtures("installed")
def test_controller_of_another_package_is_found_by_its_kind() -> None:
    service = foreign("pbx")
    assert service.status().state is S.STANDBY
    assert service.promote(4, 2.5).state is S.ACTIVE
    service.renew(4, 2.5, 0.5)
    assert service.demote(5).state is S.STANDBY


@pytest.mark.usefixtures("installed")
def test_controller_that_raises_hangs_or_answers_nonsense_is_unknown_in_time() -> None:
    service = foreign("hung")
    reading = service.status()
    assert reading.state is S.UNKNOWN and "RuntimeError: boom" in reading.detail
    reading = service.promote(4, 2.5)
    assert reading.state is S.UNKNOWN and "answered str" in reading.detail
    for _ in range(10):
        began_s = time.monotonic()
        reading = service.demote(5)
        assert reading.state is S.UNKNOWN and time.monotonic() - began_s < 1.0
    assert "calls of its controller hang" in reading.detail, "no thread after thread without end"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "change, words",
    [
        ({"kind": "missing"}, ["'missing'", "no_such_module:X", "pbx-ft", "ModuleNotFoundError"]),
        ({"kind": "nowhere"}, ["'nowhere'", "pbx_ft:Nowhere", "AttributeError"]),
        ({"kind": "number"}, ["'number'", "no class or function"]),
        ({"kind": "keyless"}, ["'keyless'", "no KEYS"]),
        ({"kind": "halved"}, ["'halved'", "no demote, status, restart, renew"]),
        ({"kind": "raises"}, ["'raises'", "KeyError"]),
        ({"kind": "other"}, ["http, command, systemd, supervisord, ocf, halved", "pbx", "'other'"]),
        ({"kind": "pbx", "host": "a b"}, ["FT_SERVICES[1].host: must have no blanks"]),
        ({"kind": "pbx", "host": ""}, ["FT_SERVICES[1].host: is missing"]),
        ({"kind": "pbx", "port": 1}, ["FT_SERVICES[1].port: is no key of a pbx service", "host"]),
    ],
)
def test_broken_controller_is_refused_by_name(change: dict[str, Any], words: list[str]) -> None:
    values = {"name": "x", "kind": "pbx"} | ({} if change["kind"] == "halved" else {"host": "pbx1"}) | change
    with pytest.raises(ServiceError) as caught:
        build([values])
    assert all(word in str(caught.value) for word in ["FT_SERVICES[1].", *words]), caught.value


def test_kind_that_two_packages_offer_is_refused(installed: pathlib.Path) -> None:
    info = installed / "other_ft-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-ft\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ftplugin.services]\npbx = pbx_ft:Pbx\n")
    with pytest.raises(ServiceError, match="offered by other-ft and pbx-ft: uninstall all but one"):
        foreign("pbx")


@pytest.mark.usefixtures("installed")
def test_nothing_of_another_package_is_loaded_that_no_table_names() -> None:
    assert len(build([table("a")])) == 1, "though half of its entry points are broken"
