"""Tables of what must last: settings, switch journal, node facts, events (design 3).

Times named ``_wall`` are seconds since 1970 and are shown, never decided on (I-H), except the flap window (spec 5.6).
SQLAlchemy Core: the ORM would cost each worker and the portal 6 MiB, for five tables.
"""

from __future__ import annotations

import re

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

TEXT_CHARS_MAX = 16_000  # MariaDB takes 65,535 bytes, up to four for a character
_REFUSED = re.compile("[\x00\ud800-\udfff]")  # no database takes half a character, PostgreSQL no zero


class Words(TypeDecorator[str]):
    """Text as every database takes it. SQLite keeps what is too long, the others refuse the whole row: a journal must not
    fail for the length of a reason."""

    impl = String
    cache_ok = True

    def __init__(self, chars_max: int) -> None:
        super().__init__(chars_max)
        self.chars_max = chars_max

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else _REFUSED.sub("\ufffd", value[: self.chars_max])


class Prose(Words):
    """As Words, of any length up to TEXT_CHARS_MAX."""

    impl = Text
    cache_ok = True

    def __init__(self) -> None:
        TypeDecorator.__init__(self)  # a TEXT with a length would be another type
        self.chars_max = TEXT_CHARS_MAX


Real = Float(53)  # plain FLOAT has seven digits on MariaDB
METADATA = MetaData()  # own: the portal's models are not touched

# One saved set of settings a row; the highest revision is the current one.
SETTINGS = Table(
    "ft_settings",
    METADATA,
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("saved_wall_s", Real, nullable=False),
    Column("origin", Words(100), nullable=False),
    Column("actor", Words(200), nullable=False),
    Column("override_reason", Prose(), nullable=False, default=""),
    Column("acknowledged", Boolean, nullable=False, default=False),
    Column("values", JSON, nullable=False),
)

# Since when both servers have a revision, and the other server of the two. A table of its own, so that the one above stays
# as older versions know it.
SETTINGS_BOTH = Table(
    "ft_settings_both",
    METADATA,
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("since_wall_s", Real, nullable=False),
    Column("server", Words(20), nullable=False),
)

# One change of role a row, recorded before it acts (I-G).
SWITCH = Table(
    "ft_switch",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("switch_id", Words(64), nullable=False, unique=True),
    Column("kind", Words(20), nullable=False),
    Column("rule", Words(20), nullable=False),
    Column("reason", Prose(), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("actor", Words(200), nullable=False),
    Column("started_wall_s", Real, nullable=False, index=True),
    Column("ended_wall_s", Real),
    Column("outcome", Words(20), nullable=False, default=""),
    Column("role_after", Words(20), nullable=False, default=""),
    Column("detail", Prose(), nullable=False, default=""),
)

# Result and duration of one step of a switch.
STEP = Table(
    "ft_switch_step",
    METADATA,
    Column("switch_id", Words(64), ForeignKey("ft_switch.switch_id"), primary_key=True),
    Column("step_index", Integer, primary_key=True, autoincrement=False),
    Column("step", Words(100), nullable=False),
    Column("outcome", Words(20), nullable=False),
    Column("duration_s", Real, nullable=False),
    Column("detail", Prose(), nullable=False),
)

# One row: what this node must know after a crash. ``epoch`` is the highest durable one.
NODE = Table(
    "ft_node",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False, default=0),
    Column("role", Words(20), nullable=False, default="undecided"),
    Column("role_epoch", BigInteger, nullable=False, default=0),
    Column("boot_id", Words(64), nullable=False, default=""),
    Column("lease_epoch", BigInteger, nullable=False, default=0),
    Column("lease_deadline_s", Real, nullable=False, default=0.0),
    Column("manual_hold", Boolean, nullable=False, default=False),
)

# A pause or a drain of this node, until it is ended or its time is over; apart from the settings (spec 5.6).
# Also what the other server is to be told of such an order (names "tell-…", ``ftplugin.switching.telling``), and which
# instance this database belongs to (``ftplugin.store.instance``).
INSTANCE = "instance"
STANDING = Table(
    "ft_standing",
    METADATA,
    Column("name", Words(20), primary_key=True),
    Column("document", JSON, nullable=False),
)

# A countable event: a refused message, a lost lease, a settings conflict.
EVENT = Table(
    "ft_event",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at_wall_s", Real, nullable=False, index=True),
    Column("name", Words(100), nullable=False, index=True),
    Column("facts", JSON, nullable=False),
)

# Two edits made apart, of which one lost: settings, a row or a file. Kept and shown on both servers until acknowledged.
# ``told``: the other server knows this state of it. ``lost``, ``won``: facts; of a row also its values.
CONFLICT = Table(
    "ft_conflict",
    METADATA,
    Column("conflict_id", Words(64), primary_key=True),
    Column("subject", Words(120), nullable=False),
    Column("item", Prose(), nullable=False),
    Column("found_wall_s", Real, nullable=False, index=True),
    Column("kept_on", Words(20), nullable=False),
    Column("lost", JSON, nullable=False),
    Column("won", JSON, nullable=False),
    Column("told", Boolean, nullable=False, default=False),
    Column("acknowledged_wall_s", Real),
    Column("acknowledged_by", Words(200), nullable=False, default=""),
)

# What this node knows of the rows of a model or the files of a folder, many in one row (``ftplugin.replicate.ledger``).
LEDGER = Table(
    "ft_ledger",
    METADATA,
    Column("thing", Words(120), primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("digest", Words(32), nullable=False),
    Column("entries", LargeBinary(2**24), nullable=False),
)
