from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, event, func, select, text
from sqlalchemy.engine import Connection

from fraud_pipeline.adapters.database import day_repository
from fraud_pipeline.adapters.database.bulk import copy_frame, read_frame
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.metrics_repository import replace_day_metrics
from fraud_pipeline.adapters.database.partitions import create_partitions
from fraud_pipeline.adapters.database.tables import (
    anomaly_scores,
    model_metrics,
    pipeline_runs,
    transaction_features,
    transactions,
)
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import FEATURE_COLUMNS, LINEAGE_COLUMNS, RISK_LEVELS
from fraud_pipeline.core.transactions import MAX_AMOUNT, round_amounts

# Frames that do not fit are refused before anything connects.
UNREACHABLE = Database("postgresql://127.0.0.1:1/nowhere")
DAY = date(2026, 3, 1)
NEXT_DAY = date(2026, 3, 2)


def events(rows: int, day: date = DAY, prefix: str = "t") -> pd.DataFrame:
    seconds = pd.to_timedelta(np.linspace(0, 86_399, rows).astype(int), unit="s")
    return pd.DataFrame(
        {
            "transaction_id": [f"{prefix}{row:06d}" for row in range(rows)],
            "user_id": [f"u{row % 7}" for row in range(rows)],
            "merchant_id": [f"m{row % 3}" for row in range(rows)],
            "event_time": (pd.Timestamp(day, tz="UTC") + seconds).astype("datetime64[us, UTC]"),
        }
    )


def day_of_transactions(rows: int, day: date = DAY, prefix: str = "t") -> pd.DataFrame:
    return events(rows, day, prefix).assign(
        amount=np.arange(rows) + 0.25,
        source_name="bank",
        source_file="received.csv",
        row_number=np.arange(1, rows + 1),
        file_sha256="ab" * 32,
    )


def day_of_features(rows: int, day: date = DAY) -> pd.DataFrame:
    generator = np.random.default_rng(7)
    features = pd.DataFrame(generator.lognormal(size=(rows, len(FEATURE_COLUMNS))), columns=list(FEATURE_COLUMNS))
    features.loc[features.index % 5 == 0, "user_seconds_since_last"] = np.nan
    return pd.concat([events(rows, day), features], axis=1)


def day_of_scores(rows: int, day: date = DAY) -> pd.DataFrame:
    generator = np.random.default_rng(11)
    return (
        events(rows, day)
        .drop(columns="merchant_id")
        .assign(
            isolation_forest_score=generator.random(rows),
            local_outlier_factor_score=generator.random(rows) * 4,
            ensemble_score=generator.random(rows),
            feedback_classifier_score=generator.random(rows),
            anomaly_score=generator.random(rows),
            score_percentile=generator.random(rows),
            confidence=generator.random(rows),
            risk_level=[RISK_LEVELS[row % 4] for row in range(rows)],
            priority=np.arange(rows) % 5 + 1,
            is_alert=np.arange(rows) % 5 == 0,
            **dict.fromkeys(LINEAGE_COLUMNS, "1"),
        )
    )


def replace_day(database: Database, table: Table, day: date, frame: pd.DataFrame, run_id: str = "run") -> None:
    day_repository.replace_day(database, table, day, frame, run_id=run_id, asset=f"asset {table.name}")


def stored(database: Database, table: Table, day: date = DAY) -> pd.DataFrame:
    statement = select(table).where(table.c.event_day == day).order_by(*table.primary_key)
    with database.begin() as connection:
        return read_frame(connection, statement)


def expected(frame: pd.DataFrame, table: Table, day: date = DAY) -> pd.DataFrame:
    return frame.assign(event_day=day)[list(table.columns.keys())]


@pytest.mark.parametrize(
    ("table", "frame"),
    [
        (transactions, day_of_transactions(50)),
        (transaction_features, day_of_features(50)),
        (anomaly_scores, day_of_scores(50)),
    ],
    ids=lambda value: value.name if isinstance(value, Table) else "",
)
def test_a_day_reads_back_as_it_was_written(database: Database, table: Table, frame: pd.DataFrame) -> None:
    replace_day(database, table, DAY, frame)
    pd.testing.assert_frame_equal(stored(database, table), expected(frame, table), check_dtype=True)


def test_missing_features_become_null_and_other_floats_keep_every_bit(database: Database) -> None:
    frame = day_of_features(3).assign(amount=[0.1 + 0.2, np.inf, 5e-324])
    frame["user_seconds_since_last"] = [np.nan, 1.0, np.nan]
    replace_day(database, transaction_features, DAY, frame)
    assert stored(database, transaction_features)["amount"].tolist() == [0.1 + 0.2, np.inf, 5e-324]
    with database.begin() as connection:
        nulls = select(func.count()).where(transaction_features.c.user_seconds_since_last.is_(None))
        assert connection.execute(nulls).scalar_one() == 2


def test_text_keeps_quotes_line_breaks_emptiness_and_every_script(database: Database) -> None:
    names = ['say "hi"', "two\nlines, and a comma", "", "köttbullar 肉丸 \\N \\."]
    replace_day(database, transactions, DAY, day_of_transactions(4).assign(merchant_id=names))
    assert stored(database, transactions)["merchant_id"].tolist() == names


def test_same_frame_twice_leaves_the_same_rows_and_writes_none_again(database: Database) -> None:
    physical = select(text("ctid::text"), text("xmin::text"), transactions.c.transaction_id).order_by(
        transactions.c.transaction_id
    )
    replace_day(database, transactions, DAY, day_of_transactions(20))
    with database.begin() as connection:
        before = connection.execute(physical).all()
    replace_day(database, transactions, DAY, day_of_transactions(20).iloc[::-1])
    with database.begin() as connection:
        assert connection.execute(physical).all() == before


def test_replacing_a_day_drops_changes_and_adds_rows_of_that_day_only(database: Database) -> None:
    replace_day(database, transactions, DAY, day_of_transactions(10))
    replace_day(database, transactions, NEXT_DAY, day_of_transactions(10, NEXT_DAY, "n"))
    changed = day_of_transactions(12).iloc[3:].assign(amount=99.0).reset_index(drop=True)
    replace_day(database, transactions, DAY, changed)
    pd.testing.assert_frame_equal(stored(database, transactions), expected(changed, transactions))
    assert len(stored(database, transactions, NEXT_DAY)) == 10


def test_empty_frame_empties_the_day(database: Database) -> None:
    replace_day(database, transactions, DAY, day_of_transactions(3))
    replace_day(database, transactions, DAY, day_of_transactions(0))
    assert stored(database, transactions).empty
    assert stored(database, transactions).dtypes["event_time"] == "datetime64[us, UTC]"


def test_transaction_that_two_days_deliver_is_a_row_of_both(database: Database) -> None:
    replace_day(database, transactions, DAY, day_of_transactions(3))
    replace_day(database, transactions, NEXT_DAY, day_of_transactions(1, NEXT_DAY))
    assert stored(database, transactions)["transaction_id"].tolist() == ["t000000", "t000001", "t000002"]
    assert stored(database, transactions, NEXT_DAY)["transaction_id"].tolist() == ["t000000"]


def runs(database: Database) -> list[tuple[Any, ...]]:
    columns = [column for column in pipeline_runs.c if column.name != "written_at"]
    with database.begin() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(pipeline_runs.c.pipeline_run_id))]


def test_each_written_day_is_recorded_with_its_run_and_a_number_that_rises(database: Database) -> None:
    replace_day(database, transactions, DAY, day_of_transactions(3), "first")
    replace_day(database, transactions, NEXT_DAY, day_of_transactions(2, NEXT_DAY), "first")
    replace_day(database, transactions, DAY, day_of_transactions(4), "second")
    first, second = (number for number, run, _, day, _ in runs(database) if day == DAY)
    assert first < second
    replace_day(database, transactions, DAY, day_of_transactions(5), "first")
    assert [row[1:] for row in runs(database)] == [
        ("first", "asset transactions", NEXT_DAY, 2),
        ("second", "asset transactions", DAY, 4),
        ("first", "asset transactions", DAY, 5),
    ]
    assert runs(database)[-1][0] > second


def test_refused_day_leaves_no_record_of_a_run(database: Database) -> None:
    with pytest.raises(InvalidDataError):
        replace_day(database, anomaly_scores, DAY, day_of_scores(2).assign(priority=9))
    assert runs(database) == []


def test_months_are_made_as_days_need_them(database: Database) -> None:
    for day in (date(2024, 2, 29), date(2030, 12, 31)):
        replace_day(database, transactions, day, day_of_transactions(3, day))
        assert len(stored(database, transactions, day)) == 3


def test_days_of_new_months_written_at_once_all_get_their_months(database: Database) -> None:
    days = [date(2027, month, 1) for month in range(1, 7)]
    together = Barrier(len(days), timeout=20)

    def write(day: date) -> None:
        together.wait()
        replace_day(database, transactions, day, day_of_transactions(5, day))

    with ThreadPoolExecutor(len(days)) as pool:
        for done in [pool.submit(write, day) for day in days]:
            done.result()
    assert [len(stored(database, transactions, day)) for day in days] == [5] * len(days)


@given(st.lists(st.floats(-MAX_AMOUNT, MAX_AMOUNT), min_size=1, max_size=60))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rounded_amounts_come_back_from_the_database_bit_by_bit(database: Database, amounts: list[float]) -> None:
    rounded = round_amounts(pd.Series(amounts))
    replace_day(database, transactions, DAY, day_of_transactions(len(amounts)).assign(amount=rounded))
    assert stored(database, transactions)["amount"].tolist() == rounded.tolist()


def test_day_is_replaced_quickly_although_statistics_call_its_table_empty(
    database: Database, database_url: str
) -> None:
    # As when PostgreSQL gathers them by itself while a large day is being copied in.
    day = day_of_scores(20_000)
    with database.begin() as connection:
        create_partitions(connection, DAY, DAY)
    with database.begin() as connection:
        copy_frame(connection, anomaly_scores, day.assign(event_day=DAY))
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as beside:
            beside.execute(text("VACUUM ANALYZE anomaly_scores_y2026m03"))
    # A loop over the rows of both tables takes more than a minute.
    limited = Database(f"{database_url}&options=-c%20statement_timeout%3D15000")
    replace_day(limited, anomaly_scores, DAY, day.assign(confidence=0.25))
    limited.dispose()
    assert (stored(database, anomaly_scores)["confidence"] == 0.25).all()


def test_callers_of_the_same_day_at_once_leave_one_frame_whole(database: Database) -> None:
    frames = [day_of_transactions(400 + 50 * n).assign(source_file=f"file{n}") for n in range(4)]
    together = Barrier(len(frames), timeout=20)

    def write(frame: pd.DataFrame) -> None:
        together.wait()
        for _ in range(3):
            replace_day(database, transactions, DAY, frame)

    with ThreadPoolExecutor(len(frames)) as pool:
        for done in [pool.submit(write, frame) for frame in frames]:
            done.result()
    rows = stored(database, transactions)
    (winner,) = rows["source_file"].unique()
    pd.testing.assert_frame_equal(rows, expected(frames[int(winner[-1])], transactions))


@pytest.fixture
def broken_upsert(database: Database) -> Iterator[None]:
    """Let PostgreSQL fail at the last statement of a replacement, after the DELETE."""

    def fail(connection: Connection, cursor: object, statement: str, *rest: object) -> None:  # noqa: ARG001 - the hook's form
        if statement.startswith("INSERT INTO transactions"):
            connection.exec_driver_sql("SELECT 1 / 0")

    event.listen(database.engine, "before_cursor_execute", fail)
    yield
    event.remove(database.engine, "before_cursor_execute", fail)


def test_failure_between_delete_and_insert_leaves_the_old_day(
    database: Database, request: pytest.FixtureRequest
) -> None:
    old = day_of_transactions(10)
    replace_day(database, transactions, DAY, old)
    request.getfixturevalue("broken_upsert")
    with pytest.raises(InvalidDataError, match="division by zero"):
        replace_day(database, transactions, DAY, day_of_transactions(5, prefix="new"))
    pd.testing.assert_frame_equal(stored(database, transactions), expected(old, transactions))


def test_value_that_a_constraint_refuses_leaves_the_old_day_and_names_the_row(database: Database) -> None:
    old = day_of_scores(10)
    replace_day(database, anomaly_scores, DAY, old)
    bad = day_of_scores(10).assign(confidence=[0.5] * 9 + [1.5])
    with pytest.raises(InvalidDataError, match=r"ck_anomaly_scores_confidence.*t000009"):
        replace_day(database, anomaly_scores, DAY, bad)
    pd.testing.assert_frame_equal(stored(database, anomaly_scores), expected(old, anomaly_scores))


def test_value_of_another_type_names_line_and_column(database: Database) -> None:
    with pytest.raises(InvalidDataError, match=r"type bigint: \"two\".*line 2, column row_number"):
        replace_day(database, transactions, DAY, day_of_transactions(2).assign(row_number=["1", "two"]))


def test_column_of_mixed_types_is_named(database: Database) -> None:
    with pytest.raises(InvalidDataError, match="column row_number with type object"):
        replace_day(
            database, transactions, DAY, day_of_transactions(2).assign(row_number=pd.Series([1, "2"], dtype=object))
        )
    assert stored(database, transactions).empty


def test_key_of_mixed_types_is_named() -> None:
    frame = day_of_transactions(2).assign(transaction_id=pd.Series([1, "2"], dtype=object))
    with pytest.raises(InvalidDataError, match="table transactions mixes types in transaction_id"):
        replace_day(UNREACHABLE, transactions, DAY, frame)


def test_missing_column_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="table transactions lacks the column amount, source_file"):
        replace_day(UNREACHABLE, transactions, DAY, day_of_transactions(2).drop(columns=["amount", "source_file"]))


def test_unknown_column_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="table transactions has no place for the column colour"):
        replace_day(UNREACHABLE, transactions, DAY, day_of_transactions(2).assign(colour="red"))


def test_transaction_that_is_there_twice_is_refused() -> None:
    frame = pd.concat([day_of_transactions(2), day_of_transactions(1)])
    with pytest.raises(InvalidDataError, match="two rows with transaction_id t000000"):
        replace_day(UNREACHABLE, transactions, DAY, frame)


def test_row_that_says_another_day_is_refused() -> None:
    frame = day_of_transactions(3).assign(event_day=[DAY, DAY, NEXT_DAY])
    with pytest.raises(InvalidDataError, match=r"1 rows .* not of the day 2026-03-01, the first is t000002"):
        replace_day(UNREACHABLE, transactions, DAY, frame)


def test_frame_may_name_the_day_itself(database: Database) -> None:
    replace_day(database, transactions, DAY, day_of_transactions(3).assign(event_day=DAY))
    assert len(stored(database, transactions)) == 3


def test_event_too_far_from_the_day_for_any_time_zone_is_refused() -> None:
    with pytest.raises(InvalidDataError, match=r"3 rows .* not of the day 2026-03-04"):
        replace_day(UNREACHABLE, transactions, date(2026, 3, 4), day_of_transactions(3))


def test_day_of_a_time_zone_ahead_of_utc_is_accepted(database: Database) -> None:
    auckland = day_of_transactions(3)
    auckland["event_time"] -= pd.Timedelta(hours=13)
    replace_day(database, transactions, DAY, auckland)
    assert len(stored(database, transactions)) == 3


def metrics(**values: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model_version": "3",
            "metric": list(values),
            "value": list(values.values()),
            "computed_as_of": pd.Timestamp("2026-03-09 04:00Z").as_unit("us"),
        }
    )


def test_metrics_of_a_day_are_replaced_and_those_of_other_days_and_names_kept(database: Database) -> None:
    replace_day_metrics(database, NEXT_DAY, metrics(recall=0.1), run_id="run")
    replace_day_metrics(database, DAY, metrics(precision=0.5, recall=np.nan), run_id="run")
    replace_day_metrics(database, DAY, metrics(recall=0.25).assign(model_version="2"), run_id="run")
    for _ in range(2):
        replace_day_metrics(database, DAY, metrics(recall=0.75, alerts=12), run_id="run")
    rows = stored(database, model_metrics)
    assert dict(zip(rows["metric"], rows["value"], strict=True)) == {"precision": 0.5, "alerts": 12, "recall": 0.75}
    assert rows["computed_as_of"].tolist() == [pd.Timestamp("2026-03-09 04:00Z")] * 3
    assert len(stored(database, model_metrics, NEXT_DAY)) == 1


def test_metrics_keep_their_interval(database: Database) -> None:
    replace_day_metrics(database, DAY, metrics(recall=0.5).assign(low=0.25, high=0.75), run_id="run")
    rows = stored(database, model_metrics)
    assert rows[["value", "low", "high"]].to_numpy().tolist() == [[0.5, 0.25, 0.75]]


def test_metric_that_is_there_twice_is_refused() -> None:
    frame = pd.concat([metrics(recall=0.5), metrics(recall=0.6)])
    with pytest.raises(InvalidDataError, match="two rows with model_version 3, metric recall"):
        replace_day_metrics(UNREACHABLE, DAY, frame, run_id="run")
