"""Input and output: files, object store, database, model registry. No Dagster."""
