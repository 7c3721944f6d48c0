"""Run the migrations on the connection that ``engine.migration_config`` hands over."""

from alembic import context

# Each module adds its tables to the metadata.
from fraud_pipeline.adapters.database import alert_tables, api_tables, tables  # noqa: F401 - imported for its tables
from fraud_pipeline.adapters.database.columns import metadata
from fraud_pipeline.adapters.database.engine import SCHEMA_VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=SCHEMA_VERSION_TABLE,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
