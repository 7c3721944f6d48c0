"""The daily chain on real parts: files to rows, ranges and single days, twice, and when something is wrong."""

from collections.abc import Callable
from datetime import date
from typing import cast

import dagster as dg
import pandas as pd
import psycopg
import pytest
from sqlalchemy import select, text

from fraud_pipeline.adapters.database.partitions import create_partitions
from fraud_pipeline.adapters.database.tables import pipeline_runs
from fraud_pipeline.core.errors import InputFileError, InvalidDataError
from fraud_pipeline.orchestration.jobs import MEASURE, MERGE_LABELS, PREPARE, SCORE
from fraud_pipeline_tests.conftest import libpq_url
from fraud_pipeline_tests.orchestration.conftest import LAKE_DATASETS, TABLES, Deployment, day

Deploy = Callable[..., Deployment]


def state(deployment: Deployment) -> dict[str, object]:
    """Everything that a run writes, except which run it was."""
    frames = {name: deployment.lake_rows(name).astype(object) for name in LAKE_DATASETS if deployment.lake.days(name)}
    # A figure that is missing twice is the same.
    lake = {name: frame.where(frame.notna(), None).to_dict("list") for name, frame in frames.items()}
    return lake | {f"table {name}": deployment.rows(name) for name in TABLES}


def partition_metadata(deployment: Deployment, asset: str) -> dict[str, dict[str, object]]:
    records = deployment.instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    return {
        record.partition_key: {k: v.value for k, v in record.asset_materialization.metadata.items()}
        for record in records
        if record.partition_key and record.asset_materialization
    }


def test_files_become_alert_rows_and_a_second_time_the_same_rows(prepared: Deployment) -> None:
    prepared.runner.run_range(SCORE, day(29), day(31))
    first = state(prepared)
    assert len(prepared.rows("alerts")) > 0
    assert len(prepared.rows("anomaly_scores")) == len(prepared.lake_rows("anomaly_scores"))
    prepared.runner.run_range(SCORE, day(29), day(31))
    assert state(prepared) == first


def test_a_range_in_one_run_and_single_days_give_the_same_rows(prepared: Deployment, deploy: Deploy) -> None:
    # The registry of the prepared deployment serves both.
    by_day = deploy(artefact_root=prepared.settings.artefacts, mlflow_tracking_uri=_uri(prepared))
    prepared.runner.run_range(SCORE, day(0), day(7))
    for number in range(8):
        by_day.runner.run_day(SCORE, day(number))
    for name in LAKE_DATASETS:
        frames = prepared.lake.read_days(name, [day(number) for number in range(8)]).values()
        expected = pd.concat(frames, ignore_index=True).drop(columns=["run_id"], errors="ignore")
        pd.testing.assert_frame_equal(by_day.lake_rows(name), expected)
    # Not the metrics: the prepared deployment counts labels of later days, which a single day cannot know of yet.
    for table in ("alerts", "cases", "anomaly_scores"):
        rows = by_day.rows(table)
        assert rows
        assert rows == prepared.rows(table), table


def test_a_range_run_reports_figures_for_each_day(prepared: Deployment) -> None:
    prepared.runner.run_range(SCORE, day(28), day(30))
    for asset in ("raw_transactions", "transaction_features", "anomaly_scores"):
        figures = partition_metadata(prepared, asset)
        for number in (28, 29, 30):
            rows = figures[day(number).isoformat()]["dagster/partition_row_count"]
            assert rows == len(prepared.lake.read(asset, day(number)))
    features = partition_metadata(prepared, "transaction_features")[day(30).isoformat()]
    assert (features["days_found"], features["days_missing"]) == (30, 60)


def test_rows_in_are_valid_and_rejected_rows_out(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.runner.run_range(PREPARE, day(0), day(4))
    raw, valid, rejected = (
        len(deployment.lake_rows(name))
        for name in ("raw_transactions", "validated_transactions", "rejected_transactions")
    )
    assert raw == valid + rejected
    assert valid == len(deployment.rows("transactions"))
    assert rejected == len(deployment.rows("rejected_transactions")) > 0


def test_each_written_day_is_recorded_and_the_labels_of_the_lake_are_those_of_the_table(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.runner.run_range(PREPARE, day(4), day(6))
    run = deployment.instance.get_runs(limit=1)[0].run_id
    with deployment.database.begin() as connection:
        written = connection.execute(
            select(pipeline_runs.c.run_id, pipeline_runs.c.asset, pipeline_runs.c.event_day, pipeline_runs.c.rows)
        ).all()
    by_day = ("validated_transactions", "rejected_transactions", "fraud_labels", "transaction_features")
    expected = {
        (run, name, day(number), len(deployment.lake.read(name, day(number))))
        for name in by_day
        for number in (4, 5, 6)
    }
    assert {tuple(row) for row in written if row.asset != "user_profiles"} == expected
    assert [row.event_day for row in written if row.asset == "user_profiles"] == [day(6)]
    assert len(deployment.rows("fraud_labels")) == len(deployment.lake_rows("fraud_labels")) > 0


def test_a_day_makes_the_next_month_and_detaches_what_is_older_than_the_retention(deploy: Deploy) -> None:
    deployment = deploy(retention_days=120)
    with deployment.database.begin() as connection:
        create_partitions(connection, date(2025, 7, 1), date(2025, 9, 30))
    deployment.runner.run_day(PREPARE, day(10))
    (figures,) = partition_metadata(deployment, "validated_transactions").values()
    assert len(cast("list[str]", figures["months_detached"])) == 2 * 5
    statement = text(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'transactions'::regclass ORDER BY 1"
    )
    with deployment.database.begin() as connection:
        assert connection.scalars(statement).all() == [
            f"transactions_y{month}" for month in ("2025m09", "2026m01", "2026m02")
        ]


def test_before_a_first_model_the_chain_prepares_features_and_scores_nothing(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.runner.run_range(SCORE, day(0), day(2))
    assert deployment.lake.days("transaction_features") == {day(0), day(1), day(2)}
    assert not deployment.lake.days("anomaly_scores")
    assert not deployment.rows("alerts")


def test_a_day_without_a_file_fails_with_a_sentence_and_writes_nothing(deploy: Deploy) -> None:
    deployment = deploy()
    with pytest.raises(InputFileError, match=rf"{day(40)}"):
        deployment.runner.run_day(PREPARE, day(40))
    assert not deployment.lake.days("raw_transactions")


def test_too_many_rejects_stop_the_day_before_its_features(deploy: Deploy) -> None:
    deployment = deploy(max_reject_rate=0.0)
    spoiled = next(file for file in deployment.landing_zone.transaction_files(day(0)))
    path = deployment.landing_zone.root / spoiled.key
    path.write_text(path.read_text() + "x1,u1,m1,2026-01-01T10:00:00Z,not-a-number\n")
    with pytest.raises(
        InvalidDataError, match=r"reject_rate of validated_transactions failed on 2026-01-01 \(.*limit 0\.0"
    ) as raised:
        deployment.runner.run_day(PREPARE, day(0))
    assert "correct the source's description or have its files delivered again. See docs/checks.md." in str(
        raised.value
    )
    assert not deployment.lake.days("transaction_features")
    assert len(deployment.lake.read("rejected_transactions", day(0))) >= 1


def test_scoring_again_touches_no_alert_and_no_decision_of_an_analyst(prepared: Deployment) -> None:
    prepared.runner.run_day(SCORE, day(29))
    assert prepared.settings.database_url is not None
    with psycopg.connect(libpq_url(prepared.settings.database_url.get_secret_value())) as session:
        session.execute("select set_config('fraud_pipeline.actor', 'ada', true)")
        session.execute("update alerts set status = 'investigating', assignee = 'ada'")
        session.execute("update alerts set status = 'closed', outcome = 'confirmed_fraud'")
        before = session.execute("select * from alerts order by alert_id").fetchall()
    prepared.runner.run_day(SCORE, day(29))
    with psycopg.connect(libpq_url(prepared.settings.database_url.get_secret_value())) as session:
        assert session.execute("select * from alerts order by alert_id").fetchall() == before
    assert before


def test_labels_that_come_later_change_metrics_and_no_earlier_score(prepared: Deployment) -> None:
    prepared.runner.run_range(SCORE, day(29), day(30))
    scores = prepared.rows("anomaly_scores")
    prepared.runner.run_range(MERGE_LABELS, day(31), day(37))
    prepared.runner.run_range(MEASURE, day(29), day(30))
    assert prepared.rows("anomaly_scores") == scores
    matured = {row[0]: row[3] for row in prepared.rows("model_metrics") if row[2] == "matured"}
    assert matured == {
        day(number): float(len(prepared.lake.read("anomaly_scores", day(number)))) for number in (29, 30)
    }


def test_labels_name_their_source_and_unreported_transactions_mature(prepared: Deployment) -> None:
    labels = prepared.lake_rows("fraud_labels")
    assert set(labels["label_source"]) == {"chargeback_file", "unreported"}
    unreported = labels[labels["label_source"] == "unreported"]
    age = unreported["label_known_at"] - unreported["event_time"]
    assert (age == pd.Timedelta(days=5)).all()
    assert not unreported["is_fraud"].any()


def test_profiles_keep_the_newest_day_when_an_older_one_is_run_again(prepared: Deployment) -> None:
    before = prepared.rows("user_profiles")
    prepared.runner.run_day(PREPARE, day(10))
    assert prepared.rows("user_profiles") == before


def _uri(deployment: Deployment) -> object:
    from pydantic import SecretStr

    return SecretStr(deployment.settings.tracking_uri)
