from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from fraud_pipeline.adapters.database.alert_repository import (
    ALERT_COLUMNS,
    alerts_of_day,
    count_by_risk,
    insert_new,
    most_urgent,
)
from fraud_pipeline.adapters.database.alert_tables import alerts
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.review_repository import close_alert
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import LINEAGE_COLUMNS

UNREACHABLE = Database("postgresql://127.0.0.1:1/nowhere")
DAY = date(2026, 3, 1)
NEXT_DAY = date(2026, 3, 2)
REASONS = [{"feature": "amount", "value": 812.5, "text": 'far above the usual "9.90"'}, {"feature": "is_night"}]


def new_alerts(*transaction_ids: str, day: date = DAY, **values: object) -> pd.DataFrame:
    rows = len(transaction_ids)
    frame = pd.DataFrame(
        {
            "transaction_id": list(transaction_ids),
            "user_id": "u1",
            "merchant_id": "m1",
            "event_time": [pd.Timestamp(day, tz="UTC").as_unit("us") + pd.Timedelta(hours=row) for row in range(rows)],
            "event_day": [day] * rows,
            "amount": 812.5,
            "anomaly_score": 0.9,
            "score_percentile": 0.999,
            "confidence": 0.8,
            "risk_level": "HIGH",
            "priority": 2,
            "reasons": [REASONS] * rows,
            "reason_text": "The amount is far above the usual.",
            **dict.fromkeys(LINEAGE_COLUMNS, "1"),
        }
    )
    return frame.assign(
        **{name: pd.Series(value if isinstance(value, list) else [value] * rows) for name, value in values.items()}
    )


def test_alert_reads_back_as_it_was_raised_and_starts_open(database: Database) -> None:
    frame = new_alerts("t1", "t2")
    assert insert_new(database, frame) == 2
    rows = alerts_of_day(database, DAY)
    pd.testing.assert_frame_equal(rows[list(ALERT_COLUMNS)], frame[list(ALERT_COLUMNS)])
    assert rows["alert_id"].tolist() == [1, 2]
    assert rows["status"].tolist() == ["open", "open"]
    assert rows["version"].tolist() == [1, 1]
    assert rows[["outcome", "assignee"]].isna().all(axis=None)
    assert rows[["raised_at", "created_at", "updated_at"]].notna().all(axis=None)
    assert rows["raised_at"].dtype == "datetime64[us, UTC]"


def test_time_of_raising_may_be_given(database: Database) -> None:
    raised_at = pd.Timestamp("2026-03-02 02:00Z").as_unit("us")
    insert_new(database, new_alerts("t1", raised_at=raised_at))
    assert alerts_of_day(database, DAY)["raised_at"].tolist() == [raised_at]


def test_transaction_has_one_alert_for_ever_and_what_analysts_and_the_first_run_wrote_stays(database: Database) -> None:
    insert_new(database, new_alerts("t1", "t2"))
    close_alert(database, 1, "confirmed_fraud", "eve")
    with database.begin() as connection:
        before = connection.execute(select(alerts).order_by(alerts.c.alert_id)).all()
    assert [row.version for row in before] == [3, 1]
    again = new_alerts("t1", "t2", "t3", anomaly_score=0.1, risk_level="LOW", model_version="2")
    assert insert_new(database, again) == 1
    assert insert_new(database, again) == 0
    with database.begin() as connection:
        after = connection.execute(select(alerts).order_by(alerts.c.alert_id)).all()
    assert after[:2] == before
    # Re-runs leave no gaps in the numbers.
    assert [row.alert_id for row in after] == [1, 2, 3]


def test_callers_at_once_raise_each_alert_once(database: Database) -> None:
    names = [f"t{row:03d}" for row in range(200)]
    together = Barrier(4, timeout=20)

    def insert(frame: pd.DataFrame) -> int:
        together.wait()
        return insert_new(database, frame)

    frames = [new_alerts(*names), new_alerts(*names).iloc[::-1]] * 2
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(insert, frames)) == 200
    assert len(most_urgent(database, 1000)) == 200


def test_nothing_is_inserted_when_one_alert_is_refused(database: Database) -> None:
    with pytest.raises(InvalidDataError, match="ck_alerts_risk_level"):
        insert_new(database, new_alerts("t1", "t2", risk_level=["HIGH", "SEVERE"]))
    assert alerts_of_day(database, DAY).empty


def test_no_alerts_insert_nothing(database: Database) -> None:
    assert insert_new(database, new_alerts("t1").iloc[:0]) == 0


def test_reasons_may_come_as_arrays_of_numpy_values_or_as_json_text(database: Database) -> None:
    from_parquet = np.array([{"feature": "amount", "value": np.float64(2.5), "rank": np.int64(1)}], dtype=object)
    frame = new_alerts("t1", "t2").assign(reasons=pd.Series([from_parquet, '[{"feature": "amount"}]'], dtype=object))
    insert_new(database, frame)
    assert alerts_of_day(database, DAY)["reasons"].tolist() == [
        [{"feature": "amount", "value": 2.5, "rank": 1}],
        [{"feature": "amount"}],
    ]


def test_missing_reasons_are_refused(database: Database) -> None:
    for missing in (None, np.nan, pd.NA):
        frame = new_alerts("t1").assign(reasons=pd.Series([missing], dtype=object))
        with pytest.raises(InvalidDataError, match='null value in column "reasons"'):
            insert_new(database, frame)


def test_reason_without_a_json_form_names_the_column(database: Database) -> None:
    for value in (float("nan"), {1, 2}):
        frame = new_alerts("t1").assign(reasons=pd.Series([[{"value": value}]], dtype=object))
        with pytest.raises(InvalidDataError, match=r"column reasons .* has a value without a JSON form"):
            insert_new(database, frame)


@pytest.mark.parametrize("column", ["status", "outcome", "assignee", "version", "alert_id", "case_id", "due_at"])
def test_columns_of_analysts_cannot_be_written(column: str) -> None:
    with pytest.raises(InvalidDataError, match=f"no place for the column {column}"):
        insert_new(UNREACHABLE, new_alerts("t1").assign(**{column: 1}))


def test_transaction_twice_in_one_frame_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="two rows with transaction_id t1"):
        insert_new(UNREACHABLE, new_alerts("t1", "t1"))


def test_most_urgent_goes_by_priority_then_score_and_leaves_out_closed_alerts(database: Database) -> None:
    insert_new(
        database,
        new_alerts("a", "b", "c", "d", "e", priority=[2, 1, 1, 1, 5], anomaly_score=[0.99, 0.7, 0.8, 0.95, 1.0]),
    )
    insert_new(database, new_alerts("f", day=NEXT_DAY, priority=3))
    close_alert(database, 4, "false_positive", "eve")
    assert most_urgent(database, 4)["transaction_id"].tolist() == ["c", "b", "a", "f"]
    assert most_urgent(database, 9, last_day=DAY)["transaction_id"].tolist() == ["c", "b", "a", "e"]
    assert most_urgent(database, 9, first_day=NEXT_DAY)["transaction_id"].tolist() == ["f"]
    assert most_urgent(database, 9, date(2026, 1, 1), date(2026, 1, 2)).empty


def test_risk_levels_are_counted_over_the_days_and_absent_ones_are_zero(database: Database) -> None:
    insert_new(database, new_alerts("a", "b", "c", risk_level=["CRITICAL", "HIGH", "HIGH"]))
    insert_new(database, new_alerts("d", day=NEXT_DAY))
    assert count_by_risk(database, DAY, DAY) == {"LOW": 0, "MEDIUM": 0, "HIGH": 2, "CRITICAL": 1}
    assert count_by_risk(database, DAY, NEXT_DAY) == {"LOW": 0, "MEDIUM": 0, "HIGH": 3, "CRITICAL": 1}


def test_what_was_drawn_at_random_is_no_alert(database: Database) -> None:
    insert_new(database, new_alerts("a"))
    insert_new(database, new_alerts("b", risk_level="LOW", priority=5, selection="random_sample"))
    assert count_by_risk(database, DAY, DAY) == {"LOW": 0, "MEDIUM": 0, "HIGH": 1, "CRITICAL": 0}
    assert most_urgent(database, 9)["transaction_id"].tolist() == ["a"]
    assert alerts_of_day(database, DAY)["transaction_id"].tolist() == ["a"]


def test_alerts_of_a_day_are_in_the_order_of_their_transactions(database: Database) -> None:
    insert_new(database, new_alerts("z", "a", "m"))
    insert_new(database, new_alerts("later", day=NEXT_DAY))
    assert alerts_of_day(database, DAY)["transaction_id"].tolist() == ["z", "a", "m"]
