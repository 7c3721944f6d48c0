"""Plain adapters as Dagster resources.

Each is made from settings when a run first needs it: nothing connects while
definitions load, and no secret becomes resource configuration that the UI shows.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.adapters.notifier import LogNotifier
from fraud_pipeline.connections import open_database, open_model_store
from fraud_pipeline.orchestration.io_managers import JsonIOManager
from fraud_pipeline.settings import Settings


def build_resources(settings: Settings) -> Mapping[str, Any]:
    """Make the resources by role: landing_zone, lake, database, model_store, notifier, io_manager."""

    @dg.resource
    def database() -> Iterator[Database]:
        opened = open_database(settings)
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
        "landing_zone": LandingZone(settings.landing),
        "lake": lake,
        "io_manager": JsonIOManager(lake),
        "database": database,
        "model_store": model_store,
        "notifier": LogNotifier(),
    }
