"""`fraud-pipeline alert verify` as it is typed."""

import psycopg
import pytest

from fraud_pipeline.cli.console import console
from fraud_pipeline_tests.cli.conftest import Walk, assert_refused
from fraud_pipeline_tests.conftest import libpq_url


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 200)


def test_an_alert_of_a_night_is_verified_and_one_with_another_score_is_not(walk: Walk) -> None:
    url = libpq_url(walk.deployment.variables["FRAUD_PIPELINE_DATABASE_URL"])
    with psycopg.connect(url, autocommit=True) as session:
        found = session.execute(
            "SELECT alert_id, anomaly_score FROM alerts WHERE selection = 'threshold' ORDER BY alert_id LIMIT 1"
        ).fetchone()
        assert found is not None
        number, score = found
        printed = walk.deployment.succeed("alert", "verify", number).out
        assert "NO" not in printed
        assert f"Alert {number} follows from what was recorded." in printed
        session.execute("SET session_replication_role = replica")
        session.execute("UPDATE alerts SET anomaly_score = anomaly_score / 2 WHERE alert_id = %s", [number])
        try:
            failed = walk.deployment.run("alert", "verify", number)
        finally:
            session.execute("UPDATE alerts SET anomaly_score = %s WHERE alert_id = %s", [score, number])
    assert failed.code == 1
    assert f"Alert {number} differs in: anomaly score." in failed.out


def test_an_unknown_alert_is_refused_in_one_sentence(walk: Walk) -> None:
    assert_refused(walk.deployment.run("alert", "verify", 987654), "no alert 987654", "review queue")
