"""What analysts decide comes back as labels and features; what was drawn at random waits beside the alerts."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import select, update

from fraud_pipeline.adapters.database.alert_repository import alerts_of_day, count_by_risk
from fraud_pipeline.adapters.database.alert_tables import alert_events, alerts
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.review_repository import (
    close_alert,
    open_reviews,
    record_decisions,
    related_transactions,
)
from fraud_pipeline.adapters.database.tables import fraud_labels, pipeline_runs
from fraud_pipeline.adapters.database.workflow_repository import alert_history
from fraud_pipeline.cli.data import ingest_path
from fraud_pipeline.core.reviews import REASON_TEXT
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.core.splits import TrainingWindows
from fraud_pipeline.orchestration.assets.detectors import labelled_features
from fraud_pipeline.orchestration.assets.labels import decided_by_day
from fraud_pipeline.orchestration.jobs import MERGE_LABELS, PREPARE, SCORE
from fraud_pipeline_tests.orchestration.conftest import Deployment, day


def at(of: date, hour: int) -> datetime:
    return datetime.combine(of, time(hour), tzinfo=UTC)


@pytest.fixture
def database(prepared: Deployment) -> Iterator[Database]:
    database = prepared.database
    yield database
    database.dispose()


@pytest.fixture
def alert(prepared: Deployment, database: Database) -> pd.Series:
    """Give an alert of day 29 that no file will ever tell of, at a merchant with payments late on day 30."""
    prepared.runner.run_range(SCORE, day(29), day(30))
    files = {file.key.split("/")[2] for file in prepared.landing_zone.label_files()}
    known = {
        name for each in files for name in prepared.landing_zone.read_labels(date.fromisoformat(each))["transaction_id"]
    }
    next_day = prepared.lake.read("validated_transactions", day(30))
    busy = set(next_day.loc[next_day["event_time"] > at(day(30), 12), "merchant_id"])
    raised = alerts_of_day(database, day(29))
    raised = raised[~raised["transaction_id"].isin(known) & raised["merchant_id"].isin(busy)]
    first: pd.Series = raised.iloc[0]
    return first


def labels_of(deployment: Deployment, transaction_id: str) -> list[tuple[object, ...]]:
    rows = deployment.lake_rows("fraud_labels")
    rows = rows[rows["transaction_id"] == transaction_id]
    return list(rows[["is_fraud", "label_source", "label_known_at"]].itertuples(index=False, name=None))


def test_a_confirmed_alert_is_a_label_and_moves_what_is_known_of_its_merchant_from_then_on(
    prepared: Deployment, database: Database, alert: pd.Series
) -> None:
    decided_at = at(day(30), 9)
    before = prepared.lake.read("transaction_features", day(30))
    close_alert(database, int(alert["alert_id"]), "confirmed_fraud", "ada", at=decided_at)
    prepared.runner.run_day(PREPARE, day(30))
    assert labels_of(prepared, alert["transaction_id"]) == [(True, "analyst", decided_at)]
    after = prepared.lake.read("transaction_features", day(30))
    concerned = (after["merchant_id"] == alert["merchant_id"]) & (after["event_time"] > decided_at)
    assert concerned.any()
    for feature in ("merchant_known_frauds_1d", "merchant_known_frauds_7d", "merchant_known_frauds_30d"):
        moved = after[feature] - before[feature]
        assert (moved[concerned] == 1).all()
        assert (moved[~concerned] == 0).all()
    stored = {row[0]: row for row in prepared.rows("transaction_features")}
    assert set(after["transaction_id"]) <= set(stored)


def test_alerts_closed_as_fraud_move_the_merchants_features_and_scores_of_the_next_night(
    prepared: Deployment, database: Database
) -> None:
    prepared.runner.run_range(SCORE, day(29), day(30))
    without = night_of(prepared, day(31))
    raised = alerts_of_day(database, day(29))
    raised = raised[raised["merchant_id"].isin(without["anomaly_scores"]["merchant_id"])]
    merchant = raised["merchant_id"].value_counts().index[0]
    closed = raised[raised["merchant_id"] == merchant]
    for number in closed["alert_id"]:
        close_alert(database, int(number), "confirmed_fraud", "ada", at=at(day(30), 22))
    prepared.runner.run_day(MERGE_LABELS, day(30))
    after = night_of(prepared, day(31))
    with database.begin() as connection:
        analysts = fraud_labels.c.label_source == "analyst"
        labelled = connection.execute(select(fraud_labels.c.transaction_id, fraud_labels.c.known_day).where(analysts))
        assert {tuple(row) for row in labelled} == {(name, day(30)) for name in closed["transaction_id"]}
    here = (after["anomaly_scores"]["merchant_id"] == merchant).to_numpy()
    elsewhere = ~here & ~after["anomaly_scores"]["user_id"].isin(closed["user_id"]).to_numpy()
    assert here.any()
    counted = [frames["transaction_features"]["merchant_known_frauds_7d"] for frames in (after, without)]
    assert (counted[0] - counted[1])[here].ge(1).all()
    assert (counted[0] - counted[1])[elsewhere].eq(0).all()
    scores = [frames["anomaly_scores"]["anomaly_score"] for frames in (after, without)]
    assert scores[0][here].mean() > scores[1][here].mean()
    assert (scores[0] == scores[1])[elsewhere].all()


def night_of(deployment: Deployment, of: date) -> dict[str, pd.DataFrame]:
    """Run a night and read the features and scores that it left."""
    deployment.runner.run_day(SCORE, of)
    return {name: deployment.lake.read(name, of) for name in ("transaction_features", "anomaly_scores")}


def test_a_night_again_with_the_same_model_notes_nothing_and_with_other_decisions_what_changes(
    prepared: Deployment, database: Database
) -> None:
    prepared.runner.run_day(SCORE, day(29))
    number = int(alerts_of_day(database, day(29))["alert_id"].iloc[0])
    close_alert(database, number, "false_positive", "ada")
    before = alerts_of_day(database, day(29))
    prepared.runner.run_day(SCORE, day(29))
    assert "rescored" not in alert_history(database, number)["event_type"].tolist()
    # The same night in a deployment whose frauds were all taken back scores otherwise.
    features = prepared.lake.read("transaction_features", day(29))
    features[[name for name in FEATURE_COLUMNS if "fraud" in name]] = 0.0
    prepared.lake.write("transaction_features", day(29), features)
    for asset in ("anomaly_scores", "alerts", "alerts"):
        prepared.run_asset(asset, day(29))
    now = alerts_of_day(database, day(29))
    pd.testing.assert_frame_equal(now[now["alert_id"].isin(before["alert_id"])].reset_index(drop=True), before)
    with database.begin() as connection:
        noted = alert_events.c.event_type == "rescored"
        events = connection.execute(select(alert_events.c.alert_id, alert_events.c.after).where(noted)).all()
        runs = connection.execute(select(pipeline_runs.c.rows).where(pipeline_runs.c.asset == "alerts")).all()
    assert len(events) > 0
    assert len({row.alert_id for row in events}) == len(events)
    assert not all(row.after["is_alert"] for row in events)
    assert len(runs) == 4


def test_a_chargeback_that_repeats_what_an_analyst_confirmed_is_no_second_fraud(
    prepared: Deployment, database: Database, alert: pd.Series, landed: Path, tmp_path: Path
) -> None:
    close_alert(database, int(alert["alert_id"]), "confirmed_fraud", "ada", at=at(day(30), 9))
    prepared.runner.run_range(PREPARE, day(30), day(31))
    before = prepared.lake.read("transaction_features", day(31))
    file = tmp_path / "late" / "labels" / "repeated.csv"
    file.parent.mkdir(parents=True)
    file.write_text(f"transaction_id,is_fraud,label_known_at\n{alert['transaction_id']},1,{day(31)}T00:00:00Z\n")
    ingest_path(prepared.settings, tmp_path / "late", landed.parent / "export" / "source.yaml")
    prepared.runner.run_day(PREPARE, day(31))
    assert [source for _, source, _ in labels_of(prepared, alert["transaction_id"])] == ["analyst", "chargeback_file"]
    after = prepared.lake.read("transaction_features", day(31))
    concerned = (after["merchant_id"] == alert["merchant_id"]) & (after["event_time"] > at(day(31), 0))
    assert after.loc[concerned, "merchant_known_frauds_7d"].min() >= 1
    pd.testing.assert_frame_equal(after, before)


def test_bulk_decisions_on_the_related_transactions_are_labels_of_the_same_day(
    prepared: Deployment, database: Database, alert: pd.Series
) -> None:
    offered = related_transactions(database, int(alert["alert_id"]))
    names = offered["transaction_id"].head(20).tolist()
    assert len(names) > 5
    record_decisions(database, names, "confirmed_fraud", "ada", at=at(day(30), 9))
    prepared.runner.run_day(MERGE_LABELS, day(30))
    known = prepared.lake.read("fraud_labels", day(30))
    decided = known[known["label_source"] == "analyst"]
    # A payment of the hours after the decision cannot have been decided on.
    late = offered["event_time"] > at(day(30), 9)
    assert set(decided["transaction_id"]) == set(names) - set(offered.loc[late, "transaction_id"])


def test_a_day_of_labels_is_the_same_when_it_is_run_again_and_its_alert_is_open_again(
    prepared: Deployment, database: Database, alert: pd.Series
) -> None:
    close_alert(database, int(alert["alert_id"]), "confirmed_fraud", "ada", at=at(day(30), 9))
    prepared.runner.run_day(MERGE_LABELS, day(30))
    first = (prepared.lake.root / "fraud_labels" / f"{day(30)}.parquet").read_bytes()
    with database.begin(actor="bob") as connection:
        connection.execute(update(alerts).where(alerts.c.status == "closed").values(status="investigating"))
    prepared.runner.run_range(MERGE_LABELS, day(29), day(31))
    assert (prepared.lake.root / "fraud_labels" / f"{day(30)}.parquet").read_bytes() == first


def test_what_an_analyst_found_genuine_does_not_mature_unreported(
    prepared: Deployment, database: Database, alert: pd.Series
) -> None:
    name = alert["transaction_id"]
    matured = day(29) + timedelta(days=prepared.settings.label_maturity_days)
    close_alert(database, int(alert["alert_id"]), "inconclusive", "ada", at=at(day(30), 8))
    prepared.runner.run_range(MERGE_LABELS, day(30), matured)
    assert labels_of(prepared, name) == [(False, "unreported", alert["event_time"] + (matured - day(29)))]
    close_alert(database, int(alert["alert_id"]), "false_positive", "ada", at=at(day(30), 9))
    prepared.runner.run_range(MERGE_LABELS, day(30), matured)
    assert labels_of(prepared, name) == [(False, "analyst", at(day(30), 9))]


def test_decisions_are_filed_under_the_day_of_the_deployments_time_zone(
    prepared: Deployment, database: Database
) -> None:
    name = prepared.lake.read("validated_transactions", day(3))["transaction_id"].iloc[0]
    record_decisions(database, [name], "confirmed_fraud", "ada", at=at(day(10), 20))
    record_decisions(database, [name], "inconclusive", "ada", at=at(day(10), 3))
    for zone, expected in (("UTC", day(10)), ("Pacific/Auckland", day(11)), ("Pacific/Honolulu", day(10))):
        assert list(decided_by_day(database, day(8), day(12), zone)) == [expected]
    assert list(decided_by_day(database, day(11), day(12), "Pacific/Auckland")) == [day(11)]


def test_training_takes_what_nobody_reported_for_genuine_only_once_it_matured(prepared: Deployment) -> None:
    windows = TrainingWindows(day(5), day(8), day(9), day(19), day(20))
    rows = labelled_features(prepared.lake, day(9), day(19), windows, ("amount",))
    matured = rows["event_time"] + timedelta(days=prepared.settings.label_maturity_days) < windows.known_before
    everything = prepared.lake_rows("fraud_labels")
    known = everything[everything["label_known_at"] < windows.known_before]
    reported = rows["transaction_id"].isin(known.loc[known["label_source"] != "unreported", "transaction_id"])
    assert (~matured & ~reported).sum() > 100
    assert (rows["is_fraud"].notna() == (matured | reported)).all()
    assert not rows.loc[matured & ~reported, "is_fraud"].any()


# Random reviews


def test_each_night_draws_below_the_threshold_into_the_queue_without_counting_as_alerts(
    prepared: Deployment, database: Database
) -> None:
    prepared.runner.run_range(SCORE, day(29), day(30))
    queue = open_reviews(database, limit=10_000)
    drawn = queue[queue["selection"] == "random_sample"]
    assert drawn["event_day"].value_counts().to_dict() == {day(29): 5, day(30): 5}
    assert set(drawn["risk_level"]) == {"LOW"}
    assert set(drawn["reason_text"]) == {REASON_TEXT}
    scores = prepared.lake_rows("anomaly_scores")
    alerted = scores.loc[scores["is_alert"], "transaction_id"]
    assert not set(drawn["transaction_id"]) & set(alerted)
    assert sum(count_by_risk(database, day(29), day(30)).values()) == len(alerted)
    for number in (29, 30):
        stored = prepared.lake.read("random_reviews", day(number))
        assert set(stored["transaction_id"]) == set(drawn.loc[drawn["event_day"] == day(number), "transaction_id"])


def test_a_night_again_draws_the_same_and_what_is_in_review_stays(prepared: Deployment, database: Database) -> None:
    prepared.runner.run_day(SCORE, day(29))
    number = int(open_reviews(database).query("selection == 'random_sample'")["alert_id"].iloc[0])
    close_alert(database, number, "false_positive", "ada")
    with database.begin() as connection:
        before = connection.execute(select(alerts).order_by(alerts.c.alert_id)).all()
    prepared.runner.run_day(SCORE, day(29))
    with database.begin() as connection:
        assert connection.execute(select(alerts).order_by(alerts.c.alert_id)).all() == before


def test_without_random_reviews_nothing_is_drawn(prepared: Deployment, database: Database) -> None:
    prepared.changed(random_reviews_per_day=0).runner.run_day(SCORE, day(29))
    assert set(open_reviews(database, limit=10_000)["selection"]) == {"threshold"}
    assert prepared.lake.read("random_reviews", day(29)).empty
