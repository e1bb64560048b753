"""Signed words between the nodes: what is said is what is read, and nothing else passes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftplugin import protocol
from ftplugin.core.terms import Designation, Phase, Role, SplitStance
from ftplugin.core.view import NodeState
from ftplugin.protocol import ProtocolError

S1, S2 = Designation.SERVER1, Designation.SERVER2
KEYS = ["the key of this pair of servers"]
OTHER = ["the key of quite another pair"]
ROTATING = ["the new key, sixteen or more", *KEYS]
NONCE, CHALLENGE = "nonce-of-the-asker", "challenge-of-the-answerer"
STATE = NodeState(
    designation=S1,
    role=Role.ACTIVE,
    phase=Phase.STARTING,
    epoch=8,
    seen_epoch=9,
    agent_age_s=0.25,
    lease_left_s=1.5,
    clear=False,
    stance=SplitStance.STAY,
    heard_asker_age_s=0.5,
    manual_hold=True,
    switches=2,
    settings_revision=7,
    version="1.0",
    wall_clock_s=1700000000.5,
)
milliseconds = st.integers(0, 10**9).map(lambda n: n / 1000)
states = st.builds(
    NodeState,
    designation=st.sampled_from(Designation),
    role=st.sampled_from(Role),
    phase=st.sampled_from(Phase),
    epoch=st.integers(0, 2**50),
    seen_epoch=st.integers(0, 2**50),
    agent_age_s=st.one_of(st.none(), milliseconds),
    lease_left_s=milliseconds,
    clear=st.booleans(),
    stance=st.sampled_from(SplitStance),
    heard_asker_age_s=st.one_of(st.none(), milliseconds),
    healthy=st.booleans(),
    eligible=st.booleans(),
    enabled=st.booleans(),
    manual_hold=st.booleans(),
    switches=st.integers(0, 1000),
    settings_revision=st.integers(0, 10**6),
    version=st.from_regex(r"[0-9a-z.+-]{0,20}", fullmatch=True),
    wall_clock_s=milliseconds,
    given_up=st.lists(st.sampled_from(["cti", "a~b", "x,y;z=1", "Zähler", "call manager"]), unique=True).map(tuple),
    failed=st.lists(st.sampled_from(["axl", "tcp 2748", "%7E"]), unique=True).map(tuple),
    restarting_s=milliseconds,
)


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(ProtocolError) as error:
        call(*arguments)
    return error.value.cause


# --- question and state -----------------------------------------------------------------------------------------------


@given(states)
def test_a_state_arrives_as_it_was_said(state: NodeState) -> None:
    header = protocol.make_state(KEYS, state, NONCE, CHALLENGE)
    assert len(header) <= protocol.HEADER_CHARS_MAX and header.isascii() and "\n" not in header
    assert protocol.read_state(KEYS, header, NONCE, state.designation) == (state, CHALLENGE)
    assert protocol.read_state(KEYS, header, NONCE, None)[0] == state


def test_a_state_with_any_character_changed_is_refused() -> None:
    header = protocol.make_state(KEYS, STATE, NONCE, CHALLENGE)
    for i, character in enumerate(header):
        wrong = header[:i] + ("x" if character != "x" else "y") + header[i + 1 :]
        assert refused(protocol.read_state, KEYS, wrong, NONCE, S1) in ("unsigned", "unreadable"), i


@pytest.mark.parametrize(
    ("keys", "nonce", "expected"),
    [(OTHER, NONCE, S1), (KEYS, "nonce-of-yesterday", S1), (KEYS, NONCE, S2)],
    ids=["wrong key", "wrong nonce", "wrong node"],
)
def test_a_state_for_another_key_question_or_node_is_unsigned(
    keys: list[str], nonce: str, expected: Designation
) -> None:
    header = protocol.make_state(KEYS, STATE, NONCE, CHALLENGE)
    assert refused(protocol.read_state, keys, header, nonce, expected) == "unsigned"


@pytest.mark.parametrize("field", range(13))
def test_a_state_with_fields_of_another_one_is_refused(field: int) -> None:
    """A field cannot be taken from another answer to the same question: the signature covers all of them."""
    other = replace(
        STATE,
        designation=S2,
        role=Role.STANDBY,
        clear=True,
        epoch=11,
        seen_epoch=12,
        agent_age_s=9,
        lease_left_s=0,
        heard_asker_age_s=None,
        switches=0,
        settings_revision=1,
        version="2",
        wall_clock_s=1.0,
    )
    mine = protocol.make_state(KEYS, STATE, NONCE, CHALLENGE).split("~")
    theirs = protocol.make_state(KEYS, other, NONCE, "another challenge").split("~")
    assert mine[field] != theirs[field]
    mine[field] = theirs[field]
    assert refused(protocol.read_state, KEYS, "~".join(mine), NONCE, None) == "unsigned"


@given(st.text(max_size=700))
def test_garbage_is_no_state_no_question_no_command_no_word(text: str) -> None:
    assert refused(protocol.read_state, KEYS, text, NONCE, S1) in ("unsigned", "unreadable")
    assert refused(protocol.read_ask, KEYS, text) in ("unsigned", "unreadable")
    assert refused(protocol.read_command, KEYS, S1, text.encode("utf-8", "replace")) in ("unsigned", "unreadable")
    assert refused(protocol.read_word, KEYS, S1, NONCE, text) in ("unsigned", "unreadable")


@given(st.binary(max_size=300))
def test_bytes_are_no_command(raw: bytes) -> None:
    assert refused(protocol.read_command, KEYS, S1, raw) == "unreadable"


def test_what_is_too_long_is_not_even_checked() -> None:
    header = protocol.make_state(KEYS, replace(STATE, version="v" * 600), NONCE, CHALLENGE)
    assert refused(protocol.read_state, KEYS, header, NONCE, S1) == "unreadable"
    assert refused(protocol.read_ask, KEYS, "1." + "n" * 600) == "unreadable"
    command = protocol.make_command(KEYS, S1, CHALLENGE, "switch", {"reason": "r" * 20_000})
    assert refused(protocol.read_command, KEYS, S2, command) == "unreadable"


@given(st.sampled_from(Designation))
def test_a_question_names_its_asker(asker: Designation) -> None:
    nonce = protocol.new_nonce()
    assert protocol.read_ask(KEYS, protocol.make_ask(KEYS, asker, nonce)) == (asker, nonce)


def test_a_question_of_another_asker_nonce_or_key_is_unsigned() -> None:
    one, nonce, signature = protocol.make_ask(KEYS, S1, NONCE).split(".")
    for text in (f"2.{nonce}.{signature}", f"{one}.{nonce}x.{signature}", f"{one}.{nonce}.{signature[:-1]}"):
        assert refused(protocol.read_ask, KEYS, text) == "unsigned"
    assert refused(protocol.read_ask, OTHER, f"{one}.{nonce}.{signature}") == "unsigned"


def test_a_new_nonce_is_never_an_old_one() -> None:
    assert len({protocol.new_nonce() for _ in range(1000)}) == 1000


# --- commands ---------------------------------------------------------------------------------------------------------

bodies = st.dictionaries(
    st.text(max_size=10), st.one_of(st.integers(), st.text(max_size=20), st.none(), st.booleans()), max_size=5
)


@given(bodies, st.sampled_from(Designation))
def test_a_command_arrives_as_it_was_sent(body: dict[str, Any], sender: Designation) -> None:
    raw = protocol.make_command(KEYS, sender, CHALLENGE, "demote", body)
    assert protocol.read_command(KEYS, sender.other, raw) == (CHALLENGE, "demote", body)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("challenge", "used before"),
        ("name", "switch"),
        ("body", '{"epoch":99}'),
        ("signature", "A" * 22),
        ("from", "server2"),
    ],
)
def test_a_command_with_one_field_changed_is_refused(field: str, value: str) -> None:
    message = json.loads(protocol.make_command(KEYS, S1, CHALLENGE, "demote", {"epoch": 5}))
    message[field] = value
    assert refused(protocol.read_command, KEYS, S2, json.dumps(message).encode()) == "unsigned"


def test_a_command_is_for_the_other_node_alone() -> None:
    raw = protocol.make_command(KEYS, S1, CHALLENGE, "demote", {"epoch": 5})
    assert refused(protocol.read_command, KEYS, S1, raw) == "unsigned"
    assert refused(protocol.read_command, OTHER, S2, raw) == "unsigned"


@pytest.mark.parametrize(
    "message",
    [
        {},
        [],
        {"from": "server3", "challenge": "c", "name": "n", "body": "{}", "signature": "s"},
        {"from": "server1", "challenge": 1, "name": "n", "body": "{}", "signature": "s"},
        {"from": "server1", "challenge": "c", "name": "n", "body": "[]", "signature": "s"},
    ],
)
def test_a_command_of_another_form_is_unreadable(message: Any) -> None:
    assert refused(protocol.read_command, KEYS, S2, json.dumps(message).encode()) == "unreadable"


def test_a_command_nested_without_end_is_unreadable() -> None:
    assert refused(protocol.read_command, KEYS, S2, b"[" * 10_000) == "unreadable"


# --- agent channel ----------------------------------------------------------------------------------------------------


@given(st.integers(2, 2**50), st.sampled_from(Designation))
def test_demote_and_its_answer_arrive(epoch: int, sender: Designation) -> None:
    message = protocol.make_demote(KEYS, sender, epoch, NONCE)
    assert protocol.check_demote(KEYS, sender.other, **message) == epoch
    for clear in (True, False):
        word = protocol.make_word(KEYS, sender.other, NONCE, epoch, clear)
        assert protocol.read_word(KEYS, sender.other, NONCE, word) == (epoch, clear)


@pytest.mark.parametrize(
    "change", [{"epoch": 6}, {"nonce": "another one"}, {"sender": "server2"}, {"signature": "A" * 22}]
)
def test_demote_with_one_field_changed_is_unsigned(change: dict[str, Any]) -> None:
    message = protocol.make_demote(KEYS, S1, 4, NONCE) | change
    assert refused(lambda: protocol.check_demote(KEYS, S2, **message)) == "unsigned"


@pytest.mark.parametrize(
    "change", [{"epoch": True}, {"epoch": "4"}, {"epoch": None}, {"nonce": 1}, {"sender": None}, {"signature": b"x"}]
)
def test_demote_with_a_field_of_another_type_is_unreadable(change: dict[str, Any]) -> None:
    message = protocol.make_demote(KEYS, S1, 4, NONCE) | change
    assert refused(lambda: protocol.check_demote(KEYS, S2, **message)) == "unreadable"


def test_a_node_does_not_obey_its_own_demote_message() -> None:
    assert refused(lambda: protocol.check_demote(KEYS, S1, **protocol.make_demote(KEYS, S1, 4, NONCE))) == "unsigned"


def test_a_word_that_says_not_clear_cannot_be_turned_into_clear() -> None:
    epoch, _, signature = protocol.make_word(KEYS, S2, NONCE, 4, False).split(".")
    assert refused(protocol.read_word, KEYS, S2, NONCE, f"{epoch}.1.{signature}") == "unsigned"
    assert refused(protocol.read_word, KEYS, S2, NONCE, f"6.0.{signature}") == "unsigned"
    assert refused(protocol.read_word, KEYS, S1, NONCE, f"{epoch}.0.{signature}") == "unsigned"
    assert refused(protocol.read_word, KEYS, S2, "another nonce", f"{epoch}.0.{signature}") == "unsigned"


def test_no_signature_serves_another_purpose() -> None:
    """The same parts signed as a word, a question or a body are void as anything else."""
    assert (
        len(
            {
                protocol.sign(KEYS, purpose, S1, NONCE, 4)
                for purpose in ("ask", "state", "demote", "word", "settings", "command")
            }
        )
        == 6
    )


@given(st.lists(st.text(max_size=5), min_size=2, max_size=4))
def test_parts_cannot_be_shifted_into_each_other(parts: list[str]) -> None:
    shifted = [parts[0] + parts[1], *parts[2:]]
    assert not protocol.verify(KEYS, protocol.sign(KEYS, *parts), *shifted)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_during_a_rotation_both_keys_are_valid_and_the_first_one_signs() -> None:
    """Step one: both nodes know [new, old]; a node that still has the old one alone is understood."""
    old = protocol.make_state(KEYS, STATE, NONCE, CHALLENGE)
    assert protocol.read_state(ROTATING, old, NONCE, S1)[0] == STATE
    new = protocol.make_state(ROTATING, STATE, NONCE, CHALLENGE)
    assert refused(protocol.read_state, KEYS, new, NONCE, S1) == "unsigned"
    assert protocol.read_state(ROTATING[:1], new, NONCE, S1)[0] == STATE


@pytest.mark.parametrize("keys", [[], ["short"], ["long enough, really", "short"]])
def test_missing_and_short_keys_are_named(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="FT_SECRET_KEYS"):
        protocol.check_keys(keys)


# --- what rides behind the version ----------------------------------------------------------------------------------


def test_what_is_rarely_said_costs_nothing_while_there_is_nothing_to_say() -> None:
    header = protocol.make_state(KEYS, STATE, NONCE, CHALLENGE)
    assert "~1.0~" in header
    said = protocol.make_state(KEYS, replace(STATE, given_up=("cti",), failed=("axl",)), NONCE, CHALLENGE)
    assert "~1.0;g=cti;f=axl~" in said and len(said) - len(header) < 20


def test_a_peer_of_an_older_version_says_none_of_it_and_one_of_a_newer_version_may_say_more() -> None:
    old = protocol.make_state(KEYS, replace(STATE, version="0.9"), NONCE, CHALLENGE)
    state, _ = protocol.read_state(KEYS, old, NONCE, S1)
    assert (state.version, state.given_up, state.failed, state.restarting_s) == ("0.9", (), (), 0.0)
    newer = protocol.make_state(KEYS, replace(STATE, version="2.0;q=9;g=cti"), NONCE, CHALLENGE)
    state, _ = protocol.read_state(KEYS, newer, NONCE, S1)
    assert (state.version, state.given_up) == ("2.0", ("cti",))


def test_names_that_do_not_fit_are_left_out_whole_and_the_header_stays_short() -> None:
    names = tuple(f"service number {n} with a long name ~~~~" for n in range(40))
    header = protocol.make_state(KEYS, replace(STATE, given_up=names, failed=names, epoch=2**50), NONCE, CHALLENGE)
    assert len(header) <= protocol.HEADER_CHARS_MAX
    state, _ = protocol.read_state(KEYS, header, NONCE, S1)
    assert state.given_up and set(state.given_up) < set(names) and state.failed == state.given_up
    assert protocol.read_state(
        KEYS, protocol.make_state(KEYS, replace(STATE, given_up=("x" * 500, "cti")), NONCE, CHALLENGE), NONCE, S1
    )[0].given_up == ("cti",)
