"""The file of FT_CONFIG_FILE as people save it."""

from __future__ import annotations

import pathlib

import pytest

from ftplugin.config import ConfigError, NodeConfig


@pytest.mark.parametrize("text", ["# réseau\n".encode("latin-1"), b"FT_OWN_ADDRESS = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: pathlib.Path, text: bytes) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=f"FT_CONFIG_FILE={path}: cannot be read"):
        NodeConfig.from_environment({"FT_CONFIG_FILE": str(path)})
