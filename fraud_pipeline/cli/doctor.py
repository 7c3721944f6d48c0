"""Examine everything that the pipeline stands on, and say how to mend it."""

import json
import smtplib
import socket
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

from fraud_pipeline.adapters import health
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.health import Check, examine
from fraud_pipeline.adapters.notifier import redacted
from fraud_pipeline.cli.console import console
from fraud_pipeline.cli.runs import DAGSTER_YAML, quieten_libraries
from fraud_pipeline.connections import PIPELINE_ROLE, open_database, open_mail, open_model_store
from fraud_pipeline.core.errors import FraudPipelineError
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.instance_status import daemon, instigators
from fraud_pipeline.orchestration.runs import open_instance
from fraud_pipeline.settings import Settings

_CONNECT_SECONDS = 5.0
_SIGNS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}


def doctor(settings: Settings, *, as_json: bool) -> int:
    """Print every examination; returns the exit code, 1 if one failed."""
    quieten_libraries()
    checks = []
    for each in _checks(settings):
        safe = Check(each.name, each.state, *(redacted(text, settings.secrets) for text in (each.detail, each.remedy)))
        checks.append(safe)
        if not as_json:
            console.print(f"{_SIGNS[safe.state]}  {safe.name}: {' '.join(safe.detail.split())}")
            if safe.remedy:
                console.print(f"         {safe.remedy}")
    failed = sum(check.state == "failed" for check in checks)
    if as_json:
        console.print(json.dumps({"healthy": not failed, "checks": [check.to_json() for check in checks]}, indent=2))
    else:
        console.print("all is well" if not failed else f"{failed} of {len(checks)} examinations failed")
    return int(failed > 0)


def _checks(settings: Settings) -> Iterator[Check]:
    yield examine("settings", lambda: _load(settings))
    for name, root in (("landing zone", settings.landing), ("lake", settings.lake), ("artefacts", settings.artefacts)):
        yield health.storage_root(name, root)
    yield health.disk_space(settings.home)
    yield from _database(settings)
    models = open_model_store(settings)
    yield examine("MLflow", lambda: f"answers, {len(models.history())} promotions on record")
    yield health.champion(models)
    yield from _instance(settings)
    yield from _notifications(settings)


def _load(settings: Settings) -> str:
    definitions = build_definitions(settings)
    return f"usable; {len(definitions.resolve_asset_graph().get_all_asset_keys())} assets load"


def _database(settings: Settings) -> Iterator[Check]:
    opened: list[Database] = []

    def reach() -> str:
        # The embedded one is started and migrated by every command.
        given = settings.database_url
        database = open_database(settings, None) if given is None else Database(given.get_secret_value())
        with database.begin():
            opened.append(database)
        return f"{database.location} answers"

    yield examine("database", reach)
    for database in opened:
        schema = examine("database schema", partial(_schema, database))
        yield schema
        yield examine("database role", partial(_role, database))
        yield health.database_clock(database)
        if schema.state == "ok":
            yield health.time_zone(database, settings.time_zone)
        database.dispose()


def _role(database: Database) -> str:
    limited = Database(database.engine.url.render_as_string(hide_password=False), PIPELINE_ROLE)
    try:
        with limited.begin():
            return f"the login may act as {PIPELINE_ROLE}"
    finally:
        limited.dispose()


def _schema(database: Database) -> str:
    database.require_current_schema()
    return "at the revision that this version needs"


def _instance(settings: Settings) -> Iterator[Check]:
    if not (settings.dagster_home / "dagster.yaml").exists():
        yield Check("Dagster", "ok", f"no instance in {settings.dagster_home} yet; the first run makes it")
        return
    try:
        with open_instance(settings, DAGSTER_YAML) as instance:
            yield Check("Dagster", "ok", f"{instance.get_runs_count()} runs on record in {settings.dagster_home}")
            yield daemon(instance)
            yield instigators(instance)
    except FraudPipelineError as error:
        yield Check("Dagster", "failed", str(error))


def _notifications(settings: Settings) -> Iterator[Check]:
    if settings.notify_webhook_url is not None:
        address = urlsplit(settings.notify_webhook_url.get_secret_value())
        port = address.port or (443 if address.scheme == "https" else 80)
        yield _connection("webhook", address.hostname or "", port)
    if settings.smtp_url is not None:
        yield _mail(settings, settings.smtp_url.get_secret_value())
    if settings.notify_webhook_url is None and settings.smtp_url is None:
        yield Check(
            "notifications",
            "warning",
            "nobody is told when a run fails: only the log says so",
            "Set FRAUD_PIPELINE_NOTIFY_WEBHOOK_URL or FRAUD_PIPELINE_SMTP_URL.",
        )


def _connection(name: str, host: str, port: int) -> Check:
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        return Check(name, "failed", f"{host}:{port} cannot be reached: {error}", "Check the address and the firewall.")
    return Check(name, "ok", f"{host}:{port} can be reached")


def _mail(settings: Settings, url: str) -> Check:
    host = urlsplit(url).hostname

    def greet() -> str:
        with open_mail(url, settings).connect() as server:
            server.noop()
        return f"{host} takes mail of {settings.notify_email_from}"

    try:
        return examine("e-mail", greet)
    except (OSError, smtplib.SMTPException) as error:
        reason = f"{type(error).__name__} {getattr(error, 'smtp_code', '')}".strip()
        return Check("e-mail", "failed", f"{host} refuses: {reason}", "Check FRAUD_PIPELINE_SMTP_URL.")
