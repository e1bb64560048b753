"""'ft pair' between two real portals over HTTP: what it gives, and what a stranger, a liar and a listener get."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from waitress import create_server

from ftplugin import protocol
from ftplugin.clock import SystemClock
from ftplugin.core.terms import Designation
from ftplugin.http_client import HttpClient
from ftplugin.pairing import exchange
from ftplugin.pairing.command import tell
from ftplugin.pairing.exchange import PairingError
from ftplugin.pairing.files import write_secret
from ftplugin.pairing.keyring import REREAD_S, read_keys
from ftplugin.pairing.session import Session, Sessions

from .conftest import KEY, MakeSite, RedisProcess, Site, free_port

LIMIT_S = 20.0


@dataclass
class Two:
    """``first`` shows the code and is served at ``url``; ``second`` joins. Each has its own Redis and files.

    recorded: what went over the line. cut: questions whose answer is cut off, once; lost: questions that never arrive.
    """

    first: Site
    second: Site
    url: str
    recorded: list[bytes]
    cut: list[bytes]
    lost: list[bytes]

    def run(self, site: Site, *words: str) -> Any:
        return site.app.test_cli_runner().invoke(args=["ft", *words])

    def code(self) -> str:
        shown = self.run(self.first, "pair", "--no-wait", "--json")
        assert shown.exit_code == 0, shown.output
        return str(json.loads(shown.stdout)["code"])

    def join(self, code: str, site: Site | None = None) -> Any:
        return self.run(site or self.second, "pair", "--join", self.url, code)

    def say(self, step: str, **message: Any) -> tuple[int, dict[str, Any]]:
        body = json.dumps({"v": 1, "step": step, **message}).encode()
        answer = HttpClient().ask("POST", self.url, "/ft/node/pair", limit_s=5, body=body, keep=False)
        return answer.status, json.loads(answer.text)

    def keys(self, site: Site) -> list[str]:
        path = site.portal.config.secrets.keys_file
        assert path is not None
        return [line for line in path.read_text().splitlines() if not line.startswith("#")] if path.exists() else []


@contextlib.contextmanager
def listening(application: Any, port: int = 0) -> Iterator[str]:
    """The WSGI application under waitress; its address."""
    server = create_server(application, host="127.0.0.1", port=port, threads=4, ident=None)

    def serve() -> None:
        with contextlib.suppress(OSError):  # its socket is closed under it at the end
            server.run()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.effective_port}"
    finally:
        server.close()
        server.task_dispatcher.shutdown()


@pytest.fixture
def two(make_site: MakeSite, tmp_path: pathlib.Path) -> Iterator[Two]:
    second_redis = RedisProcess(tmp_path)
    port = free_port()
    own, other = f"127.0.0.1:{port}", f"127.0.0.12:{free_port()}"
    of_first = {
        "FT_INSTANCE_DIR": str(tmp_path / "first"),
        "FT_SECRET_KEYS_FILE": str(tmp_path / "away" / "secret.keys"),
    }
    first = make_site(FT_SECRET_KEYS=[], FT_OWN_ADDRESS=own, **of_first)
    place = {"FT_OWN_ADDRESS": other, "FT_INSTANCE_DIR": str(tmp_path / "second"), "FT_REDIS_URL": second_redis.url}
    second = make_site(FT_SECRET_KEYS=[], **place)
    recorded: list[bytes] = []
    cut: list[bytes] = []
    lost: list[bytes] = []

    def recording(environ: Any, start: Any) -> Any:
        data = environ["wsgi.input"].read()
        if any(part in data for part in lost):
            start("200 OK", [("Content-Length", "100")])
            return [b"cut"]
        answer = b"".join(first.app({**environ, "wsgi.input": io.BytesIO(data)}, start))
        recorded.extend((data, answer))
        if cut and cut[0] in data:
            cut.pop()
            return [answer[:-5]]
        return [answer]

    for site in (first, second):
        site.configure(server1_address=own, server2_address=other)
    try:
        with listening(recording, port) as address:
            yield Two(first, second, f"http://{address}", recorded, cut, lost)
    finally:
        second_redis.kill()


def test_both_servers_get_the_same_new_key_in_files_that_only_they_can_read(two: Two) -> None:
    code = two.code()
    joined = two.join(code.lower().replace("-", " "))  # as one types it
    assert joined.exit_code == 0, joined.output
    assert two.keys(two.first) == two.keys(two.second) and len(two.keys(two.first)) == 1
    for site in (two.first, two.second):
        for name in ("secret.keys", "peer-redis.password", "redis-users.conf", "pairing.json"):
            path = site.portal.config.instance_dir / name
            assert not path.exists() or path.stat().st_mode & 0o777 == 0o600, name
        path = site.portal.config.secrets.keys_file
        assert path is not None and path.stat().st_mode & 0o777 == 0o600
    time.sleep(REREAD_S + 0.1)  # the running portals have looked at the file again
    assert tell(two.second.portal, "keys", {})["keys"] == [joined.output.split("; key ")[1][:8]]


def test_each_gets_a_login_at_the_others_redis_and_the_former_one_is_void(two: Two) -> None:
    assert two.join(two.code()).exit_code == 0
    old = two.second.portal.config.secrets.peer_password_file.read_text().strip()
    at_first = redis.Redis(port=two.first.redis.port, username="peer", password=old, driver_info=None, protocol=2)
    assert at_first.ping()
    assert two.join(two.code()).exit_code == 0
    new = two.second.portal.config.secrets.peer_password_file.read_text().strip()
    with pytest.raises(redis.RedisError):
        at_first.ping()  # not even the connection that was open
    assert redis.Redis(port=two.first.redis.port, username="peer", password=new, driver_info=None, protocol=2).ping()
    back = two.first.portal.config.secrets.peer_password_file.read_text().strip()
    port = two.second.portal.runtime.client.connection_pool.connection_kwargs["port"]
    assert redis.Redis(port=port, username="peer", password=back, driver_info=None, protocol=2).ping()


def test_who_listens_sees_neither_key_nor_password_nor_code(two: Two) -> None:
    code = two.code()
    two.recorded.clear()
    assert two.join(code).exit_code == 0
    heard = b"".join(two.recorded)
    assert len(two.recorded) == 6, "three questions and their answers"
    folder = two.second.portal.config.instance_dir
    secrets = [
        *two.keys(two.second),
        (folder / "peer-redis.password").read_text().strip(),
        exchange.read_code(code),
        code,
    ]
    assert not [secret for secret in secrets if secret.encode() in heard]
    # with the code, but too late: the private X25519 keys are gone
    session = Sessions(two.first.portal.config.instance_dir, SystemClock()).read()
    assert session is not None and session.private == session.secret == session.pending == ""


def test_nothing_is_open_unless_asked_for_and_then_once(two: Two) -> None:
    assert two.say("hello")[0] == 404
    code = two.code()
    assert two.join(code).exit_code == 0
    again = two.join(code)
    assert again.exit_code == 1 and "no code is open" in again.output


def test_five_wrong_codes_end_it_and_are_logged(two: Two) -> None:
    code = two.code()
    wrong = "0000-0000-0000-0000"
    for left in (4, 3, 2, 1):
        refused = two.join(wrong)
        assert refused.exit_code == 1 and f"{left} tries are left" in refused.output
    assert "void" in two.join(wrong).output
    good = two.join(code)
    assert good.exit_code == 1 and "no code is open" in good.output and two.keys(two.second) == []
    assert two.first.log().count("pairing: wrong code") == 5 and "127.0.0.1" in two.first.log()
    assert code not in two.first.log()


def test_the_code_is_void_after_its_time_and_when_a_newer_one_is_open(two: Two) -> None:
    sessions = Sessions(two.first.portal.config.instance_dir, two.first.portal.clock)
    two.code()
    code, _ = sessions.open(open_s=0.0)
    assert "no code is open" in two.join(code).output
    former = two.code()
    two.code()
    assert "wrong code" in two.join(former).output


def test_a_replayed_join_gets_the_same_answer_and_another_joiner_none(two: Two) -> None:
    code = two.code()
    _, hello = two.say("hello")
    typed = exchange.stretched(exchange.read_code(code), exchange.decode(hello["salt"]))

    def message() -> dict[str, Any]:
        private = exchange.new_private()
        public = exchange.encode(exchange.public_of(private))
        said = (hello["session"], hello["salt"], hello["public"], public)
        keys = exchange.Keys.of(typed, private, exchange.decode(hello["public"]), *said)
        own = two.second.portal.config
        facts = {
            "own_address": own.own_address,
            "url_prefix": "/ft",
            "prefix": "",
            "version": "1",
            "redis_password": "x",
        }
        sealed = keys.seal("join", facts)
        return {"session": hello["session"], "public": public, "sealed": sealed, "proof": keys.proof("join", sealed)}

    one = message()
    first = two.say("join", **one)
    assert first[0] == 200 and two.say("join", **one) == first
    status, refused = two.say("join", **message())
    assert status == 409 and "used by another server" in refused["error"]
    before = two.keys(two.first)
    status, _ = two.say("confirm", session=hello["session"], proof="x")
    assert status == 403 and two.keys(two.first) == before, "nothing counts before it is confirmed"


def test_a_message_changed_on_the_way_is_refused(two: Two) -> None:
    code = two.code()
    _, hello = two.say("hello")
    private = exchange.new_private()
    public = exchange.encode(exchange.public_of(private))
    secret = exchange.stretched(exchange.read_code(code), exchange.decode(hello["salt"]))
    said = (hello["session"], hello["salt"], hello["public"], public)
    keys = exchange.Keys.of(secret, private, exchange.decode(hello["public"]), *said)
    sealed = keys.seal("join", {})
    message = {"public": public, "sealed": sealed, "proof": keys.proof("join", sealed)}
    for part in message:
        changed = exchange.encode(bytes(a ^ 1 for a in exchange.decode(message[part])))
        status, answer = two.say("join", session=hello["session"], **(message | {part: changed}))
        assert status == 403 and "wrong code" in answer["error"], part


def test_garbage_is_refused_and_uses_up_nothing(two: Two) -> None:
    code = two.code()
    odd = [b"", b"[]", b"{}", b"\x00\xff", b"[" * 5000, b"x" * 9000, b'{"v": 1, "step": "x"}', b'{"v": 9}']
    odd += [b'{"v": 1, "step": "join", "session": 7}', b'{"v": 1, "step": "confirm"}', b'{"v": 1, "step": []}']
    for raw in odd:
        answer = HttpClient().ask("POST", two.url, "/ft/node/pair", limit_s=5, body=raw, keep=False)
        assert answer.status in (400, 404), raw
    assert two.join(code).exit_code == 0


def test_who_answers_without_the_code_is_found_out_and_nothing_is_written(two: Two) -> None:
    """Somebody in between who has not the code: takes every proof, and answers with a key of his own."""

    def liar(environ: Any, start: Any) -> Any:
        message = json.loads(environ["wsgi.input"].read())
        private = exchange.new_private()
        answer = {
            "session": "s",
            "salt": exchange.encode(b"s" * 16),
            "public": exchange.encode(exchange.public_of(private)),
        }
        if message["step"] == "join":
            keys = exchange.Keys.of(b"k" * 32, private, exchange.decode(message["public"]), "x")
            sealed = keys.seal("answer", {"key": KEY, "redis_password": "x"})
            answer = {"sealed": sealed, "proof": keys.proof("answer", message["sealed"], sealed)}
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    with listening(liar) as address:
        refused = two.run(two.second, "pair", "--join", address, "7KQF-2M9X-C0TB-WH3E")
    assert refused.exit_code == 1 and "has not the code" in refused.output and two.keys(two.second) == []


def test_a_lost_confirmation_is_sent_again(two: Two) -> None:
    """The answer to the first "confirm" is cut off after it was taken: the second try gets it again."""
    code = two.code()
    two.cut.append(b'"confirm"')
    joined = two.join(code)
    assert joined.exit_code == 0 and not two.cut and two.keys(two.first) == two.keys(two.second)


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


def test_the_one_who_waits_is_told_and_may_end_it(two: Two) -> None:
    sessions = Sessions(two.first.portal.config.instance_dir, two.first.portal.clock)
    results: list[Any] = []
    waiting = threading.Thread(target=lambda: results.append(two.run(two.first, "pair")))
    waiting.start()
    end_s = time.monotonic() + LIMIT_S
    while not (found := sessions.read()) or found.state != "waiting":
        assert time.monotonic() < end_s
        time.sleep(0.05)
    assert isinstance(found, Session)
    sessions.close(found.session, "ended by a test")
    waiting.join(LIMIT_S)
    assert (
        results[0].exit_code == 1 and "ended by a test" in results[0].output and "ft pair --join" in results[0].output
    )


def test_a_portal_without_a_key_runs_and_believes_nobody(two: Two) -> None:
    assert two.first.client.get("/ft/monitor?mod=FT").text == "STANDBY"
    assert two.first.client.get("/ft/admin/").status_code == 200
    assert two.first.client.get("/ft/node/state", headers={"X-FT-Ask": "1.nnnnnnnnnnnn.ssss"}).status_code == 403
