"""Run the migrations on the connection that ``engine.migration_config`` hands over."""

from alembic import context

from fraud_pipeline.adapters.database.engine import SCHEMA_VERSION_TABLE
from fraud_pipeline.adapters.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=SCHEMA_VERSION_TABLE,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
