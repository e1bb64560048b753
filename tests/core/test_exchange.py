"""The exchange behind the one-time code: what both sides get, and what everybody else does not."""

from __future__ import annotations

import pytest

from ftplugin.pairing import exchange
from ftplugin.pairing.exchange import ForgedError, Keys, PairingError

SALT = b"s" * 16


def both(secret: bytes = b"k" * 32, other: bytes = b"k" * 32, said: tuple[str, ...] = ("x",)) -> tuple[Keys, Keys]:
    a, b = exchange.new_private(), exchange.new_private()
    return (
        Keys.of(secret, a, exchange.public_of(b), "x"),
        Keys.of(other, b, exchange.public_of(a), *said),
    )


def test_both_sides_get_the_same_keys_and_a_different_one_for_each_purpose() -> None:
    one, two = both()
    assert one == two and len(set(one.by_name.values())) == 5
    sealed = one.seal("join", {"key": "value"})
    assert two.opened("join", sealed) == {"key": "value"} and "value" not in sealed
    assert two.proves(one.proof("join", sealed), "join", sealed)
    assert not two.proves(one.proof("join", sealed), "answer", sealed), "a proof is good for one purpose"
    with pytest.raises(ForgedError):
        two.opened("answer", sealed)


@pytest.mark.parametrize("changed", [{"other": b"l" * 32}, {"said": ("y",)}, {"said": ("x", "y")}, {"said": ()}])
def test_another_code_or_another_conversation_gives_other_keys(changed: dict[str, object]) -> None:
    one, two = both(**changed)  # type: ignore[arg-type]
    sealed = one.seal("join", {})
    assert not two.proves(one.proof("join", sealed), "join", sealed)
    with pytest.raises(ForgedError):
        two.opened("join", sealed)


def test_who_has_the_code_and_a_recording_but_no_private_key_gets_other_keys() -> None:
    a, b, own = (exchange.new_private() for _ in range(3))
    one = Keys.of(b"k" * 32, a, exchange.public_of(b), "x")
    for public in (exchange.public_of(a), exchange.public_of(b)):
        listener = Keys.of(b"k" * 32, own, public, "x")
        assert not set(listener.by_name.values()) & set(one.by_name.values())


@pytest.mark.parametrize("public", [b"", b"\0" * 31, b"\0" * 32, b"\1" + b"\0" * 31])
def test_a_public_key_that_makes_the_shared_value_known_is_refused(public: bytes) -> None:
    with pytest.raises(ForgedError):
        Keys.of(b"k" * 32, exchange.new_private(), public)


def test_codes_are_random_and_can_be_typed_carelessly() -> None:
    codes = {exchange.new_code() for _ in range(200)}
    assert len(codes) == 200 and all(len(exchange.read_code(code)) == 16 for code in codes)
    assert (
        exchange.read_code(" 7kqf 2m9x-c0tb-wh3e ") == exchange.read_code("7KQF-2M9X-COTB-WH3E") == "7KQF2M9XC0TBWH3E"
    )
    assert exchange.read_code("1il0-oooo-0000-0000") == "1110000000000000"


@pytest.mark.parametrize(
    "typed", ["", "7KQF", "7KQF-2M9X-C0TB-WH3E-1", "7KQF-2M9X-C0TB-WH3U", "é" * 16, "7KQF-2M9X-C0TB-WH3!"]
)
def test_what_cannot_be_a_code_is_said_before_anything_is_asked(typed: str) -> None:
    with pytest.raises(PairingError, match="16 letters and digits"):
        exchange.read_code(typed)


def test_the_code_is_stretched_with_the_salt_of_its_session() -> None:
    assert exchange.stretched("A" * 16, SALT) != exchange.stretched("A" * 16, b"t" * 16)
    assert len(exchange.stretched("A" * 16, SALT)) == 32
