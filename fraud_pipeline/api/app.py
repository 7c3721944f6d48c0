"""The REST API as one application."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from anyio.to_thread import current_default_thread_limiter, run_sync
from fastapi import FastAPI

from fraud_pipeline.adapters.database import api_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.api import alert_routes, detect_routes, heap, openapi, problems, status_routes
from fraud_pipeline.api.detection import DetectionService
from fraud_pipeline.api.health import DatabaseWatch
from fraud_pipeline.api.metrics import Metrics
from fraud_pipeline.api.middleware import RequestRecorder
from fraud_pipeline.api.security import KeyRing, RateLimit, is_loopback, require_key
from fraud_pipeline.connections import API_ROLE, open_database, request_patience
from fraud_pipeline.settings import Settings

THREADS: Final = 16
"""Requests that work at once, and connections that they have: a request never waits for a connection."""

_log = logging.getLogger("fraud_pipeline.api")
_TAGS: Final[list[dict[str, Any]]] = [
    {"name": "detection", "description": "Scores of transactions, as the nightly run would give them."},
    {"name": "alerts", "description": "The alerts of analysts: open → investigating → closed."},
    {"name": "status", "description": "What this is, and whether it is fit."},
]


def create_app(settings: Settings) -> FastAPI:
    """Make the application; it opens the database and loads the model when it starts.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    ConfigurationError
        The rate limit cannot be read.
    """
    metrics = Metrics(is_shared=settings.api_workers > 1)
    app = FastAPI(
        title="fraud_pipeline",
        version=status_routes.VERSION,
        description="Scores card transactions as the nightly run does, and serves its alerts to analysts. "
        "Errors are problem details (RFC 9457).",
        openapi_tags=_TAGS,
        lifespan=_lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.rate_limit = RateLimit(settings.api_rate_limit)
    for module in (status_routes, detect_routes, alert_routes):
        app.include_router(module.router)
    problems.install(app)
    app.add_middleware(RequestRecorder, metrics=metrics)
    document: dict[str, Any] = {}

    def describe() -> dict[str, Any]:
        if not document:
            document.update(openapi.describe(app, settings))
        return document

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's own way to change the document
    return app


def create_app_from_environment() -> FastAPI:
    """Make the application of the settings in the environment, for servers that start processes of their own."""
    heap.hold()
    return create_app(Settings.from_env())


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state, settings = app.state, app.state.settings
    current_default_thread_limiter().total_tokens = THREADS
    # Two more: for /health, and for what the detection reads in the background.
    opened = partial(open_database, settings, API_ROLE, THREADS + 2, request_patience(settings))
    state.database = database = await run_sync(opened)
    await run_sync(require_key, settings.api_host, database)
    # It was checked to be the one that this code needs; an upgrade while this runs would change it.
    state.needed_revision = await run_sync(_revision, database)
    state.keys = KeyRing(database, is_open=is_loopback(settings.api_host))
    state.watch = watch = DatabaseWatch(database)
    state.detection = detection = DetectionService(settings, database)
    loading = asyncio.create_task(run_sync(detection.start))
    loading.add_done_callback(_report)
    if await state.keys.is_unauthenticated():
        _log.warning("no API key was ever made: whoever can reach %s may do everything", settings.api_host)
    try:
        yield
    finally:
        await asyncio.wait([loading])
        await run_sync(detection.stop)
        watch.stop()
        await run_sync(database.dispose)


def _revision(database: Database) -> str:
    with database.begin() as connection:
        return api_repository.schema_revision(connection)


def _report(loading: "asyncio.Task[None]") -> None:
    if not loading.cancelled() and (error := loading.exception()) is not None:
        _log.error("the model cannot be loaded: %s", error, exc_info=error)
