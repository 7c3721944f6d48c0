"""The asset that measures how alerts were worked on."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest

from fraud_pipeline.adapters.database.alert_repository import alerts_of_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.review_repository import close_alert
from fraud_pipeline.adapters.database.statistics_repository import ALERT_METRICS
from fraud_pipeline.orchestration.jobs import MEASURE, SCORE
from fraud_pipeline_tests.orchestration.conftest import Deployment, day


@pytest.fixture
def database(prepared: Deployment) -> Iterator[Database]:
    database = prepared.database
    yield database
    database.dispose()


def metrics(deployment: Deployment) -> dict[str, object]:
    """Values of the table by name, of day 29."""
    return {str(row[2]): row[3] for row in deployment.rows("model_metrics") if row[0] == day(29)}


def test_decisions_are_measured_beside_the_metrics_of_labels_and_neither_disturbs_the_other(
    prepared: Deployment, database: Database
) -> None:
    prepared.runner.run_day(SCORE, day(29))
    before = metrics(prepared)
    assert {"recall", "precision", *ALERT_METRICS} <= set(before)
    assert before["alert_precision"] is None
    raised = alerts_of_day(database, day(29))
    numbers = raised["alert_id"].tolist()
    for number, outcome in zip(numbers, ["confirmed_fraud", "false_positive", "confirmed_fraud"], strict=False):
        at = raised["raised_at"].iloc[0] + timedelta(hours=2)
        close_alert(database, number, outcome, "ada", at=at.to_pydatetime())
    prepared.run_asset("alert_statistics", day(29))
    after = metrics(prepared)
    assert after["alert_precision"] == pytest.approx(2 / 3)
    assert after["alert_false_positive_ratio"] == pytest.approx(0.5)
    assert after["alert_value_detected"] == pytest.approx(raised["amount"].iloc[[0, 2]].abs().sum())
    assert after["hours_to_close_median"] == pytest.approx(2)
    assert after["sla_met_share"] == 1
    others = set(before) - set(ALERT_METRICS)
    assert {name: after[name] for name in others} == {name: before[name] for name in others}
    prepared.run_asset("model_metrics", day(29))
    assert metrics(prepared) == after


def test_a_range_reports_each_day_and_shows_volume_and_precision_as_images(
    prepared: Deployment, database: Database
) -> None:
    prepared.runner.run_range(SCORE, day(28), day(29))
    alert = alerts_of_day(database, day(28)).iloc[0]
    close_alert(database, int(alert["alert_id"]), "confirmed_fraud", "ada")
    prepared.runner.run_range(MEASURE, day(28), day(29))
    key = dg.AssetKey("alert_statistics")
    material = prepared.runner.materialisation("alert_statistics")
    assert all(str(material[name]).startswith("![") for name in ("alerts_by_risk", "precision"))
    partitions = prepared.instance.get_materialized_partitions(key)
    assert partitions == {str(day(28)), str(day(29))}
    records = prepared.instance.fetch_materializations(key, limit=2).records
    found = [(record.partition_key, record.asset_materialization) for record in records]
    of_day = {key: material.metadata for key, material in found if material is not None}
    assert of_day[str(day(28))]["alert_precision"].value == 1
    assert "alert_precision" not in of_day[str(day(29))]


def test_a_day_without_alerts_has_no_figures(prepared: Deployment) -> None:
    prepared.run_asset("alert_statistics", day(29))
    assert metrics(prepared) == {}
