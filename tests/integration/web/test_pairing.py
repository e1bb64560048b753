"""'ft pair' between two real portals over HTTP: what it gives, and what a stranger, a liar and a listener get."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
import redis

from ftplugin.clock import SystemClock
from ftplugin.http_client import HttpClient
from ftplugin.pairing import exchange
from ftplugin.pairing.command import tell
from ftplugin.pairing.keyring import REREAD_S
from ftplugin.pairing.session import Session, Sessions
from tests.parts import eventually

from .conftest import KEY
from .pairing_site import Two, listening, two_servers  # noqa: F401

LIMIT_S = 20.0


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


def test_the_one_who_waits_is_told_and_may_end_it(two: Two) -> None:
    sessions = Sessions(two.first.portal.config.instance_dir, two.first.portal.clock)
    results: list[Any] = []
    waiting = threading.Thread(target=lambda: results.append(two.run(two.first, "pair")))
    waiting.start()
    found = eventually(lambda: (one := sessions.read()) and one.state == "waiting" and one, LIMIT_S, "it waits")
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
