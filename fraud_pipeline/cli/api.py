"""The REST API: the server and the keys of its clients."""

import logging.config
import os
import tempfile
from collections.abc import Sequence
from datetime import timedelta

from rich.table import Table

from fraud_pipeline.adapters.clock import utc_now
from fraud_pipeline.adapters.database import api_repository
from fraud_pipeline.adapters.database.api_repository import ApiKey
from fraud_pipeline.adapters.processes import require_free_port
from fraud_pipeline.cli.console import console
from fraud_pipeline.connections import API_ROLE, open_database
from fraud_pipeline.settings import Settings


def serve(settings: Settings) -> None:
    """Serve the REST API until it is stopped.

    Raises
    ------
    ConfigurationError
        The address is not a loopback one and there is no key, or the port is taken.
    DatabaseError
        The database cannot be used.
    """
    import uvicorn

    from fraud_pipeline.api.logs import LOG_CONFIG
    from fraud_pipeline.api.security import RateLimit, require_key

    # What would only show in the logs of the server is tried here.
    RateLimit(settings.api_rate_limit)
    require_free_port(settings.api_port, "FRAUD_PIPELINE_API_PORT")
    database = open_database(settings, API_ROLE)
    require_key(settings.api_host, database)
    database.dispose()
    logging.config.dictConfig(LOG_CONFIG)
    with tempfile.TemporaryDirectory(prefix="fraud_pipeline-api-") as folder:
        if settings.api_workers > 1:
            # prometheus_client takes it from nowhere else, and the worker processes inherit it.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # noqa: TID251
        uvicorn.run(
            "fraud_pipeline.api.app:create_app_from_environment",
            factory=True,
            host=settings.api_host,
            port=settings.api_port,
            workers=settings.api_workers,
            log_config=LOG_CONFIG,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=10,
        )


def create_key(settings: Settings, name: str, scopes: Sequence[str], days: int | None) -> None:
    """Make a key and print it, this one time.

    Raises
    ------
    ConfigurationError
        The name or a scope cannot be used.
    """
    expires_at = None if days is None else utc_now() + timedelta(days=days)
    database = open_database(settings, role=None)
    key, stored = api_repository.create_key(database, name, scopes, expires_at)
    database.dispose()
    console.print(key)
    console.print(
        f"Key {stored.key_id} of {stored.name} may {', '.join(stored.scopes)} and {_until(stored)}. It is shown this "
        "once: only its digest is stored. Clients send it as `Authorization: Bearer KEY`."
    )


def list_keys(settings: Settings) -> None:
    """Print all keys, without the secrets, which nobody has but their holders."""
    database = open_database(settings, role=None)
    keys = api_repository.list_keys(database)
    database.dispose()
    if not keys:
        console.print("There are no keys; next: fraud-pipeline api-key create NAME --scope alerts:read")
        return
    table = Table(title_justify="left")
    for heading in ("Key", "Name", "Scopes", "Made (UTC)", "State"):
        table.add_column(heading)
    for key in keys:
        table.add_row(key.key_id, key.name, ", ".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}", _state(key))
    console.print(table, soft_wrap=False)


def revoke_key(settings: Settings, key_id: str) -> None:
    """Revoke a key.

    Raises
    ------
    NotFoundError
        There is no such key.
    """
    database = open_database(settings, role=None)
    key = api_repository.revoke_key(database, key_id)
    database.dispose()
    console.print(f"Key {key.key_id} of {key.name} is revoked; servers refuse it within 5 seconds.")


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"
    return _until(key) if key.is_in_force(utc_now()) else f"expired {key.expires_at:%Y-%m-%d %H:%M}"


def _until(key: ApiKey) -> str:
    return "does not expire" if key.expires_at is None else f"expires {key.expires_at:%Y-%m-%d %H:%M}"
