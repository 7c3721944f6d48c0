"""History of the schema, for Alembic."""
