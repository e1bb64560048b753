"""What Alembic runs: the revisions, on the connection and in the transaction of ``run.upgrade``."""

from alembic import context

from ftplugin.store.migrations import VERSION_TABLE
from ftplugin.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
