"""A server #1 with rows and files to replicate, the description of its node API, and what fuzzers send to it."""

from __future__ import annotations

import copy
import json
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
import yaml
from flask import Flask
from hypothesis import HealthCheck
from hypothesis import settings as limits
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import create_engine, delete

import ftplugin
from ftplugin import FaultTolerance, protocol
from ftplugin.core.settings import NAMES as SETTING_NAMES
from ftplugin.core.terms import Designation, Role
from ftplugin.replicate.engine import Replicator
from ftplugin.replicate.serve import QUESTIONS
from ftplugin.store.tables import SETTINGS
from ftplugin.web.node_api import NOTICES
from ftplugin.web.node_pair import KEY_COMMANDS
from ftplugin.web.replicate_api import COMMANDS

from ..replicate.conftest import Base, register
from .conftest import KEY, OWN, RedisProcess, Site
from .conftest import PEER as PEER_ADDRESS

DESCRIPTION = yaml.safe_load((pathlib.Path(ftplugin.__file__).parent / "openapi.yaml").read_text())
PEER = Designation.SERVER2
NAMES = {"demote", "switch", *NOTICES, *COMMANDS, *KEY_COMMANDS}
FEW, MANY = 4, 400  # examples of each operation
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
HUGE = st.sampled_from([10**400, -1, 2**31, 2**53, 2**63, 1e308, -0.0, float("inf"), float("nan")])
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    HUGE,
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["server1", "server2", "\0", "\ud800", "{{7*7}}", "x" * 600, "[1]", '["a"]', "[1e999]", "users"]),
)
VALUES = st.recursive(
    JUNK, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
TEXTS = st.sampled_from(["server1", "users", "a", "{{7*7}}", "\0", "\ud800", "x" * 1200])
CONFLICT = st.fixed_dictionaries(
    {name: TEXTS for name in ("conflict_id", "subject", "item", "kept_on", "acknowledged_by")}
    | {name: st.floats() | HUGE for name in ("found_wall_s", "acknowledged_wall_s")}
    | {name: st.dictionaries(TEXTS, VALUES, max_size=3) | VALUES for name in ("lost", "won")}
)
ROUGHLY_RIGHT = {  # so that what is inside is reached, too
    "list": st.lists(CONFLICT, max_size=3),
    "values": st.dictionaries(st.sampled_from(sorted(SETTING_NAMES)), VALUES, max_size=4),
    "thing": st.sampled_from(["users", "groups", "lines", "files"]),
    "wanted": st.dictionaries(
        st.sampled_from(
            ["[1]", "[1e999]", "[-1]", "[9999999999999999999999]", '["\\ud800"]', '[1,"\\u0000"]', '[{"b":"!"}]']
        )
        | st.sampled_from(["a", "../a", "/etc/passwd", "a\0", "\ud800", "x" * 5000])
        | st.text(max_size=9),
        st.text(max_size=5),
        max_size=4,
    ),
    "buckets": st.lists(st.integers(-1, 256) | st.booleans(), max_size=4),
    "parts": st.lists(st.tuples(TEXTS, TEXTS, st.lists(st.integers(0, 2**70), max_size=3)), max_size=3),
    "epoch": st.integers(0, 2**60),
    "revision": st.integers(0, 2**40),
    "saved_at": st.floats(),
}
NEEDED = {
    "conflicts": ("list",),
    "settings": ("revision", "saved_at", "values"),
    "demote": ("epoch",),
    "entries": ("thing", "buckets"),
    "rows": ("thing", "wanted"),
    "files": ("thing", "wanted"),
    "blocks": ("thing", "parts"),
}
FIELDS = {
    "command": "epoch target expected_active actor reason switch_id minutes revision saved_at values origin ancestors list "
    "override_reason public with key keep".split(),
    "content": "thing buckets wanted roots parts".split(),
}


def bodies(kind: str, name: str = "") -> Any:
    """Some of the fields, each with a value of any kind or with one that is roughly right; those that count are there."""
    found = {field: ROUGHLY_RIGHT.get(field, JUNK) | VALUES for field in FIELDS[kind]}
    needed = {field: ROUGHLY_RIGHT[field] for field in NEEDED.get(name, ())}
    return st.fixed_dictionaries(needed, optional={field: found[field] for field in found.keys() - needed.keys()})


def named(kind: str) -> Any:
    """(name, body)"""
    names = sorted(NAMES if kind == "command" else QUESTIONS)
    return st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), bodies(kind, name)))


@dataclass
class Scene:
    """A configured server #1 with rows and files to replicate, and the description turned into questions to it."""

    site: Site
    api: Any

    def reset(self) -> None:
        """Settings as at the start: a command of the pair may change them."""
        revision, found = self.site.portal.settings.current()
        if (revision, found.server1_address, found.server2_address) != (1, OWN, PEER_ADDRESS):
            with self.site.portal.database.transaction() as connection:
                connection.execute(delete(SETTINGS))
            self.site.configure()

    def call(self, case: Any, headers: dict[str, str], **body: Any) -> Any:
        """The answer, judged by the description."""
        answer = case.call(app=self.site.app, headers=headers, **body)
        case.validate_response(answer, CHECKS)
        return answer

    def judge(self, path: str, answer: Any, asked: object) -> None:
        """Judge the answer of a test client."""
        assert answer.status_code < 500, (answer.text, asked)
        self.api[path]["POST"].validate_response(answer)

    def ask(self, nonce: str = "n" * 12) -> dict[str, str]:
        return {protocol.ASK_HEADER: protocol.make_ask([KEY], PEER, nonce), "Accept-Encoding": "identity"}

    def challenge(self) -> str:
        given = self.site.portal.runtime.snapshot(challenge=True).challenge
        assert given
        return given

    def signed(self, name: Any, text: str) -> bytes:
        """A command with whatever name and body, signed all the same: json.dumps and the keys refuse nothing."""
        over = self.challenge()
        message = {"from": PEER, "challenge": over, "name": name, "body": text}
        message["signature"] = protocol.sign([KEY], "command", PEER, PEER.other, over, name, text)
        return json.dumps(message).encode()


@pytest.fixture(scope="module", name="scene")
def a_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("openapi")
    patch = pytest.MonkeyPatch()
    patch.setattr(Replicator, "ensure", lambda replicator: None)  # no thread of its own asks a server that is not there
    redis = RedisProcess(home)
    app = Flask("described")
    app.config.update(FT_OWN_ADDRESS=OWN, FT_REDIS_URL=redis.url, FT_INSTANCE_DIR=str(home / "instance"))
    app.config.update(SECRET_KEY="portal-secret", FT_SECRET_KEYS=[KEY])
    engine = create_engine(f"sqlite:///{home}/portal.sqlite3")
    Base.metadata.create_all(engine)
    (home / "files").mkdir()
    (home / "files" / "a").write_text("content")
    mounted = FaultTolerance(app, authorize=lambda permission: True)
    register(mounted, engine, home / "files")
    portal = app.extensions["ftplugin"]
    site = Site(app, portal, redis, [], mounted)
    site.configure()
    site.role(Role.ACTIVE, epoch=6)
    site.agent()
    portal.report.line("agent", "hello")
    described = copy.deepcopy(DESCRIPTION)
    body = described["components"]["schemas"]["Command"]["properties"]["body"]
    described["components"]["schemas"]["Command"]["properties"]["body"] = body["contentSchema"]  # signed as text below
    api = schemathesis.openapi.from_dict({**described, "servers": [{"url": "/ft/node"}], "security": []})
    yield Scene(site, api)
    portal.close()
    engine.dispose()
    redis.kill()
    patch.undo()


def operations() -> list[tuple[str, str]]:
    """(path, method) of everything that is described."""
    return [(path, method) for path, methods in DESCRIPTION["paths"].items() for method in methods]


def cases(scene: Scene, path: str, method: str) -> Any:
    """Questions that fit the description, and some that do not."""
    operation = scene.api[path][method.upper()]
    fit = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if path in ("/state", "/settings", "/status"):
        return fit  # nothing in them can be wrong
    return fit | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


def few(examples: int) -> Any:
    return limits(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
