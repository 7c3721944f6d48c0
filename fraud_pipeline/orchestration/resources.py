"""Plain adapters as Dagster resources.

Each is made from settings when a run first needs it: nothing connects while
definitions load, and no secret becomes resource configuration that the UI shows.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.faults import is_transient
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.logs import json_logger
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.connections import open_database, open_landing_zone, open_model_store, open_notifier
from fraud_pipeline.core.errors import DatabaseError
from fraud_pipeline.orchestration.assets import daily
from fraud_pipeline.orchestration.io_managers import JsonIOManager
from fraud_pipeline.settings import Settings


def open_patiently(settings: Settings, run: dg.DagsterRun | None) -> Database:
    """Open the database for a run, waiting for one that is away as the steps do; a command and a sensor do not wait."""
    is_patient = run is not None and run.tags.get("dagster/max_retries") != "0"
    for seconds in daily.RETRY_SECONDS if is_patient else ():
        try:
            return open_database(settings)
        except DatabaseError as error:
            if not is_transient(error):
                raise
            time.sleep(seconds)
    return open_database(settings)


def build_loggers(settings: Settings) -> Mapping[str, dg.LoggerDefinition] | None:
    """Make the logger of runs, where logs are to be JSON; else Dagster's own is used."""
    if settings.log_format != "json":
        return None

    @dg.logger({"log_level": dg.Field(str, default_value="INFO", is_required=False)})
    def console(context: dg.InitLoggerContext) -> logging.Logger:
        return json_logger("fraud_pipeline.runs", context.logger_config["log_level"], settings.secrets)

    return {"console": console}


def build_resources(settings: Settings) -> Mapping[str, Any]:
    """Make the resources by role: landing_zone, lake, database, model_store, notifier, io_manager."""

    @dg.resource
    def database(context: dg.InitResourceContext) -> Iterator[Database]:
        opened = open_patiently(settings, context.run)
        try:
            yield opened
        finally:
            opened.dispose()

    # Fresh in every run: an alias is resolved once a run, never kept over runs.
    @dg.resource
    def model_store() -> ModelStore:
        return open_model_store(settings)

    lake = Lake(settings.lake)
    return {
        "landing_zone": open_landing_zone(settings),
        "lake": lake,
        "io_manager": JsonIOManager(lake),
        "database": database,
        "model_store": model_store,
        "notifier": open_notifier(settings),
    }
