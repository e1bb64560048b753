"""MariaDB only. A FLOAT there has seven digits, so that a time was wrong by up to a minute: DOUBLE. Names are compared as
they are, upper and lower case apart, as the other databases do; and every character can be kept, whatever the server's
character set is."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIMES = {  # all but one are NOT NULL
    "ft_settings": ("saved_wall_s",),
    "ft_settings_both": ("since_wall_s",),
    "ft_switch": ("started_wall_s", "ended_wall_s"),
    "ft_switch_step": ("duration_s",),
    "ft_node": ("lease_deadline_s",),
    "ft_standing": (),
    "ft_event": ("at_wall_s",),
}


def upgrade() -> None:
    """Each change may be made twice without harm."""
    if op.get_bind().dialect.name not in ("mysql", "mariadb"):
        return
    for key in sa.inspect(op.get_bind()).get_foreign_keys(
        "ft_switch_step"
    ):  # neither of its ends can change while it is
        op.drop_constraint(str(key["name"]), "ft_switch_step", type_="foreignkey")
    for name, columns in TIMES.items():
        op.execute(f"ALTER TABLE {name} ENGINE=InnoDB, CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        for column in columns:
            op.alter_column(name, column, type_=sa.Float(53), nullable=column == "ended_wall_s")
    op.create_foreign_key("ft_switch_step_ibfk_1", "ft_switch_step", "ft_switch", ["switch_id"], ["switch_id"])
