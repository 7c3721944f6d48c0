"""A database that keeps a request waiting: it ends as a problem, and the next one is served again."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import text

from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.api import security
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.api.conftest import Serve, small_settings
from fraud_pipeline_tests.api.raised import raise_alerts
from fraud_pipeline_tests.api.test_errors import require_problem

DatabaseOf = Callable[[Settings], Database]
INVESTIGATE = {"version": 1, "status": "investigating"}
LONG = {"api_statement_timeout_seconds": 60, "api_lock_timeout_seconds": 60}


@pytest.fixture
def database(settings: Settings, database_of: DatabaseOf) -> Database:
    """Give the database with one open alert, number 1."""
    database = database_of(settings)
    raise_alerts(database, "t1")
    return database


def require_unavailable(answer: httpx.Response) -> None:
    require_problem(answer, 503)
    assert answer.json()["detail"].startswith("The database cannot serve this request now")
    assert answer.headers["retry-after"]


def test_change_of_an_alert_that_somebody_holds_is_503_and_changes_nothing(
    database: Database, settings: Settings, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(settings.model_copy(update=LONG | {"api_lock_timeout_seconds": 0.2}))
    with database.begin() as connection, caplog.at_level(logging.WARNING, "fraud_pipeline.api"):
        connection.execute(text("SELECT FROM alerts WHERE alert_id = 1 FOR UPDATE"))
        require_unavailable(client.put("/alerts/1", json=INVESTIGATE))
        assert "canceling statement due to lock timeout" in caplog.text
        assert client.get("/alerts/1").json()["version"] == 1
    assert client.put("/alerts/1", json=INVESTIGATE).json()["version"] == 2


def test_list_that_the_database_does_not_give_in_time_is_503(
    database: Database, settings: Settings, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(settings.model_copy(update=LONG | {"api_statement_timeout_seconds": 0.2}))
    with database.begin() as connection, caplog.at_level(logging.WARNING, "fraud_pipeline.api"):
        connection.execute(text("LOCK TABLE alerts IN ACCESS EXCLUSIVE MODE"))
        require_unavailable(client.get("/alerts"))
        assert "canceling statement due to statement timeout" in caplog.text
    assert len(client.get("/alerts").json()["alerts"]) == 1


@contextmanager
def frozen(server: EmbeddedPostgres) -> Iterator[None]:
    """Stop every process of a server in its tracks, as a disk does that does not answer."""
    processes = server._processes()
    assert len(processes) > 3
    try:
        for process in processes:
            process.suspend()
        yield
    finally:
        for process in processes:
            try:
                process.resume()
            except psutil.NoSuchProcess:
                continue


def test_server_that_is_frozen_is_503_to_everybody_at_once_and_serves_again_when_it_thaws(
    quick_disk: Path,
    tmp_path: Path,
    empty_registry: str,
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(security, "FRESH_SECONDS", 0.0)  # each request has to look for keys
    server = EmbeddedPostgres(quick_disk / f"fraud_frozen_{time.monotonic_ns()}")
    server.start()
    try:
        Database(server.url("postgres")).upgrade()
        settings = small_settings(
            tmp_path,
            server.url("postgres"),
            mlflow_tracking_uri=empty_registry,
            api_statement_timeout_seconds=0.2,
            database_connect_timeout_seconds=2,
        )
        client = serve(settings)
        assert client.get("/alerts").status_code == 200
        with frozen(server), caplog.at_level(logging.WARNING, "fraud_pipeline.api"):
            # One after the other they would wait for longer than their client does.
            with ThreadPoolExecutor(16) as clients:
                answers = list(clients.map(lambda _: client.get("/alerts"), range(16)))
            for answer in answers:
                require_unavailable(answer)
            assert "cannot be reached" in caplog.text
        assert client.get("/alerts").status_code == 200
    finally:
        server.stop()
