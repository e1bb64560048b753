"""Names that lead out of a folder, at every page, the node API and the command line: nothing outside is read or written."""

from __future__ import annotations

import io
import pathlib
import zipfile
from typing import Any

import pytest

from ftplugin import protocol
from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.terms import Designation
from ftplugin.replicate.files import FolderThing
from ftplugin.replicate.files_kept import restore
from ftplugin.replicate.registry import Registry
from ftplugin.replicate.safe_folder import Refused
from ftplugin.report import Report

from ..web.conftest import KEY, MakeSite, Site
from ..web.test_mounting import admin_rules

CANARY = "canary-7f3a of a file that is nobody's business"
ADMIN = "/ft/admin/"


def names(secret: pathlib.Path) -> list[str]:
    """Ways to say the file ``secret``, which lies two folders above the logs."""
    up = f"../../{secret.name}"
    day = "FT_REPORT_250101.txt"
    return [
        up,
        str(secret),
        f"/{secret}",
        f"file://{secret}",
        f"{day}/../{up}",
        f"{day}\0{up}",
        f"{up}\0{day}",
        f"{up}\0.txt",
        f"{day}\n{up}",
        up.replace("/", "\\"),
        up.replace(".", "%2e"),
        up.replace("/", "%2f"),
        up.replace("/", "%252f"),
        up.replace("..", "..;"),
        up.replace("/", "\u2215"),
        up.replace(".", "\uff0e"),
        up.replace("..", "\xc0\xae\xc0\xae"),
        "....//" * 4 + secret.name,
        "../" * 40 + str(secret)[1:],
        "~/" + secret.name,
        "$HOME/" + secret.name,
        "{{ '..' }}/" + secret.name,
        "FT_REPORT_250102.txt",  # a link that somebody has put among the logs
        "FT_REPORT_250103.txt",  # a folder there
        "FT_REPORT_*.txt",
        "CON",
        "x" * 5000,
        "\ud800",
    ]


@pytest.fixture
def secret(site: Site) -> pathlib.Path:
    """A file outside of everything that the product may read."""
    folder = site.portal.report.folder
    site.portal.report.line("agent", "a line of the log")
    found = folder.parent.parent / "secret.txt"
    found.write_text(CANARY)
    (folder / "FT_REPORT_250102.txt").symlink_to(found)
    (folder / "FT_REPORT_250103.txt").mkdir()
    return found


def body_of(answer: Any) -> str:
    if answer.mimetype == "application/zip":
        with zipfile.ZipFile(io.BytesIO(answer.data)) as packed:
            return "\n".join(packed.read(name).decode("utf-8", "replace") for name in packed.namelist())
    return str(answer.get_data().decode("utf-8", "replace"))


def test_no_page_reads_a_file_that_it_was_not_made_for(site: Site, secret: pathlib.Path) -> None:
    client = site.app.test_client()
    asked = (
        "day",
        "name",
        "file",
        "id",
        "server",
        "source",
        "search",
        "since",
        "from",
        "revision",
        "below",
        "conflict",
    )
    rules = [rule for name, rule in admin_rules(site.app) if "GET" in rule.methods]
    with_names = [rule for rule in rules if "<" in rule.rule]
    assert len(with_names) >= 6
    for name in names(secret):
        for rule in with_names:
            path = rule.rule
            for part in rule.arguments:
                path = path.replace(f"<{part}>", name).replace(f"<int:{part}>", name).replace(f"<path:{part}>", name)
            try:
                answer = client.get(path.replace("\ud800", "%ed%a0%80").replace("\n", "%0a").replace("\0", "%00"))
            except ValueError as error:  # such an address cannot even be sent
                assert "\0" in path or "//" in path, error
                continue
            assert answer.status_code in (200, 301, 308, 400, 404), (path, answer.status_code)
            assert CANARY not in body_of(answer), path
        for path in ("log", "log/file"):
            values = dict.fromkeys(asked, name.replace("\ud800", "\ufffd")) | {"server": "here"}
            answer = client.get(ADMIN + path, query_string=values)
            assert answer.status_code in (400, 404) and CANARY not in body_of(answer), (path, name)


def test_the_node_api_reads_no_other_file_for_the_peer_either(site: Site, secret: pathlib.Path) -> None:
    client = site.app.test_client()
    headers = {protocol.ASK_HEADER: protocol.make_ask([KEY], Designation.SERVER2, "n" * 12)}
    for name in names(secret):
        for what in ("raw", "page"):
            values = {"what": what, "day": name.replace("\ud800", "\ufffd"), "offset": "0"}
            answer = client.get("/ft/node/log", query_string=values, headers=headers)
            assert answer.status_code in (400, 404), (what, name)
            assert CANARY not in answer.text, (what, name)
            assert "day" in answer.json["error"] or len(name) > 300, (what, name)


def test_the_command_line_reads_no_other_file(site: Site, secret: pathlib.Path) -> None:
    run = site.app.test_cli_runner()
    for name in names(secret):
        done = run.invoke(args=["ft", "log", "--day", name.replace("\0", "")])
        assert done.exit_code in (1, 2) and CANARY not in done.output, (name, done.output)


def test_a_link_among_the_logs_is_not_packed_for_support(site: Site, secret: pathlib.Path) -> None:
    done = site.app.test_cli_runner().invoke(args=["ft", "zip-logs", "--days", "30", str(secret.parent / "out.zip")])
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(secret.parent / "out.zip") as packed:
        for entry in packed.namelist():
            assert not entry.startswith("/") and ".." not in entry.split("/")
            assert CANARY not in packed.read(entry).decode("utf-8", "replace"), entry


def test_a_link_in_place_of_todays_log_is_not_written_through(tmp_path: pathlib.Path) -> None:
    """Whoever may make files in the folder of the logs cannot let the product write into another file."""
    first = Report(tmp_path / "logs")
    first.line("agent", "x")
    today = first.folder / first.days()[0]
    victim = tmp_path / "victim"
    victim.write_text("precious")
    today.unlink()
    today.symlink_to(victim)
    Report(tmp_path / "logs").line("agent", "into the link")
    assert victim.read_text() == "precious"


def test_names_of_kept_files_lead_nowhere_else(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text(CANARY)
    thing = FolderThing(folder, name="files")
    for kept in (
        "../../secret.txt",
        str(tmp_path / "secret.txt"),
        "../" * 10 + "etc/passwd",
        "a" * 31 + "/",
        "a" * 31 + "\0",
    ):
        with pytest.raises(Refused):
            restore(thing, "x", kept)
    for key in ("../x", "/x", "a/../../x", "x\0y", ".ft-replica/x", ""):
        (folder / ".ft-replica" / "kept").mkdir(parents=True, exist_ok=True)
        (folder / ".ft-replica" / "kept" / ("a" * 32)).write_text("lost")
        with pytest.raises((Refused, ValueError, OSError)):
            restore(thing, key, "a" * 32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "secret.txt"]


@pytest.mark.parametrize("name", ["../x", "/x", "a b", "", "x" * 200, "x\0", "{{x}}", "<b>", "x\n", "-x"])
def test_names_of_what_is_replicated_are_plain(tmp_path: pathlib.Path, name: str) -> None:
    with pytest.raises(ValueError, match="must be 1 to 80 letters") as refused:
        Registry().add_folder(tmp_path / "folder", [], name or "/")
    assert repr(name or "/") in str(refused.value)


def test_a_prefix_cannot_lead_to_the_keys_of_another_instance() -> None:
    for prefix in ("../x", "a:b", "a b", "*", "x\0", "{x}", "ft:", "é"):
        with pytest.raises(ConfigError, match="FT_PREFIX"):
            NodeConfig.of({"FT_OWN_ADDRESS": "10.0.0.1", "FT_SECRET_KEYS": [KEY], "FT_PREFIX": prefix})


def test_static_files_are_those_of_the_plugin_alone(make_site: MakeSite) -> None:
    client = make_site().client
    for name in (
        "../admin.py",
        "%2e%2e/admin.py",
        "..%2fadmin.py",
        "/etc/passwd",
        "..\\admin.py",
        "ft.css/../../admin.py",
        ".",
    ):
        answer = client.get(f"{ADMIN}static/{name}")
        assert answer.status_code in (301, 308, 400, 404) and "make_blueprint" not in answer.text, name
