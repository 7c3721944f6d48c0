"""Opens what the settings name: the alert database and the model store."""

from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.model_registry import ModelRegistry
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.settings import Settings

EMBEDDED_DATABASE = "fraud_pipeline"


def open_database(settings: Settings) -> Database:
    """Open the alert database, checked to have the schema of this code.

    The embedded server is started and migrated when it is not yet; a server of
    the user's own is never migrated unasked.

    Raises
    ------
    DatabaseError
        If it cannot be reached or its schema is another one.
    """
    if settings.database_url is not None:
        database = Database(settings.database_url.get_secret_value())
        database.require_current_schema()
        return database
    server = EmbeddedPostgres(settings.postgres_folder)
    server.start()
    database = Database(server.url(EMBEDDED_DATABASE))
    database.upgrade()
    return database


def open_model_store(settings: Settings) -> ModelStore:
    """Open the model store; it connects on first use."""
    return ModelStore(ModelRegistry(settings.tracking_uri, settings.artefacts))
