"""The chain on a few real card holders, where such data lies beside the checkout; skipped elsewhere."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from fraud_pipeline.cli.data import ingest_path
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.jobs import PREPARE, SCORE, TRAIN
from fraud_pipeline_tests.orchestration.conftest import Deployment, settings_for

SOURCE = Path(__file__).parents[2] / "docs" / "examples" / "handbook.yaml"


@pytest.mark.e2e
def test_daily_parquet_files_and_delayed_labels_become_alerts(
    tmp_path: Path, database_url: str, real_data: Path
) -> None:
    settings = settings_for(tmp_path / "home", database_url).model_copy(update={"first_day": date(2018, 6, 15)})
    report = ingest_path(settings, real_data, SOURCE)
    assert (report.transaction_files, report.label_rows) == (45, 16_433)
    with dg.DagsterInstance.ephemeral() as instance:
        deployment = Deployment(settings, build_definitions(settings), instance)
        deployment.runner.run_range(PREPARE, date(2018, 6, 15), date(2018, 7, 23))
        deployment.runner.run_once(TRAIN, {})
        deployment.runner.run_range(SCORE, date(2018, 7, 24), date(2018, 7, 29))
    assert len(deployment.lake_rows("validated_transactions")) == 16_433
    assert deployment.lake_rows("rejected_transactions").empty
    labels = deployment.lake_rows("fraud_labels")
    delay = labels["label_known_at"] - labels["event_time"]
    reported = labels["label_source"] == "chargeback_file"
    assert delay[reported].dt.days.unique().tolist() == [7]
    assert len(deployment.rows("anomaly_scores")) == len(deployment.lake_rows("anomaly_scores")) > 0
    assert deployment.rows("alerts")


@pytest.fixture
def real_data() -> Path:
    """Give 45 days of 199 card holders of the public Fraud Detection Handbook, if they are there."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "handbook_tiny"
    if not folder.is_dir():
        pytest.skip("extra test: needs the Handbook's days as Parquet files in a folder beside the checkout")
    return folder
