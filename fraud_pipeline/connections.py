"""Opens what the settings name: the alert database and the model store."""

from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.sessions import Patience
from fraud_pipeline.adapters.database.workflow_repository import keep_time_zone
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.adapters.logs import json_logger
from fraud_pipeline.adapters.model_registry import ModelRegistry
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.adapters.notifier import EmailNotifier, LogNotifier, Notifier, Notifiers, WebhookNotifier
from fraud_pipeline.settings import Settings

EMBEDDED_DATABASE = "fraud_pipeline"
PIPELINE_ROLE = "fraud_pipeline"
API_ROLE = "fraud_api"


def open_database(
    settings: Settings, role: str | None = PIPELINE_ROLE, pool_size: int = 2, patience: Patience | None = None
) -> Database:
    """Open the alert database with the rights of a role, checked to have the schema of this code.

    The embedded server is started and migrated when it is not yet; a server of
    the user's own is never migrated unasked.

    Parameters
    ----------
    settings : Settings
    role : str or None
        ``fraud_pipeline``, ``fraud_api`` or ``fraud_analyst``; None for all rights of the login.
    pool_size : int
        Connections that stay open.
    patience : Patience, optional
        How long its statements may take; as long as it takes by default.

    Raises
    ------
    DatabaseError
        If it cannot be reached, its schema is another one, or the login may not act as the role.
    """
    waits = Patience(settings.database_connect_timeout_seconds)
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        owner = Database(url, patience=waits)
        owner.require_current_schema()
    else:
        server = EmbeddedPostgres(settings.postgres_folder)
        server.start()
        url = server.url(EMBEDDED_DATABASE)
        owner = Database(url, patience=waits)
        upgrade_database(owner, settings)
    if role is None:
        return owner
    owner.dispose()
    return Database(url, role, pool_size, patience or waits)


def request_patience(settings: Settings) -> Patience:
    """How long a request may keep its client waiting for the database."""
    return Patience(
        settings.database_connect_timeout_seconds,
        settings.api_statement_timeout_seconds,
        settings.api_lock_timeout_seconds,
    )


def upgrade_database(owner: Database, settings: Settings) -> None:
    """Bring a database to the schema of this code, and tell it in which zone days begin.

    Raises
    ------
    DatabaseError
        It cannot be reached, belongs to a newer version, or the login may not change it.
    """
    owner.upgrade()
    keep_time_zone(owner, settings.time_zone)


def open_landing_zone(settings: Settings) -> LandingZone:
    """Open the landing zone; it connects on first use."""
    key = settings.tokenisation_key
    return LandingZone(settings.landing, None if key is None else key.get_secret_value())


def open_model_store(settings: Settings) -> ModelStore:
    """Open the model store; it connects on first use."""
    return ModelStore(ModelRegistry(settings.tracking_uri, settings.artefacts))


def open_notifier(settings: Settings) -> Notifiers:
    """Give every way to tell people: always the log, and what is set of webhook and e-mail.

    Raises
    ------
    ConfigurationError
        If an address cannot be used.
    """
    ways: list[Notifier] = [LogNotifier()]
    if settings.notify_webhook_url is not None:
        ways.append(WebhookNotifier(settings.notify_webhook_url.get_secret_value()))
    if settings.smtp_url is not None:
        ways.append(open_mail(settings.smtp_url.get_secret_value(), settings))
    return Notifiers(ways, settings.secrets)


def open_logs(settings: Settings) -> None:
    """Let the loggers of the pipeline write as the settings say; as Python does by default unless that is JSON."""
    if settings.log_format == "json":
        json_logger("fraud_pipeline", "INFO", settings.secrets)


def open_mail(url: str, settings: Settings) -> EmailNotifier:
    """Give the e-mail notifier of an SMTP address; it connects when it sends."""
    recipients = [each.strip() for each in settings.notify_email_to.split(",") if each.strip()]
    return EmailNotifier(url, settings.notify_email_from, recipients)
