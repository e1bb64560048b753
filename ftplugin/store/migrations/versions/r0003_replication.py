"""What lost against the other server's edit, and what a node knows of the rows and files that it replicates."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = {
    "ft_conflict": (
        sa.Column("conflict_id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(120), nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("found_wall_s", sa.Float(53), nullable=False),
        sa.Column("kept_on", sa.String(20), nullable=False),
        sa.Column("lost", sa.JSON, nullable=False),
        sa.Column("won", sa.JSON, nullable=False),
        sa.Column("told", sa.Boolean, nullable=False),
        sa.Column("acknowledged_wall_s", sa.Float(53)),
        sa.Column("acknowledged_by", sa.String(200), nullable=False),
    ),
    "ft_ledger": (
        sa.Column("thing", sa.String(120), primary_key=True),
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.Column("entries", sa.LargeBinary(2**24), nullable=False),
    ),
}
MARIADB: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    """Make what is missing."""
    look = sa.inspect(op.get_bind())
    for name, columns in TABLES.items():
        if not look.has_table(name):
            op.create_table(name, *columns, **MARIADB)
    look.clear_cache()
    index = "ix_ft_conflict_found_wall_s"
    if index not in {found["name"] for found in look.get_indexes("ft_conflict")}:
        op.create_index(index, "ft_conflict", ["found_wall_s"])
