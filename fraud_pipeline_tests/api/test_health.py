"""/health: what is wrong, in time, and well again when it is over."""

import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import httpx
from sqlalchemy import text

from fraud_pipeline.adapters.clock import today
from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.api.health import DatabaseState, report
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.api.conftest import Serve, small_settings

DatabaseOf = Callable[[Settings], Database]


def unfit(answer: httpx.Response) -> set[str]:
    """Parts that are not fit; each says why."""
    assert answer.headers["cache-control"] == "no-store"
    checks = answer.json()["checks"]
    wrong = {name for name, check in checks.items() if not check["ok"]}
    assert all(checks[name]["detail"] for name in wrong)
    assert (answer.status_code, answer.json()["status"]) == ((503, "unfit") if wrong else (200, "ok"))
    return wrong


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_deployment_without_model_and_data_is_unfit(client: httpx.Client) -> None:
    assert unfit(client.get("/health")) == {"model", "freshness"}


def test_trained_deployment_is_fit_and_says_with_what(trained_settings: Settings, serve: Serve) -> None:
    client = serve(trained_settings)
    wait_until(lambda: client.get("/health").status_code == 200, 60)
    checks = client.get("/health").json()["checks"]
    assert checks["model"]["version"] == "1"
    assert checks["freshness"]["last_scored_day"] == "2026-01-21"
    assert checks["schema"]["revision"]
    figures = client.get("/metrics").text
    assert 'fraud_api_model{model_version="1"} 1.0' in figures


def test_old_data_are_unfit(trained_settings: Settings, serve: Serve) -> None:
    client = serve(trained_settings.model_copy(update={"api_max_age_days": 2}))
    answer = client.get("/health")
    assert "freshness" in unfit(answer)
    assert "look at the nightly run" in answer.json()["checks"]["freshness"]["detail"]


def test_age_counts_from_today_and_its_limit_is_still_fit() -> None:
    now = today("Asia/Tokyo")
    needed = {"needed_revision": "9", "model_version": "1", "time_zone": "Asia/Tokyo", "max_age_days": 2}

    def is_fit(last: date) -> bool:
        return report(DatabaseState("9", last), **needed)[0]  # type: ignore[arg-type]  # of several types

    assert is_fit(now - timedelta(days=2))
    assert not is_fit(now - timedelta(days=3))


def test_schema_that_was_upgraded_meanwhile_is_unfit(
    client: httpx.Client, settings: Settings, database_of: DatabaseOf
) -> None:
    with database_of(settings).begin() as connection:
        connection.execute(text("UPDATE fraud_pipeline_schema_version SET version_num = '9999'"))
    assert "schema" in unfit(client.get("/health"))


def test_database_that_hangs_is_reported_within_two_seconds(
    client: httpx.Client, settings: Settings, database_of: DatabaseOf
) -> None:
    with database_of(settings).begin() as connection:
        connection.execute(text("LOCK TABLE pipeline_runs IN ACCESS EXCLUSIVE MODE"))
        for _ in range(2):
            start = time.monotonic()
            answer = client.get("/health")
            assert time.monotonic() - start < 2
            assert "did not answer" in answer.json()["checks"]["database"]["detail"]
            assert unfit(answer) == {"database", "schema", "model", "freshness"}
    wait_until(lambda: client.get("/health").json()["checks"]["database"]["ok"])


def test_stopped_database_is_503_and_well_again_when_it_is_back(
    quick_disk: Path, tmp_path: Path, empty_registry: str, serve: Serve
) -> None:
    server = EmbeddedPostgres(quick_disk / f"fraud_api_{time.monotonic_ns()}")
    server.start()
    try:
        Database(server.url("postgres")).upgrade()
        settings = small_settings(tmp_path, server.url("postgres"), mlflow_tracking_uri=empty_registry)
        client = serve(settings)
        assert client.get("/alerts").status_code == 200
        server.stop()
        stopped = client.get("/alerts")
        assert (stopped.status_code, stopped.headers["retry-after"]) == (503, "5")
        assert "postgres" not in stopped.text
        assert "database" in unfit(client.get("/health"))
        server.start()
        assert client.get("/alerts").status_code == 200
        assert unfit(client.get("/health")) == {"model", "freshness"}
    finally:
        server.stop()
