"""Both channels over TLS, with real servers and throw-away certificates; what is wrong is named, nothing falls back."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from demo.layout import redis_binary
from ftplugin.clock import SystemClock
from ftplugin.config import ConfigError, NodeConfig
from ftplugin.http_client import HttpClient, HttpFailure
from ftplugin.pairing import certificates
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import connect
from ftplugin.tls import TlsFiles
from ftplugin.web.producer import Producer
from workers.adapters.agent_channel import AgentChannel
from workers.adapters.deadline_redis import DeadlineRedis
from workers.adapters.plain_redis import PlainRedis
from workers.adapters.redis_votes import RedisVotes

from .conftest import KEYS, OWN, free_port, settings_with
from .test_build import build

HOST, THIRD = "127.0.0.1", "127.0.0.8"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


@dataclass(frozen=True)
class Place:
    """Certificates: ``good`` for HOST and THIRD, ``expired``, ``wrong`` for another address; ``stranger``: of another CA."""

    folder: pathlib.Path

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    def files(self, name: str) -> tuple[str, str]:
        return str(self.folder / name / "cert.pem"), str(self.folder / name / "cert.key")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("tls")
    certificates.make_ca(folder)
    certificates.make_ca(folder / "strange")
    cases = {"good": ([HOST, THIRD], 30), "expired": ([HOST], -2), "wrong": (["127.0.0.9"], 30)}
    for name, (addresses, days) in cases.items():
        _keep(certificates.issue(folder, addresses, days), folder / name)
    _keep(certificates.issue(folder / "strange", [HOST]), folder / "stranger")
    return Place(folder)


def _keep(made: tuple[pathlib.Path, pathlib.Path], folder: pathlib.Path) -> None:
    folder.mkdir()
    for path in made:
        path.rename(folder / f"cert{path.suffix}")


@contextlib.contextmanager
def serving(wrap: Callable[[socket.socket], socket.socket]) -> Iterator[str]:
    """A server that answers each connection once; ``wrap`` makes TLS of it, or not. Its address."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(0.1)
        ended = threading.Event()

        def answer(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                with wrap(connection) as secured:
                    secured.recv(4096)
                    secured.sendall(ANSWER)

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"{HOST}:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join(5)


def tls_server(place: Place, name: str, *, wants_client: bool = False, newest: Any = None) -> Callable[[Any], Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*place.files(name))
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(place.ca)
    if newest is not None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = newest
    return lambda connection: context.wrap_socket(connection, server_side=True)


def get(url: str, files: TlsFiles) -> str:
    return HttpClient(files.context).ask("GET", url, "/ft/live", limit_s=3.0).text


def test_https_with_the_pairs_own_ca_and_a_certificate_for_the_address(place: Place) -> None:
    with serving(tls_server(place, "good")) as address:
        assert get(f"https://{address}", TlsFiles(ca=place.ca)) == "OK"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("expired", "has expired; renew it there"),
        ("wrong", f"is not for {HOST}; it needs IP:{HOST} among its alternative names"),
        ("stranger", "is not trusted; name it in FT_TLS_CA"),
    ],
)
def test_a_bad_certificate_is_refused_and_what_is_wrong_is_named(place: Place, name: str, words: str) -> None:
    with serving(tls_server(place, name)) as address:
        with pytest.raises(HttpFailure) as refused:
            get(f"https://{address}", TlsFiles(ca=place.ca))
    assert refused.value.kind == "connect" and words in refused.value.detail


def test_the_systems_trust_does_not_know_the_pairs_own_ca(place: Place) -> None:
    with serving(tls_server(place, "good")) as address:
        with pytest.raises(HttpFailure, match="is not trusted; name it in FT_TLS_CA"):
            get(f"https://{address}", TlsFiles())


def test_https_never_falls_back_to_http(place: Place) -> None:
    heard: list[bytes] = []

    def plain(connection: socket.socket) -> socket.socket:
        heard.append(connection.recv(4096, socket.MSG_PEEK))
        return connection.dup()

    with serving(plain) as address:
        with pytest.raises(HttpFailure, match="does not speak TLS"):
            get(f"https://{address}", TlsFiles(ca=place.ca))
        time.sleep(0.2)
    assert len(heard) == 1 and not [data for data in heard if b"GET" in data or b"ft/live" in data]


def test_an_old_tls_version_is_refused(place: Place) -> None:
    with serving(tls_server(place, "good", newest=ssl.TLSVersion.TLSv1_1)) as address:
        with pytest.raises(HttpFailure, match="TLS"):
            get(f"https://{address}", TlsFiles(ca=place.ca))


def test_a_server_that_wants_a_certificate_gets_ours_or_says_so(place: Place) -> None:
    cert, key = place.files("good")
    with serving(tls_server(place, "good", wants_client=True)) as address:
        assert get(f"https://{address}", TlsFiles(ca=place.ca, cert=cert, key=key)) == "OK"
        with pytest.raises(HttpFailure, match="set FT_TLS_CERT and FT_TLS_KEY|connection closed"):
            get(f"https://{address}", TlsFiles(ca=place.ca))


def test_a_handshake_that_never_ends_keeps_the_limit(place: Place) -> None:
    with serving(lambda connection: time.sleep(3) or connection) as address:  # type: ignore[func-returns-value]
        began_s = time.monotonic()
        with pytest.raises(HttpFailure) as late:
            HttpClient(TlsFiles(ca=place.ca).context).ask("GET", f"https://{address}", "/", limit_s=0.5)
        assert late.value.kind == "timeout"
        with pytest.raises(redis.TimeoutError):
            DeadlineRedis(f"rediss://{address}/0", **TlsFiles(ca=place.ca).redis_options()).call(0.5, "PING")
        assert time.monotonic() - began_s < 2.0


def test_a_renewed_certificate_file_is_used_without_a_restart(place: Place, tmp_path: pathlib.Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes((place.folder / "strange" / "ca.pem").read_bytes())
    files = TlsFiles(ca=str(ca))
    with serving(tls_server(place, "good")) as address:
        with pytest.raises(HttpFailure):
            get(f"https://{address}", files)
        ca.write_bytes(pathlib.Path(place.ca).read_bytes())
        assert get(f"https://{address}", files) == "OK"


def test_a_renewal_that_is_half_done_takes_nothing_from_a_process_that_runs(
    place: Place, tmp_path: pathlib.Path
) -> None:
    """The new certificate is there and its key is not yet; the CA is being replaced: what was read before counts."""
    cert, key, ca = (tmp_path / name for name in ("cert.pem", "cert.key", "ca.pem"))
    for path, source in zip((cert, key), place.files("good"), strict=True):
        path.write_bytes(pathlib.Path(source).read_bytes())
        path.chmod(0o600)
    ca.write_bytes(pathlib.Path(place.ca).read_bytes())
    files = TlsFiles(ca=str(ca), cert=str(cert), key=str(key))
    with serving(tls_server(place, "good", wants_client=True)) as address:
        assert get(f"https://{address}", files) == "OK"
        cert.write_bytes(pathlib.Path(place.files("stranger")[0]).read_bytes())
        assert get(f"https://{address}", files) == "OK"
        ca.unlink()
        assert get(f"https://{address}", files) == "OK"
        cert.write_bytes(pathlib.Path(place.files("good")[0]).read_bytes())
        ca.write_bytes((place.folder / "strange" / "ca.pem").read_bytes())
        with pytest.raises(HttpFailure):  # whole again, so it counts: a CA that knows nobody here
            get(f"https://{address}", files)


# --- Redis ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls_redis(place: Place) -> Iterator[int]:
    """The port of a Redis that speaks TLS alone, asks for certificates and a password."""
    port, (cert, key) = free_port(), place.files("good")
    arguments = [
        "--port",
        "0",
        "--tls-port",
        str(port),
        "--bind",
        HOST,
        THIRD,
        "--save",
        "",
        "--requirepass",
        "own-word",
    ]
    arguments += ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", place.ca]
    arguments += ["--dir", str(place.folder)]
    process = subprocess.Popen([redis_binary(), *arguments], stdout=subprocess.PIPE, text=True)
    end_s = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 0.5):
            break
        if process.poll() is not None:
            pytest.skip("this Redis was built without TLS")
        assert time.monotonic() < end_s, "Redis did not start"
        time.sleep(0.05)
    yield port
    process.kill()
    process.communicate(timeout=10)


def config(place: Place, port: int, name: str = "good", **more: Any) -> NodeConfig:
    cert, key = place.files(name)
    values = {"FT_SECRET_KEYS": list(KEYS), "FT_REDIS_URL": f"rediss://:own-word@{HOST}:{port}/0"}
    return NodeConfig.of({**values, "FT_TLS_CA": place.ca, "FT_TLS_CERT": cert, "FT_TLS_KEY": key, **more})


def test_every_client_of_the_own_redis_speaks_tls_by_one_url(place: Place, tls_redis: int) -> None:
    from workers.app import create_app

    found = config(place, tls_redis)
    assert connect(found.redis_url, 2.0).ping() is True
    assert PlainRedis(found.redis_url).call(2.0, "PING") == "PONG"
    assert DeadlineRedis(found.redis_url).call(2.0, "PING") == "PONG"
    assert Producer(found.redis_url, "ft-switch").switch({"kind": "manual"}) == ""
    app = create_app(found)
    assert app.backend.client.ping() is True
    with app.connection_for_write() as link:
        link.connect()


def test_agent_channel_votes_and_witness_over_tls(place: Place, tls_redis: int) -> None:
    found = config(place, tls_redis)
    values = {"server1_address": "127.0.0.1:81", "server2_address": HOST, "agent_port": tls_redis}
    settings = settings_with(**values, witness=f"{HOST}:{tls_redis}")
    login, tls = (lambda: {"password": "own-word"}), found.tls.redis_options()
    shared: dict[str, Any] = {"settings": lambda: settings, "designation": lambda: OWN, "keys": Keys()}
    channel = AgentChannel(own_url=found.redis_url, secret_keys=KEYS, peer_login=login, peer_tls=tls, **shared)
    assert channel.demote(4, "nonce-1234", 2.0)
    channel.answer("nonce-1234", 4, True, 2.0)
    assert connect(found.redis_url, 2.0).get(Keys().word_prefix + "nonce-1234")
    votes = RedisVotes(
        own_url=found.redis_url,
        clock=SystemClock(),
        peer_login=login,
        witness_login=login,
        peer_tls=tls,
        witness_tls=tls,
        **shared,
    )
    for voter in ("server1", "server2", "witness"):
        assert votes.read(voter, 2.0).ok, voter
    without = RedisVotes(own_url=found.redis_url, clock=SystemClock(), peer_login=login, witness_login=login, **shared)
    assert without.read("server2", 1.0).ok is None, "a channel without TLS does not get in"
    for one in (channel, votes, without):
        one.close()


@pytest.mark.parametrize("agent", [True, False], ids=["FT_AGENT_TLS", "FT_WITNESS_TLS"])
def test_each_key_of_tls_counts_for_its_own_channel(
    place: Place, tls_redis: int, tmp_path: pathlib.Path, agent: bool
) -> None:
    """Redis speaks TLS alone, so whoever comes without it gets no answer."""
    words = {"FT_PEER_REDIS_PASSWORD": "own-word", "FT_WITNESS_PASSWORD": "own-word"}
    words |= {
        "FT_OWN_ADDRESS": "127.0.0.11:81",
        "FT_INSTANCE_DIR": str(tmp_path),
        "FT_PREFIX": f"agent-{agent}".lower(),
    }
    found = config(place, tls_redis, FT_AGENT_TLS=agent, FT_WITNESS_TLS=not agent, **words)
    parts = build(found, server2_address=HOST, agent_port=tls_redis, witness=f"{THIRD}:{tls_redis}")
    ports = parts.agent.ports
    assert ports.votes.read("server1", 2.0).ok is True
    assert ports.votes.read("server2", 2.0).ok is (True if agent else None)
    assert ports.votes.read("witness", 2.0).ok is (None if agent else True)
    assert ports.channel.demote(4, "nonce-1234", 2.0) is agent
    parts.stop()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"FT_TLS_CA": "strange"}, "is not trusted; name it in FT_TLS_CA"),
        ({"FT_TLS_CERT": "", "FT_TLS_KEY": ""}, "set FT_TLS_CERT and FT_TLS_KEY"),
        ({"FT_REDIS_URL": "[::1]"}, ""),
    ],
)
def test_what_is_wrong_with_tls_at_a_redis_is_named(place: Place, tls_redis: int, change: Any, words: str) -> None:
    if change.get("FT_TLS_CA"):
        change = {"FT_TLS_CA": str(place.folder / "strange" / "ca.pem")}
    if "FT_REDIS_URL" in change:
        plain = DeadlineRedis(f"redis://:own-word@{HOST}:{tls_redis}/0")
        with pytest.raises(redis.ConnectionError):
            plain.call(1.0, "PING")
        return
    found = config(place, tls_redis, **change)
    with pytest.raises(redis.ConnectionError) as refused:
        DeadlineRedis(found.redis_url).call(2.0, "PING")
    found_words, cut = str(refused.value), "FT_TLS_CERT" in change  # without a certificate Redis may just hang up
    assert words in found_words or (cut and "reset" in found_words)


# --- configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"FT_TLS_CA": "/none"}, "FT_TLS_CA=/none: is not there"),
        ({"FT_TLS_CERT": "good"}, "FT_TLS_CERT is set and FT_TLS_KEY is not"),
        ({"FT_TLS_CA": "junk"}, "FT_TLS_CA="),
        ({"FT_TLS_CERT": "junk", "FT_TLS_KEY": "junk"}, "FT_TLS_CERT="),
        ({"FT_TLS_CERT": "good", "FT_TLS_KEY": "open"}, "everybody may read it; run: chmod 600"),
        ({"FT_TLS_CERT": "good", "FT_TLS_KEY": "other"}, "FT_TLS_KEY"),
    ],
)
def test_wrong_tls_files_are_refused_at_the_start(
    place: Place, tmp_path: pathlib.Path, values: Any, words: str
) -> None:
    junk, readable = tmp_path / "junk.pem", tmp_path / "open.key"
    junk.write_text("no certificate")
    junk.chmod(0o600)
    readable.write_bytes(pathlib.Path(place.files("good")[1]).read_bytes())
    readable.chmod(0o644)
    cert, key = place.files("good")
    named = {"good": cert, "key": key, "junk": str(junk), "open": str(readable), "other": place.files("wrong")[1]}
    with pytest.raises(ConfigError) as refused:
        NodeConfig.of(
            {"FT_SECRET_KEYS": list(KEYS)} | {name: named.get(value, value) for name, value in values.items()}
        )
    assert words in str(refused.value), refused.value
