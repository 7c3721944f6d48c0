"""What decisions leave as labels, and what days that are scored again leave of alerts."""

from datetime import timedelta
from multiprocessing import get_context
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import select, text

from fraud_pipeline.adapters.database.alert_repository import raise_day
from fraud_pipeline.adapters.database.alert_tables import deployment_settings
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.review_repository import close_alert, record_decisions
from fraud_pipeline.adapters.database.tables import fraud_labels
from fraud_pipeline.adapters.database.workflow_repository import (
    alert_history,
    keep_time_zone,
)
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline_tests.adapters.test_database_alerts import DAY, new_alerts
from fraud_pipeline_tests.adapters.test_database_reviews import put_transactions
from fraud_pipeline_tests.adapters.test_database_workflow import (
    HOURS,
    NOON,
    all_alerts,
    case_of,
    put,
)


def labels(database: Database) -> list[tuple[Any, ...]]:
    columns = ("known_day", "transaction_id", "user_id", "event_day", "is_fraud", "label_source", "label_known_at")
    with database.begin() as connection:
        statement = select(*(fraud_labels.c[name] for name in columns)).order_by(*fraud_labels.primary_key)
        return [tuple(row) for row in connection.execute(statement)]


def test_a_decision_is_a_label_of_the_day_in_the_zone_of_the_deployment(database: Database) -> None:
    put_transactions(database, a=("u1", "m1", 0), b=("u2", "m1", -1))
    put(database, "a")
    keep_time_zone(database, "Pacific/Auckland")
    keep_time_zone(database, "Pacific/Auckland")
    close_alert(database, 1, "confirmed_fraud", "ada", at=NOON)
    record_decisions(database, ["b"], "false_positive", "ada", at=NOON - timedelta(hours=2))
    assert labels(database) == [
        (
            (NOON - timedelta(days=0)).date(),
            "b",
            "u2",
            DAY - timedelta(days=1),
            False,
            "analyst",
            NOON - timedelta(hours=2),
        ),
        (DAY + timedelta(days=1), "a", "u1", DAY, True, "analyst", NOON),
    ]


def test_what_is_inconclusive_is_no_label_and_a_changed_mind_is_another_one(database: Database) -> None:
    put(database, "a")
    close_alert(database, 1, "inconclusive", "ada", at=NOON)
    assert labels(database) == []
    close_alert(database, 1, "confirmed_fraud", "ada", at=NOON + timedelta(hours=1))
    close_alert(database, 1, "false_positive", "bob", at=NOON + timedelta(hours=2))
    assert [row[4] for row in labels(database)] == [True, False]


def test_at_the_same_instant_fraud_wins(database: Database) -> None:
    put(database, "a")
    close_alert(database, 1, "confirmed_fraud", "ada", at=NOON)
    close_alert(database, 1, "false_positive", "bob", at=NOON)
    assert [row[4] for row in labels(database)] == [True]


def test_a_zone_that_is_none_is_refused(database: Database) -> None:
    with pytest.raises(InvalidDataError, match="Mars/Olympus"):
        keep_time_zone(database, "Mars/Olympus")
    with database.begin() as connection:
        assert connection.execute(select(deployment_settings.c.time_zone)).scalars().all() == ["UTC"]


def scores_of(frame: pd.DataFrame, **changes: Any) -> pd.DataFrame:  # noqa: ANN401 - columns of any type
    return frame.assign(**({"is_alert": True} | changes))


def test_a_day_scored_again_raises_nothing_twice_and_notes_each_change_once(database: Database) -> None:
    frame = new_alerts("a", "b", "c")
    raised = raise_day(database, DAY, frame, scores_of(frame), sla_hours=HOURS, run_id="night 1")
    assert raised == (3, 0)
    close_alert(database, 2, "confirmed_fraud", "ada")
    before = all_alerts(database)
    assert raise_day(database, DAY, frame, scores_of(frame), sla_hours=HOURS, run_id="night 2") == (0, 0)
    # Another model: b would have scored lower, c would be no alert.
    again = scores_of(
        frame, anomaly_score=[0.9, 0.7, 0.1], is_alert=[True, True, False], model_version="2", run_id="night 3"
    )
    for run_id in ("night 3", "night 4"):
        left = raise_day(database, DAY, again.iloc[:2][frame.columns], again, sla_hours=HOURS, run_id=run_id)
        assert left == (0, 2 if run_id == "night 3" else 0)
    pd.testing.assert_frame_equal(all_alerts(database), before)
    event = alert_history(database, 2).iloc[-1]
    assert (event["event_type"], event["actor"], event["run_id"]) == ("rescored", "pipeline", "night 3")
    assert (event["before"]["anomaly_score"], event["after"]["anomaly_score"]) == (0.9, 0.7)
    assert (event["before"]["model_version"], event["after"]["model_version"]) == ("1", "2")
    event = alert_history(database, 3).iloc[-1]
    assert (event["before"]["is_alert"], event["after"]["is_alert"]) == (True, False)
    with database.begin() as connection:
        written = connection.execute(text("SELECT run_id, rows FROM pipeline_runs WHERE asset = 'alerts'")).all()
    assert [tuple(row) for row in written] == [(f"night {n}", 3) for n in range(1, 5)]


def test_a_day_without_transactions_is_written_and_its_alerts_would_be_none(database: Database) -> None:
    frame = new_alerts("a")
    raise_day(database, DAY, frame, scores_of(frame), sla_hours=HOURS, run_id="night 1")
    nothing = scores_of(frame).iloc[:0]
    raised = raise_day(database, DAY, frame.iloc[:0], nothing, sla_hours=HOURS, run_id="night 2")
    assert raised == (0, 1)
    assert alert_history(database, 1).iloc[-1]["after"] == {"is_alert": False}


def raise_in_a_process(url: str, names: list[str], run_id: str) -> int:
    frame = new_alerts(*names, user_id=[f"u{n % 7}" for n in range(len(names))])
    database = Database(url)
    try:
        return raise_day(database, DAY, frame, scores_of(frame), sla_hours=HOURS, run_id=run_id).new
    finally:
        database.dispose()


def test_two_processes_that_raise_the_same_day_at_once_raise_each_alert_once(
    database: Database, database_url: str
) -> None:
    names = [f"t{n:03}" for n in range(60)]
    with get_context("spawn").Pool(2) as pool:
        new = pool.starmap(raise_in_a_process, [(database_url, names, "one"), (database_url, names, "two")])
    assert sorted(new) == [0, 60]
    found = all_alerts(database)
    assert sorted(found["transaction_id"]) == names
    assert found.groupby("user_id")["case_id"].nunique().eq(1).all()
    assert {case_of(database, int(n))["version"] for n in found["case_id"].unique()} == {1}
