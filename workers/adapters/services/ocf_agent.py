"""An OCF resource agent as a program: where it is, what its meta-data says, its environment (OCF 1.1).

The meta-data is the agent's own XML; it is read by defusedxml, since an agent may come from anywhere.
"""

from __future__ import annotations

import os
import pathlib
import re
from dataclasses import dataclass
from typing import Any, Mapping

from .running import clean_environ, run

OCF_ROOT = "/usr/lib/ocf"
META_LIMIT_S = 5.0  # what agents themselves allow for it
DOCUMENT_BYTES = 1_000_000
SYSTEM_PATH = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")  # agents call ip, ss, … by name
TRUE, FALSE = ("yes", "true", "1", "ja", "on"), ("no", "false", "0", "nein", "off")  # ocf_is_true; else false there
NEEDED = ("start", "stop", "monitor")
_AGENT = re.compile(r"ocf:([A-Za-z0-9_][A-Za-z0-9_.-]*):([A-Za-z0-9_][A-Za-z0-9_.-]*)", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """What the meta-data says of one parameter. ``kind``: string, integer, boolean, select or another word of its own."""

    name: str
    kind: str
    required: bool
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MetaData:
    """What this product uses of an agent's meta-data."""

    parameters: Mapping[str, Parameter]
    actions: frozenset[str]
    depths: frozenset[int]

    @property
    def promotable(self) -> bool:
        return {"promote", "demote"} <= self.actions


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """One agent on this server."""

    provider: str
    type: str
    root: str

    @property
    def path(self) -> str:
        return f"{self.root}/resource.d/{self.provider}/{self.type}"

    def environ(self, instance: str) -> dict[str, str]:
        """What every action gets; ``instance`` names the resource on this server."""
        found = clean_environ()
        mine = [word for word in found if word.startswith("OCF_")]  # of whoever started this process
        for word in mine:
            del found[word]
        path = [word for word in found.get("PATH", "").split(":") if word]
        found["PATH"] = ":".join([*path, *(word for word in SYSTEM_PATH if word not in path)])
        return found | {
            "OCF_ROOT": self.root,
            "OCF_RA_VERSION_MAJOR": "1",
            "OCF_RA_VERSION_MINOR": "1",
            "OCF_RESOURCE_PROVIDER": self.provider,
            "OCF_RESOURCE_TYPE": self.type,
            "OCF_RESOURCE_INSTANCE": instance,
            "OCF_OUTPUT_FORMAT": "text",
            "OCF_CHECK_LEVEL": "0",
        }


def find(name: Any, root: Any) -> Agent:
    """The agent called ``name``, as ocf:heartbeat:IPaddr2. Raises ValueError naming the field."""
    match = _AGENT.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(f"agent: must be ocf:PROVIDER:TYPE, as ocf:heartbeat:IPaddr2 (got {name!r})")
    if not isinstance(root, str) or not root.startswith("/") or "\0" in root:
        raise ValueError(f"ocf_root: must be the absolute path of the folder that has resource.d (got {root!r})")
    return Agent(provider=match[1], type=match[2], root=root.rstrip("/"))


def read(agent: Agent, instance: str) -> MetaData:
    """Ask the agent for its meta-data. Raises ValueError naming the field."""
    path = pathlib.Path(agent.path)
    if not path.is_file():
        there = _listed(path.parent)
        way = f"it offers {there}" if there else "install the package that has it, as resource-agents"
        raise ValueError(f"agent: there is no {agent.path}: {way}")
    if not os.access(path, os.X_OK):
        raise ValueError(f"agent: {agent.path} may not be run by this user: see its owner and mode")
    ended = run((agent.path, "meta-data"), agent.environ(instance), META_LIMIT_S, DOCUMENT_BYTES)
    if ended.code != 0:
        how = f"ended with {ended.code}" if ended.code is not None else ended.output
        raise ValueError(f"agent: {agent.path} meta-data {how}: run it by hand with OCF_ROOT={agent.root}")
    return parse(agent, ended.output)


def _listed(folder: pathlib.Path) -> str:
    try:
        names = sorted(word.name for word in folder.iterdir() if word.is_file())
    except OSError:
        return ""
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "")


def parse(agent: Agent, text: str) -> MetaData:
    """The meta-data in ``text``. Raises ValueError naming the field."""
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import ParseError, fromstring
    except ImportError:
        raise ValueError("kind: OCF agents need the package defusedxml: install it (pip install defusedxml)") from None
    bad = f"agent: the meta-data of {agent.path} is no OCF document"
    try:
        root = fromstring(text.strip())
    except ParseError as error:
        raise ValueError(f"{bad}: {error}: another version of the agent may be whole") from None
    except DefusedXmlException as error:
        raise ValueError(f"{bad}: it declares entities, which no agent needs ({error})") from None
    if root.tag != "resource-agent":
        raise ValueError(f"{bad}: it begins with <{root.tag}>, not <resource-agent>")
    actions = frozenset(str(element.get("name")) for element in root.iter("action"))
    if missing := [word for word in NEEDED if word not in actions]:
        raise ValueError(f"{bad}: it has no action {', '.join(missing)}")
    monitors = [element for element in root.iter("action") if element.get("name") == "monitor"]
    depths = {element.get("depth") or element.get("OCF_CHECK_LEVEL") or "0" for element in monitors}
    parameters = [_parameter(element) for element in root.iter("parameter") if element.get("name")]
    return MetaData(
        parameters={parameter.name: parameter for parameter in parameters},
        actions=actions,
        depths=frozenset(int(depth) for depth in depths if depth.isdecimal()) | {0},
    )


def _parameter(element: Any) -> Parameter:
    content = element.find("content")
    kind = "string" if content is None else str(content.get("type") or "string")
    options = [] if content is None else [str(option.get("value")) for option in content.iter("option")]
    required = str(element.get("required", "0")).lower() in TRUE
    return Parameter(name=str(element.get("name")), kind=kind, required=required, options=tuple(options))


def settings_of(params: Any) -> dict[str, str]:
    """``params`` of a table as the texts that an agent gets. Raises ValueError naming the field."""
    if not isinstance(params, Mapping):
        raise ValueError(f'params: must be a table, as {{ip = "10.0.0.9"}} (got {params!r})')
    texts: dict[str, str] = {}
    for name, value in params.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", name, re.ASCII):
            raise ValueError(f"params: {name!r} is no parameter's name")
        if not isinstance(value, (str, int, float)) or "\0" in str(value):
            raise ValueError(f"params.{name}: must be a text, a number, true or false (got {value!r})")
        texts[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return texts


def check(agent: Agent, meta: MetaData, texts: Mapping[str, str], check_level: Any) -> dict[str, str]:
    """Hold a table against the agent's own meta-data; ``texts`` as the agent reads them. Raises ValueError naming the field."""
    read_as = dict(texts)
    for name, text in texts.items():
        parameter = meta.parameters.get(name)
        if parameter is None:
            known = ", ".join(meta.parameters) or "none"
            raise ValueError(f"params.{name}: is no parameter of {agent.type}; they are {known} (got {text!r})")
        if problem := _problem(parameter, text):
            raise ValueError(f"params.{name}: {problem} (got {text!r})")
        if parameter.kind in ("integer", "boolean"):
            read_as[name] = text.strip().lower()  # to an agent "Yes" is false
    for parameter in meta.parameters.values():
        if parameter.required and not texts.get(parameter.name):
            raise ValueError(f"params.{parameter.name}: is missing; {agent.type} requires it")
    if check_level not in meta.depths:
        levels = ", ".join(map(str, sorted(meta.depths)))
        raise ValueError(f"check_level: {agent.type} has monitors of depth {levels} (got {check_level!r})")
    return read_as


def _problem(parameter: Parameter, text: str) -> str:
    if parameter.kind == "integer" and not _INTEGER.fullmatch(text.strip()):
        return "must be a whole number"
    if parameter.kind == "boolean" and text.strip().lower() not in TRUE + FALSE:
        return "must be true or false"
    if parameter.kind == "select" and parameter.options and text not in parameter.options:
        return f"must be one of {', '.join(parameter.options)}"
    return ""
