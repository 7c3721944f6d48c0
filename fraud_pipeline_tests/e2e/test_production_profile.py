"""The second profile: PostgreSQL over TCP, S3 and an MLflow server, reached by environment variables alone."""

from collections import Counter

import pandas as pd
import pytest
import yaml
from botocore.exceptions import ClientError

from fraud_pipeline_tests.e2e.conftest import Prepared
from fraud_pipeline_tests.e2e.deployment import HISTORY, NIGHTS
from fraud_pipeline_tests.e2e.production import BUCKET, PROJECT, Production

pytestmark = pytest.mark.e2e

SCORES = "select * from anomaly_scores order by transaction_id"
ALERTS = "select * from alerts order by alert_id"


def test_the_profiles_of_dagster_differ_only_in_where_they_keep_things() -> None:
    ours = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    theirs = yaml.safe_load((PROJECT / "deploy" / "dagster.yaml").read_text())
    assert theirs.keys() - ours.keys() == {"storage", "compute_logs"}
    assert {name: theirs[name] for name in ours} == ours


def test_the_object_store_refuses_a_wrong_secret(production: Production) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        production.store.client("wrong").list_objects_v2(Bucket=BUCKET)


def test_files_lake_models_and_logs_are_objects(production: Production) -> None:
    keys = production.store.keys
    days = len(HISTORY) + len(NIGHTS)
    assert len(keys(BUCKET, "landing/simulated/transactions/")) == days
    assert len(keys(BUCKET, "lake/transaction_features/")) == days
    assert keys(BUCKET, "lake/anomaly_scores/") == [f"lake/anomaly_scores/{day}.parquet" for day in NIGHTS]
    models = [key.rpartition("/")[2] for key in keys(BUCKET, "artefacts/")]
    expected = {"booster_00.ubj": 2, "detector.json": 4, "estimator.skops": 2, "model.json": 1}
    assert Counter(models) == expected
    run_ids = set(production.rows("dagster", "select run_id from runs")["run_id"])
    logs = keys(BUCKET, "compute-logs/")
    assert {key.split("/")[2] for key in logs} == run_ids
    assert any("summary" not in key and key.endswith(".err") for key in logs)
    assert not [path for path in production.deployment.home.rglob("*.parquet")]


def test_rows_runs_and_champion_are_in_postgresql(production: Production) -> None:
    days = production.rows("fraud_pipeline", "select event_day, count(*) n from transactions group by 1 order by 1")
    assert days["event_day"].tolist() == HISTORY + NIGHTS
    scored = production.rows("fraud_pipeline", "select is_alert, event_day from anomaly_scores")
    assert set(scored["event_day"]) == set(NIGHTS)
    waiting = production.rows("fraud_pipeline", ALERTS)["selection"].value_counts()
    assert waiting["threshold"] == scored["is_alert"].sum() > 0
    assert waiting["random_sample"] == 5 * len(NIGHTS)
    matured = production.rows("fraud_pipeline", "select value from model_metrics where metric = 'matured'")
    assert matured["value"].sum() == len(scored)
    runs = production.rows("dagster", "select pipeline_name, status from runs order by id")
    assert runs["pipeline_name"].tolist() == [
        "score_nightly",
        "train_models",
        *["score_nightly"] * len(NIGHTS),
        "merge_labels",
        "measure_alerts",
    ]
    assert set(runs["status"]) == {"SUCCESS"}
    aliases = production.rows("mlflow", "select name, alias, version from registered_model_aliases order by alias")
    assert aliases.to_numpy().tolist() == [["fraud_model", "challenger", 1], ["fraud_model", "champion", 1]]


def test_the_summary_tells_what_was_measured(production: Production) -> None:
    scored = len(production.rows("fraud_pipeline", SCORES))
    summary = (production.deployment.home / "summary").read_text()
    assert f"{len(HISTORY) + len(NIGHTS)} ingested, {len(NIGHTS)} scored" in summary
    assert f"{scored:,} matured of {scored:,} scored" in summary
    assert "fraud_model version 1" in summary


def test_the_embedded_profile_gives_the_very_same_scores(production: Production, prepared: Prepared) -> None:
    scored = production.rows("fraud_pipeline", SCORES)
    embedded = prepared.scores.sort_values("transaction_id", ignore_index=True)
    # Each profile trained for itself, and a model file holds the time at which it was written.
    shared = [name for name in scored.columns if name in embedded and name not in {"run_id", "artefact_sha256"}]
    assert {"anomaly_score", "risk_level", "model_version", "threshold_version"} <= set(shared)
    pd.testing.assert_frame_equal(scored[shared], embedded[shared], check_dtype=False, check_exact=True)


def test_the_nights_again_leave_identical_rows(production: Production) -> None:
    scores, alerts = (production.rows("fraud_pipeline", query) for query in (SCORES, ALERTS))
    production.deployment.score_nights()
    again = production.rows("fraud_pipeline", SCORES)
    assert not set(again["run_id"]) & set(scores["run_id"])
    pd.testing.assert_frame_equal(again.drop(columns="run_id"), scores.drop(columns="run_id"))
    # An alert stays the row that it was, with the run that raised it.
    pd.testing.assert_frame_equal(production.rows("fraud_pipeline", ALERTS), alerts)
