"""Deliveries by real processes to real receivers: what arrives, what a target that hangs or fails costs, what leaks."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from ftplugin.alerts.by_snmp import BASE, PHASES, SEVERITIES, variables
from ftplugin.alerts.causes import KINDS, Cause, Fact, Phase, Severity
from ftplugin.alerts.child import Child
from ftplugin.alerts.incidents import Here, Incidents
from ftplugin.alerts.message import TEXT_CHARS_MAX, Message
from ftplugin.alerts.outbox import BATCH_MAX
from ftplugin.alerts.targets import Target, targets_of

from .alert_receivers import InformReceiver, Mailbox, Silent, TrapReceiver, Webhook
from .conftest import wait_until

ROOT = pathlib.Path(__file__).parents[3]
MIB = ROOT / "deploy" / "snmp" / "FT-HOT-STANDBY-MIB.txt"
AT_S = 1_800_000_000.0
LIMIT_S = 60.0  # of a target that answers: the machine is shared
R = TypeVar("R")


@pytest.fixture
def keep() -> Iterator[Callable[[R], R]]:
    with contextlib.ExitStack() as stack:

        def kept(receiver: R) -> R:
            stack.callback(receiver.close)  # type: ignore[attr-defined]
            return receiver

        yield kept


def messages(count: int = 1, text: str = "5 bad probes in a row: timeout. Zürich") -> list[Message]:
    told = Incidents(0.0, lambda: AT_S)
    told.here = Here(server="server2", address="10.0.0.12:8080", instance="shop")
    facts = [
        Fact(cause=Cause.PEER_LOST, title="server1 does not answer", text=text, item=str(n), rule="F1", epoch=7)
        for n in range(count)
    ]
    return told.look(facts, frozenset(), 1.0, speaks=True)


def target(url: str) -> Target:
    snmp = url.startswith("snmp")
    return targets_of([] if snmp else [url], [url] if snmp else [])[0]


def deliver(url: str, sent: list[Message], limit_s: float = LIMIT_S) -> dict[str, str]:
    return Child(target(url), sent, limit_s).wait()


def test_a_webhook_gets_title_text_and_severity(keep: Any) -> None:
    hook, sent = keep(Webhook()), messages()
    sent.append(replace(sent[0], message_id="2", phase=Phase.RESOLVED, severity=Severity.INFO))
    assert deliver(hook.url, sent) == {sent[0].message_id: "", "2": ""}
    assert hook.titles == [f"[Hot Standby shop server2] {word}server1 does not answer" for word in ("", "Over: ")]
    assert [body["type"] for body in hook.got] == ["failure", "success"]
    body = hook.got[0]
    assert body["message"].startswith("5 bad probes in a row: timeout. Zürich\n")
    for line in ("Server: shop server2 10.0.0.12:8080", "Rule: F1", "Cause: peer_lost (raised)", "Severity: critical"):
        assert line in body["message"].splitlines()


def test_a_full_batch_of_the_longest_messages_gets_through(keep: Any) -> None:
    hook, sent = keep(Webhook()), messages(BATCH_MAX, text="\N{FIRE ENGINE}" * TEXT_CHARS_MAX)
    assert set(deliver(hook.url, sent).values()) == {""} and len(hook.got) == BATCH_MAX
    assert hook.got[-1]["message"].startswith("\N{FIRE ENGINE}" * TEXT_CHARS_MAX)


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_a_mail_arrives_with_its_subject_and_forged_marks_stay_text(keep: Any, kind: str) -> None:
    box, sent = keep(Mailbox()), messages(text="5 bad probes in a row: timeout. Zürich <script>&")
    assert deliver(box.url + ("&format=html" if kind == "html" else ""), sent) == {sent[0].message_id: ""}
    assert box.got[0]["Subject"] == "[Hot Standby shop server2] server1 does not answer"
    assert "night@example.org" in box.got[0]["To"]
    text = box.got[0].get_body((kind,)).get_content()
    if kind == "plain":
        assert text.startswith(sent[0].text) and "Rule: F1" in text.splitlines(), "one fact a line"
    else:
        assert "Zürich&nbsp;&lt;script&gt;&amp;<br/>" in text and "<script" not in text


@pytest.mark.parametrize("kind", ["trap", "inform"])
def test_an_snmp_receiver_decodes_the_notification(
    keep: Any, kind: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    host = "::1" if kind == "inform" else "127.0.0.1"
    receiver, sent = keep(TrapReceiver(host)), messages()
    where = f"[{host}]:{receiver.port}?inform=yes" if kind == "inform" else f"{host}:{receiver.port}"
    child = Child(target(f"snmp://my-community@{where}"), sent, 60)
    community, how, found = receiver.receive()
    assert child.wait() == {sent[0].message_id: ""}
    assert (community, how) == ("my-community", kind)
    assert found[0][0] == "1.3.6.1.2.1.1.3.0" and int(found[0][1]) > 0
    assert found[1] == ("1.3.6.1.6.3.1.1.4.1.0", f"{BASE}.0.{KINDS[Cause.PEER_LOST].number}")
    values = [value for _, value in found[2:]]
    assert [oid for oid, _ in found[2:]] == [f"{BASE}.1.{n}.0" for n in range(1, 12)]
    assert values[:5] == ["server2", "10.0.0.12:8080", "shop", 3, 2]
    assert not [path for path in tmp_path.rglob("*")], "pysnmp's own files have names that everybody can foresee"
    assert values[6:10] == [sent[0].headline, "5 bad probes in a row: timeout. Zürich", "F1", "7"]


def test_an_snmpv3_receiver_takes_the_inform_with_login_and_privacy(keep: Any) -> None:
    receiver, sent = keep(InformReceiver("trapper", "authauth1", "privpriv1")), messages()
    keys = "auth=sha256&auth_key=authauth1&priv=aes&priv_key=privpriv1"
    assert deliver(f"snmpv3://trapper@127.0.0.1:{receiver.port}?{keys}", sent) == {sent[0].message_id: ""}
    assert (f"{BASE}.1.7.0", sent[0].headline) in receiver.got[0]
    wrong = deliver(f"snmpv3://trapper@127.0.0.1:{receiver.port}?{keys.replace('authauth1', 'wrongkey1')}", sent)
    assert wrong[sent[0].message_id].startswith("no acknowledgement") and len(receiver.got) == 1


def test_a_text_longer_than_a_trap_takes_is_cut_between_two_characters() -> None:
    values = dict(variables(messages(text="ü" * 400)[0]))
    assert values[f"{BASE}.1.8.0"] == "ü" * 127


def test_a_target_that_hangs_is_given_up_at_its_limit_and_nobody_waits_for_it(keep: Any) -> None:
    silent, sent = keep(Silent()), messages(2)
    began_s = time.monotonic()
    hanging = Child(target(silent.url), sent, 1.0)
    assert hanging.results() is None, "to start and to look waits for nothing"
    assert set(hanging.wait().values()) == {"no answer within 1 s"}
    assert 1.0 <= time.monotonic() - began_s < 60.0
    assert hanging._process is not None and hanging._process.poll() is not None, "none is left behind"


def test_the_process_that_sends_ends_by_itself_when_nobody_is_left_to_end_it(keep: Any) -> None:
    silent, sent = keep(Silent()), messages()  # its timer comes 2 s after the limit
    job = {"kind": "apprise", "url": silent.url, "limit_s": -1.0, "messages": [sent[0].to_json()]}
    process = subprocess.Popen([sys.executable, "-m", "ftplugin.alerts", "send"], stdin=subprocess.PIPE, cwd=ROOT)
    process.communicate(json.dumps(job).encode(), timeout=60)
    assert process.returncode < 0, "by its own timer"


def test_neither_arguments_nor_environment_of_the_process_hold_a_secret(
    keep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, sent = keep(Silent()), messages()
    monkeypatch.setenv("FT_SECRET_KEYS", '["a-key-that-must-not-travel"]')
    child = Child(target(silent.url), sent, LIMIT_S)
    try:
        process = child._process
        assert process is not None
        folder = pathlib.Path(f"/proc/{process.pid}")
        wait_until(lambda: b"ftplugin.alerts" in (folder / "cmdline").read_bytes(), 30)
        seen = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        assert silent.url.encode() not in seen and b"must-not-travel" not in seen
    finally:
        child.stop()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("json://127.0.0.1:1/abc-secret", "onnection error"),
        ("nosuchscheme://abc-secret/def-secret", "Apprise does not take this URL"),
    ],
)
def test_what_fails_says_why_without_the_secret(url: str, problem: str) -> None:
    sent = messages()
    said = deliver(url, sent)[sent[0].message_id]
    assert problem in said and "abc-secret" not in said and "def-secret" not in said


def test_a_message_that_the_target_refuses_for_its_words_holds_up_no_other(keep: Any) -> None:
    hook, sent = keep(Webhook()), messages(3)
    hook.refused = f"Incident: {sent[0].incident_id}"
    first, *others = deliver(hook.url, sent).values()
    assert "400" in first and others == ["", ""] and len(hook.got) == 2


@pytest.mark.parametrize(("module", "url"), [("apprise", "json://127.0.0.1:1/"), ("pysnmp", "snmp://c@127.0.0.1:1")])
def test_a_missing_library_is_named_with_the_way_out(
    module: str, url: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{module}.py").write_text(f"raise ImportError('no {module} here')\n")
    shadow = tmp_path / "sitecustomize.py"
    shadow.write_text(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sent = messages()
    assert "pip install 'ftplugin[alerts]'" in deliver(url, sent)[sent[0].message_id]


def test_a_python_that_cannot_be_started_is_a_failed_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    sent = messages()
    said = deliver("json://127.0.0.1:1/", sent)[sent[0].message_id]
    assert said == "the process that sends could not be started: No such file or directory"


# --- the MIB ----------------------------------------------------------------------------------------------------------

MACROS = "SNMPv2-SMI MODULE-IDENTITY OBJECT-TYPE NOTIFICATION-TYPE", "SNMPv2-TC TEXTUAL-CONVENTION"
MACROS += ("SNMPv2-CONF OBJECT-GROUP NOTIFICATION-GROUP MODULE-COMPLIANCE",)
NODES = (
    ("org", "1 3"),
    ("dod", "org 6"),
    ("internet", "dod 1"),
    ("private", "internet 4"),
    ("enterprises", "private 1"),
)
STRING = """SNMP-FRAMEWORK-MIB DEFINITIONS ::= BEGIN IMPORTS TEXTUAL-CONVENTION FROM SNMPv2-TC;
SnmpAdminString ::= TEXTUAL-CONVENTION DISPLAY-HINT "255t" STATUS current DESCRIPTION "text"
SYNTAX OCTET STRING (SIZE (0..255)) END"""


def compiled_mib() -> dict[str, Any]:
    """The objects of the MIB as pysmi compiles them; the standard's modules are cut down to what it imports."""
    from pysmi.codegen.jsondoc import JsonCodeGen
    from pysmi.codegen.symtable import SymtableCodeGen
    from pysmi.parser.dialect import smi_v2
    from pysmi.parser.smi import parserFactory

    notation = 'MACRO ::= BEGIN TYPE NOTATION ::= "x" VALUE NOTATION ::= value(VALUE OBJECT IDENTIFIER) END'
    texts = []
    for line in MACROS:
        name, *macros = line.split()
        nodes = NODES if name == "SNMPv2-SMI" else ()
        rows = [f"{node} OBJECT IDENTIFIER ::= {{ {oid} }}" for node, oid in nodes]
        rows += [f"{macro} {notation}" for macro in macros]
        texts.append("\n".join([f"{name} DEFINITIONS ::= BEGIN", *rows, "END"]))
    parser, tables, tree = parserFactory(**smi_v2)(), {}, None
    for text in (*texts, STRING, MIB.read_text()):
        tree = parser.parse(text)[0]
        info, table = SymtableCodeGen().gen_code(tree, tables)
        tables[info.name] = table
    return dict(json.loads(JsonCodeGen().gen_code(tree, tables)[1]))


def test_the_mib_names_what_is_sent_and_nothing_else() -> None:
    found = compiled_mib()
    told = {row["oid"]: name for name, row in found.items() if row.get("class") == "notificationtype"}
    wanted = {f"{BASE}.0.{kind.number}": "ft" + cause.title().replace("_", "") for cause, kind in KINDS.items()}
    assert told == wanted
    objects = {row["oid"]: name for name, row in found.items() if row.get("class") == "objecttype"}
    sent = [oid.removesuffix(".0") for oid, _ in variables(messages()[0])]
    assert list(objects) and sorted(objects) == sorted(sent)
    for name in told.values():
        assert [row["object"] for row in found[name]["objects"]] == [objects[oid] for oid in sent], name
    for name, words in (("ftSeverity", SEVERITIES), ("ftPhase", PHASES)):
        numbers = re.search(rf"{name} OBJECT-TYPE\s+SYNTAX\s+INTEGER {{ ([^}}]+) }}", MIB.read_text())
        assert numbers is not None
        assert numbers[1] == ", ".join(f"{word}({number})" for word, number in words.items())
