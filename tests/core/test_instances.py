"""FT_PREFIX: which are refused, and that no prefix makes a name that is another instance's."""

from __future__ import annotations

import itertools
import pathlib
import re
from typing import Any

import pytest

from ftplugin.config import ConfigError, NodeConfig
from ftplugin.store.keys import Keys

KEY = "a key of the pair, long enough"
# some that would collide if prefix and name were merely joined
PREFIXES = ("", "x", "x-tick", "tick", "switch", "doc", "word", "role", "doc-role", "ft", "02", "X", "a_b")
DOCUMENTS = ("role", "agent", "vote", "tick")


def config(folder: pathlib.Path, **more: Any) -> NodeConfig:
    return NodeConfig.of({"FT_SECRET_KEYS": [KEY], "FT_INSTANCE_DIR": str(folder)} | more)


def names(prefix: str) -> list[str]:
    """Every key, queue, exchange and name of a connection that ``Keys`` knows; of those with an open end a sample."""
    keys = Keys(prefix)
    plain = [name for name in vars(Keys) if isinstance(getattr(Keys, name), property)]
    found = {name: str(getattr(keys, name)) for name in plain}
    found["instance"] += ".pidbox"  # only what Celery makes of it is a name
    ends = [text + "doc:role" for name, text in found.items() if text.endswith(":")]
    queues = [keys.queue(role) for role in ("tick", "switch")] + [keys.client(role) for role in ("tick", "switch")]
    return [*found.values(), *ends, *queues, *(keys.document(name) for name in DOCUMENTS)]


def test_no_two_instances_share_a_name() -> None:
    for one, other in itertools.combinations(PREFIXES, 2):
        shared = set(names(one)) & set(names(other))
        assert not shared, f"{one!r} and {other!r}"


@pytest.mark.parametrize(
    "prefix, why",
    [
        ("a b", "letters a to z"),
        (" a", "letters a to z"),
        ("a:b", "letters a to z"),
        ("..", "letters a to z"),
        ("a/../b", "letters a to z"),
        ("a/b", "letters a to z"),
        ("-a", "letters a to z"),
        ("a.b", "letters a to z"),
        ("a*", "letters a to z"),
        ("a\n", "letters a to z"),
        ("a\0", "letters a to z"),
        ("é", "letters a to z"),
        ("٣", "letters a to z"),
        ("x" * 33, "at most 32 characters; it has 33"),
        ("x" * 65, "at most 32 characters; it has 65"),
        ("logs", "is the folder of the logs"),
    ],
)
def test_bad_prefix_is_refused_by_name(prefix: str, why: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=rf"^FT_PREFIX={re.escape(repr(prefix))}: .*{why}"):
        config(tmp_path, FT_PREFIX=prefix)


def test_prefix_that_toml_reads_as_a_number_says_that_it_must_be_a_text(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="FT_PREFIX=2: must be of type str"):
        config(tmp_path, FT_PREFIX=2)


@pytest.mark.parametrize("prefix", [prefix for prefix in PREFIXES if prefix])
def test_instance_keeps_its_files_in_a_folder_of_its_own(prefix: str, tmp_path: pathlib.Path) -> None:
    found = config(tmp_path, FT_PREFIX=prefix)
    assert found.instance_dir == tmp_path / prefix
    assert found.database_url == f"sqlite:///{tmp_path / prefix / 'ft.sqlite3'}"
    assert config(tmp_path).instance_dir == tmp_path
