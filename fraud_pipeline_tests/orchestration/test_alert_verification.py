"""An alert follows from what was recorded, and what changed since is named."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import text

from fraud_pipeline.adapters.database.alert_repository import alerts_of_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.cli.data import ingest_path
from fraud_pipeline.connections import open_model_store
from fraud_pipeline.core.errors import NotFoundError
from fraud_pipeline.orchestration import alert_verification
from fraud_pipeline.orchestration.alert_verification import Verification
from fraud_pipeline.orchestration.jobs import MERGE_LABELS, SCORE
from fraud_pipeline_tests.orchestration.conftest import Deployment, day

SAME = (
    "feature set",
    "model artefact",
    "threshold version",
    "features",
    "anomaly score",
    "score percentile",
    "confidence",
    "decision",
    "risk level",
    "priority",
    "reasons",
)

TAMPERED = {
    "anomaly_score = anomaly_score - 0.0000001": {"anomaly score"},
    "artefact_sha256 = repeat('0', 64)": {"model artefact"},
    "threshold_version = 'another'": {"threshold version"},
    "feature_set_version = '1'": {"feature set"},
    "risk_level = 'LOW', priority = 5": {"risk level", "priority"},
    "reasons = jsonb_set(reasons, '{0,contribution}', '9')": {"reasons"},
    "reasons = reasons - 0": {"reasons"},
    "transaction_id = 'unheard of'": {"transaction"},
}
"""What is done to an alert, and which checks it fails."""


@pytest.fixture
def scored(prepared: Deployment) -> Iterator[tuple[Deployment, Database]]:
    """Give a deployment whose day 29 was scored."""
    prepared.runner.run_day(SCORE, day(29))
    database = prepared.database
    yield prepared, database
    database.dispose()


def verify(deployment: Deployment, database: Database, alert_id: int) -> Verification:
    settings = deployment.settings
    return alert_verification.verify(
        database,
        deployment.lake,
        open_model_store(settings),
        alert_id,
        time_zone=settings.time_zone,
        baseline_days=settings.baseline_days,
    )


def different(found: Verification) -> set[str]:
    return {check.what for check in found.checks if not check.same}


def tamper(database: Database, change: str, alert_id: int) -> None:
    """Change an alert behind the back of every rule."""
    with database.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(f"UPDATE alerts SET {change} WHERE alert_id = :id"), {"id": alert_id})  # noqa: S608


def test_every_alert_and_random_review_of_a_night_follows_from_what_was_recorded(
    scored: tuple[Deployment, Database],
) -> None:
    deployment, database = scored
    with database.begin() as connection:
        ids = connection.execute(text("SELECT min(alert_id), max(alert_id) FROM alerts GROUP BY selection")).all()
    for alert_id in {number for pair in ids for number in pair}:
        found = verify(deployment, database, alert_id)
        assert tuple(check.what for check in found.checks) == SAME
        assert found.passed, found.checks
        assert found.changed_inputs == []


def test_what_was_tampered_with_is_named(scored: tuple[Deployment, Database]) -> None:
    deployment, database = scored
    numbers = alerts_of_day(database, day(29))["alert_id"].tolist()
    assert len(numbers) > len(TAMPERED)
    for alert_id, (change, what) in zip(numbers, TAMPERED.items(), strict=False):
        tamper(database, change, alert_id)
        found = verify(deployment, database, alert_id)
        assert different(found) == what, change
        assert not found.passed
    # Differences below the tolerance are none.
    tamper(database, "anomaly_score = anomaly_score - 1e-11", numbers[-1])
    assert verify(deployment, database, numbers[-1]).passed


def test_a_label_that_was_known_before_but_delivered_later_is_named_with_its_day(
    scored: tuple[Deployment, Database], landed: Path, tmp_path: Path
) -> None:
    deployment, database = scored
    alert = alerts_of_day(database, day(29)).iloc[0]
    earlier = deployment.lake_rows("validated_transactions")
    unreported = earlier["merchant_id"] == alert["merchant_id"]
    unreported &= earlier["event_time"] < pd.Timestamp(day(27), tz="UTC")
    labels = deployment.lake_rows("fraud_labels")
    unreported &= ~earlier["transaction_id"].isin(labels.loc[labels["is_fraud"], "transaction_id"])
    deliver_label(deployment, landed, tmp_path, str(earlier[unreported]["transaction_id"].iloc[-1]))
    found = verify(deployment, database, int(alert["alert_id"]))
    assert "features" in different(found)
    features = next(check for check in found.checks if check.what == "features")
    assert "merchant_known_frauds" in features.recorded + features.recomputed
    assert found.changed_inputs == [f"labels of {day(28)}"]


def deliver_label(deployment: Deployment, landed: Path, folder: Path, transaction_id: str) -> None:
    """Bring in a fraud label that was known on day 28, and merge the labels of that day again."""
    file = folder / "late" / "labels" / "late.csv"
    file.parent.mkdir(parents=True)
    file.write_text(f"transaction_id,is_fraud,label_known_at\n{transaction_id},1,{day(28)}T08:00:00Z\n")
    ingest_path(deployment.settings, folder / "late", landed.parent / "export" / "source.yaml")
    deployment.runner.run_day(MERGE_LABELS, day(28))


def test_a_label_that_became_known_afterwards_changes_nothing(scored: tuple[Deployment, Database]) -> None:
    deployment, database = scored
    alert_id = int(alerts_of_day(database, day(29))["alert_id"].iloc[0])
    deployment.runner.run_day(MERGE_LABELS, day(31))
    deployment.runner.run_day(SCORE, day(30))
    assert verify(deployment, database, alert_id).passed


def test_an_unknown_alert_is_said_to_be_unknown(prepared: Deployment) -> None:
    database = prepared.database
    with pytest.raises(NotFoundError, match="no alert 987654: `fraud-pipeline review queue`"):
        verify(prepared, database, 987654)
    database.dispose()
