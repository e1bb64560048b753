"""Tables of what must last: settings, switch journal, node facts, events (design 3).

Times named ``_wall`` are seconds since 1970 and are shown, never decided on (I-H), except the flap window (spec 5.6).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKey, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Own metadata: the portal's models are not touched."""


class SettingsRevision(Base):
    """One saved set of settings; the highest revision is the current one."""

    __tablename__ = "ft_settings"
    revision: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    saved_wall_s: Mapped[float] = mapped_column(Float)
    origin: Mapped[str] = mapped_column(String(100))
    actor: Mapped[str] = mapped_column(String(200))
    override_reason: Mapped[str] = mapped_column(Text, default="")
    acknowledged: Mapped[bool] = mapped_column(Boolean, default=False)
    values: Mapped[dict[str, Any]] = mapped_column(JSON)


class Switch(Base):
    """One change of role, recorded before it acts (I-G)."""

    __tablename__ = "ft_switch"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    switch_id: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(20))
    rule: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text)
    epoch: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(200))
    started_wall_s: Mapped[float] = mapped_column(Float, index=True)
    ended_wall_s: Mapped[float | None] = mapped_column(Float)
    outcome: Mapped[str] = mapped_column(String(20), default="")
    role_after: Mapped[str] = mapped_column(String(20), default="")
    detail: Mapped[str] = mapped_column(Text, default="")
    steps: Mapped[list[SwitchStep]] = relationship(
        back_populates="switch", order_by="SwitchStep.step_index", cascade="all, delete-orphan", lazy="selectin"
    )


class SwitchStep(Base):
    """Result and duration of one step of a switch."""

    __tablename__ = "ft_switch_step"
    switch_id: Mapped[str] = mapped_column(ForeignKey("ft_switch.switch_id"), primary_key=True)
    step_index: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    step: Mapped[str] = mapped_column(String(100))
    outcome: Mapped[str] = mapped_column(String(20))
    duration_s: Mapped[float] = mapped_column(Float)
    detail: Mapped[str] = mapped_column(Text)
    switch: Mapped[Switch] = relationship(back_populates="steps")


class NodeFacts(Base):
    """One row: what this node must know after a crash. ``epoch`` is the highest durable one."""

    __tablename__ = "ft_node"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    role: Mapped[str] = mapped_column(String(20), default="undecided")
    role_epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    boot_id: Mapped[str] = mapped_column(String(64), default="")
    lease_epoch: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_deadline_s: Mapped[float] = mapped_column(Float, default=0.0)
    manual_hold: Mapped[bool] = mapped_column(Boolean, default=False)


class Event(Base):
    """A countable event: a refused message, a lost lease, a settings conflict."""

    __tablename__ = "ft_event"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at_wall_s: Mapped[float] = mapped_column(Float, index=True)
    name: Mapped[str] = mapped_column(String(100), index=True)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
