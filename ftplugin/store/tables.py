"""Tables of what must last: settings, switch journal, node facts, events (design 3).

Times named ``_wall`` are seconds since 1970 and are shown, never decided on (I-H), except the flap window (spec 5.6).
SQLAlchemy Core: the ORM would cost each worker and the portal 6 MiB, for five tables.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text

METADATA = MetaData()  # own: the portal's models are not touched

# One saved set of settings a row; the highest revision is the current one.
SETTINGS = Table(
    "ft_settings",
    METADATA,
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("saved_wall_s", Float, nullable=False),
    Column("origin", String(100), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("override_reason", Text, nullable=False, default=""),
    Column("acknowledged", Boolean, nullable=False, default=False),
    Column("values", JSON, nullable=False),
)

# Since when both servers have a revision, and the other server of the two. A table of its own, so that the one above stays
# as older versions know it.
SETTINGS_BOTH = Table(
    "ft_settings_both",
    METADATA,
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("since_wall_s", Float, nullable=False),
    Column("server", String(20), nullable=False),
)

# One change of role a row, recorded before it acts (I-G).
SWITCH = Table(
    "ft_switch",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("switch_id", String(64), nullable=False, unique=True),
    Column("kind", String(20), nullable=False),
    Column("rule", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("started_wall_s", Float, nullable=False, index=True),
    Column("ended_wall_s", Float),
    Column("outcome", String(20), nullable=False, default=""),
    Column("role_after", String(20), nullable=False, default=""),
    Column("detail", Text, nullable=False, default=""),
)

# Result and duration of one step of a switch.
STEP = Table(
    "ft_switch_step",
    METADATA,
    Column("switch_id", String(64), ForeignKey("ft_switch.switch_id"), primary_key=True),
    Column("step_index", Integer, primary_key=True, autoincrement=False),
    Column("step", String(100), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("duration_s", Float, nullable=False),
    Column("detail", Text, nullable=False),
)

# One row: what this node must know after a crash. ``epoch`` is the highest durable one.
NODE = Table(
    "ft_node",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False, default=0),
    Column("role", String(20), nullable=False, default="undecided"),
    Column("role_epoch", BigInteger, nullable=False, default=0),
    Column("boot_id", String(64), nullable=False, default=""),
    Column("lease_epoch", BigInteger, nullable=False, default=0),
    Column("lease_deadline_s", Float, nullable=False, default=0.0),
    Column("manual_hold", Boolean, nullable=False, default=False),
)

# A pause or a drain of this node, until it is ended or its time is over; apart from the settings (spec 5.6).
# Also what the other server is to be told of such an order (names "tell-…", ``ftplugin.switching.telling``).
STANDING = Table(
    "ft_standing",
    METADATA,
    Column("name", String(20), primary_key=True),
    Column("document", JSON, nullable=False),
)

# A countable event: a refused message, a lost lease, a settings conflict.
EVENT = Table(
    "ft_event",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at_wall_s", Float, nullable=False, index=True),
    Column("name", String(100), nullable=False, index=True),
    Column("facts", JSON, nullable=False),
)
