"""The tables as version 0.x made them without revisions. Those that are there stay as they are."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SWITCH = (
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("switch_id", sa.String(64), nullable=False, unique=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("rule", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("started_wall_s", sa.Float, nullable=False),
    sa.Column("ended_wall_s", sa.Float),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("role_after", sa.String(20), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)
TABLES = {
    "ft_settings": (
        sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("saved_wall_s", sa.Float, nullable=False),
        sa.Column("origin", sa.String(100), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("override_reason", sa.Text, nullable=False),
        sa.Column("acknowledged", sa.Boolean, nullable=False),
        sa.Column("values", sa.JSON, nullable=False),
    ),
    "ft_settings_both": (
        sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("since_wall_s", sa.Float, nullable=False),
        sa.Column("server", sa.String(20), nullable=False),
    ),
    "ft_switch": SWITCH,
    "ft_switch_step": (
        sa.Column("switch_id", sa.String(64), sa.ForeignKey("ft_switch.switch_id"), primary_key=True),
        sa.Column("step_index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("step", sa.String(100), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    ),
    "ft_node": (
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("role_epoch", sa.BigInteger, nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("lease_epoch", sa.BigInteger, nullable=False),
        sa.Column("lease_deadline_s", sa.Float, nullable=False),
        sa.Column("manual_hold", sa.Boolean, nullable=False),
    ),
    "ft_standing": (
        sa.Column("name", sa.String(20), primary_key=True),
        sa.Column("document", sa.JSON, nullable=False),
    ),
    "ft_event": (
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at_wall_s", sa.Float, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
    ),
}
INDEXES = (("ft_switch", "started_wall_s"), ("ft_event", "at_wall_s"), ("ft_event", "name"))


def upgrade() -> None:
    """Make what is missing."""
    look = sa.inspect(op.get_bind())
    for name, columns in TABLES.items():
        if not look.has_table(name):
            op.create_table(name, *columns)
    look.clear_cache()
    for name, column in INDEXES:
        if f"ix_{name}_{column}" not in {index["name"] for index in look.get_indexes(name)}:
            op.create_index(f"ix_{name}_{column}", name, [column])
