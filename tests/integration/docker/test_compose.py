"""docker/: what can be checked without an engine. The files by their own rules; the start commands by running them."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.request
from typing import Iterator

import pytest

from .engine import DOCKER, ROOT, Engine, compose, environment, image_command, image_environment, wait_for

LIMIT_S = 90.0
BESIDE_PYTHON = pathlib.Path(sys.executable).parent


def tool(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    if not (program := shutil.which(name, path=f"{BESIDE_PYTHON}:{os.environ['PATH']}")):
        pytest.skip(f"needs {name}")
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=60)


def test_dockerfile_by_hadolint() -> None:
    found = tool("hadolint", str(DOCKER / "Dockerfile"))
    assert found.returncode == 0, found.stdout


def test_compose_file_by_the_published_schema(tmp_path: pathlib.Path) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    found = tool("check-jsonschema", *schema, str(DOCKER / "compose.yml"))
    assert found.returncode == 0, found.stdout
    wrong = tmp_path / "compose.yml"
    wrong.write_text((DOCKER / "compose.yml").read_text().replace("read_only: true", "readonly: true"))
    assert tool("check-jsonschema", *schema, str(wrong)).returncode == 1, "the check can fail"


def test_image_has_what_it_copies_and_nothing_secret() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    allowed = (DOCKER / "Dockerfile.dockerignore").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists() and f"!{source}\n" in allowed, source
    assert allowed.splitlines()[1] == "*"
    assert "USER 10011" in text and "HEALTHCHECK" in text


def test_every_process_of_a_server_is_there_and_locked_in() -> None:
    file = compose(environment())
    services = file["services"]
    for node in ("node1", "node2"):
        parts = {name.removeprefix(f"{node}-") for name in services if name.startswith(f"{node}-")}
        assert parts == {"setup", "redis", "guard", "tick", "switch", "portal", "cti", "flower"}
    for name, service in services.items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["image"].startswith("busybox:") or service["user"] == "10011", name
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_file_names_what_is_missing() -> None:
    env = environment()
    del env["FT_SETUP_FLOWER"]
    with pytest.raises(AssertionError, match="FT_SETUP_FLOWER"):
        compose(env)


def test_portal_of_the_image_answers_live_and_its_health_check_agrees(tmp_path: pathlib.Path) -> None:
    """The image's CMD and HEALTHCHECK, on a port of this machine."""
    from ..celery.node_process import free_port

    port = str(free_port())
    (tmp_path / "node.toml").write_text(
        'PORTAL_SECRET_KEY = "portal"\nPORTAL_PASSWORD = "password"\nFT_SECRET_KEYS = ["a key of the pair, long enough"]\n'
        f'FT_OWN_ADDRESS = "127.0.0.1:{port}"\nFT_INSTANCE_DIR = "{tmp_path}"\n'
    )
    environ = {**os.environ, **image_environment(), "FT_CONFIG_FILE": str(tmp_path / "node.toml")}
    environ |= {"PATH": f"{BESIDE_PYTHON}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [word.replace("0.0.0.0:8080", f"127.0.0.1:{port}") for word in image_command()]
    check = [word.replace("127.0.0.1:8080", f"127.0.0.1:{port}") for word in health_check()]
    assert subprocess.run(check, env=environ, capture_output=True, timeout=60).returncode != 0, "nobody listens yet"
    portal = subprocess.Popen(command, env=environ, cwd=tmp_path)
    try:
        wait_for("/live answers", lambda: answers(f"http://127.0.0.1:{port}/ft/live"), LIMIT_S)
        assert subprocess.run(check, env=environ, timeout=60).returncode == 0
        exe = pathlib.Path(f"/proc/{portal.pid}/cmdline").read_bytes()
        assert b"waitress" in exe and not exe.startswith(b"sh"), "the shell is gone, so a stop reaches the portal"
    finally:
        portal.kill()
        portal.wait(10)


def health_check() -> list[str]:
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
    (found,) = re.findall(r'^HEALTHCHECK .*?CMD \["python", "-c", "(.*)"\]$', text, re.M)
    return ["python", "-c", found]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def engine(tmp_path: pathlib.Path) -> Iterator[Engine]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "setpriv", "unshare", "haproxy", "redis-server"))):
        pytest.skip("needs root, iproute2, util-linux, haproxy and redis-server")
    made = Engine(tmp_path, environment())
    try:
        made.up()
        yield made
    finally:
        made.down()


class Pair:
    """What is asked of the two servers, from inside their own networks and from outside."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def roles(self) -> tuple[str, str]:
        url = "http://127.0.0.1:8080/ft/monitor?mod=FT"
        return self.engine.get("node1", url), self.engine.get("node2", url)

    def wait(self, first: str, second: str, why: str) -> None:
        wait_for(f"{first} and {second}: {why}", lambda: self.roles() == (first, second), LIMIT_S)

    def balanced(self) -> bool:
        """Whether what is published as port 8080 leads to the active server."""
        return self.engine.get("host", "http://10.77.1.3:8000/ft/monitor?mod=FT") == "ACTIVE"

    def hears(self, asker: int, address: str) -> bool:
        return self.engine.get(f"node{asker}", f"http://{address}/ft/live") != ""


@pytest.mark.lab
@pytest.mark.full
@pytest.mark.timeout(600)
def test_both_servers_of_the_compose_file_start_and_survive_the_faults_of_the_docs(engine: Engine) -> None:
    pair = Pair(engine)
    pair.wait("ACTIVE", "STANDBY", "started")
    wait_for("the balancer has found it", pair.balanced, LIMIT_S)
    wait_for(
        "both reach all three voters", lambda: engine.run("node1-flower", *STATUS) == 0 and voters(engine), LIMIT_S
    )

    engine.cut("node1-lan", "node1")
    pair.wait("STANDBY", "ACTIVE", "#1 is cut off")
    wait_for("the balancer has followed", pair.balanced, LIMIT_S)
    engine.join("node1-lan", "node1")
    wait_for("#1 is back, from the other side", lambda: pair.hears(2, "10.77.1.11:8080"), LIMIT_S)
    assert pair.roles() == ("STANDBY", "ACTIVE")

    engine.cut("node1-lan", "link")
    assert not pair.hears(2, "10.77.1.11:8080")
    for _ in range(15):
        assert pair.roles() == ("STANDBY", "ACTIVE"), "the witness knows better"
    engine.kill("witness")
    pair.wait("STANDBY", "STANDBY", "no majority left")
    engine.start("witness")
    wait_for("one of the two is active again", lambda: "ACTIVE" in pair.roles(), LIMIT_S)
    engine.join("node1-lan", "link")
    wait_for("they hear each other", lambda: pair.hears(2, "10.77.1.11:8080"), LIMIT_S)
    assert pair.roles().count("ACTIVE") == 1

    active = 1 + pair.roles().index("ACTIVE")
    other = ("STANDBY", "ACTIVE") if active == 1 else ("ACTIVE", "STANDBY")
    wait_for("it hands over", lambda: engine.run(f"node{active}-switch", *LEAVE) == 0, LIMIT_S)
    pair.wait(*other, "handed over, before it is stopped")
    for part in ("portal", "tick", "switch"):
        engine.kill(f"node{active}-{part}")
    assert engine.run(f"node{active}-switch", "python", "-m", "workers.release") == 0
    for part in ("portal", "tick", "switch"):
        engine.start(f"node{active}-{part}")
    pair.wait(*other, "started again")

    engine.pause(f"node{3 - active}-redis")
    pair.wait(*reversed(other), "a frozen Redis")
    engine.unpause(f"node{3 - active}-redis")


def voters(engine: Engine) -> bool:
    shown = engine.log("node1-flower")
    return shown.rfind("voter server2: ") >= 0 and "does not answer" not in shown[shown.rfind("voter server1: ") :]


STATUS = ("python", "-m", "ftplugin.cli", "status")
LEAVE = ("python", "-m", "ftplugin.cli", "leave")
