"""The words of the field (spec 1), as enumerations. Values are what is stored, sent and shown."""

from __future__ import annotations

from enum import StrEnum


class Designation(StrEnum):
    """Fixed name of a server; server1 is the preferred one (spec 1)."""

    SERVER1 = "server1"
    SERVER2 = "server2"

    @property
    def other(self) -> Designation:
        return Designation.SERVER2 if self is Designation.SERVER1 else Designation.SERVER1


class Role(StrEnum):
    """What a node is now. ``undecided`` is a node that has just started; its monitor says STANDBY."""

    ACTIVE = "active"
    STANDBY = "standby"
    UNDECIDED = "undecided"


class Phase(StrEnum):
    """How far the role is carried out: an active node is starting or ready, a standby one stopping or ready."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class Tri(StrEnum):
    """Yes, no, or could not tell. No rule treats UNKNOWN as either (spec 5)."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, value: bool | None) -> Tri:
        return cls.UNKNOWN if value is None else cls.YES if value else cls.NO


class ProbeCause(StrEnum):
    """Why a probe was bad, or ``ok`` (spec 5, "Probe")."""

    OK = "ok"
    TIMEOUT = "timeout"
    CONNECT = "connection error"
    STATUS = "wrong status"
    REDIRECT = "redirect"
    TOO_LARGE = "answer too large"
    NO_STATE = "node state missing"
    UNSIGNED = "node state not signed by the peer"
    UNREADABLE = "node state unreadable"
    AGENT_STALE = "agent has not ticked"
    BODY = "application error"


class VipDestination(StrEnum):
    """Who answered at the VIP (spec 5.3). ``unreachable`` means nobody did."""

    SELF = "self"
    PEER = "peer"
    BOTH = "both"
    NOBODY = "nobody"
    UNKNOWN = "unknown"


class SplitStance(StrEnum):
    """What an active node that hears another active one says it will do (rule X1)."""

    NONE = ""
    STAY = "stay"
    YIELD = "yield"


class BalancerKind(StrEnum):
    EXTERNAL = "external"
    WINDOWS_NLB = "nlb"
    FLOATING = "floating"
    NONE = "none"


class ServiceState(StrEnum):
    """What a controller says of a service. ``standby`` is running but owning nothing (spec 5.5)."""

    ACTIVE = "active"
    STARTING = "starting"
    STANDBY = "standby"
    STOPPING = "stopping"
    DEAD = "dead"
    UNKNOWN = "unknown"
