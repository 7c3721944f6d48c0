import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from sqlalchemy import Table, func, select, text

from fraud_pipeline.adapters.database.columns import metadata
from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.partitions import create_partitions, detach_partitions, is_partitioned
from fraud_pipeline.adapters.database.tables import model_metrics, transactions
from fraud_pipeline.adapters.faults import is_transient
from fraud_pipeline.core.errors import DatabaseError
from fraud_pipeline_tests.adapters.test_database_days import day_of_transactions

PARTITIONED = ("anomaly_scores", "fraud_labels", "rejected_transactions", "transaction_features", "transactions")


def months(database: Database, table: str = "transactions") -> list[str]:
    statement = text(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:table) ORDER BY 1"
    )
    with database.begin() as connection:
        return list(connection.scalars(statement, {"table": table}))


def count(database: Database, table: Table = transactions) -> int:
    with database.begin() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def create(database: Database, first: date, last: date) -> int:
    with database.begin() as connection:
        return create_partitions(connection, first, last)


def detach(database: Database, before: date) -> list[str]:
    with database.begin() as connection:
        return detach_partitions(connection, before)


@pytest.fixture
def three_months(database: Database) -> Database:
    """Give transactions of the middle of January, February and March."""
    for month in (1, 2, 3):
        day = date(2026, month, 15)
        replace_day(database, transactions, day, day_of_transactions(month, day), run_id="r", asset="a")
    return database


def test_the_large_tables_are_partitioned() -> None:
    assert tuple(sorted(name for name, table in metadata.tables.items() if is_partitioned(table))) == PARTITIONED
    assert not is_partitioned(model_metrics)


def test_months_from_one_day_to_another_are_made_for_every_table_and_only_once(database: Database) -> None:
    assert create(database, date(2025, 12, 31), date(2026, 2, 1)) == 3 * len(PARTITIONED)
    assert create(database, date(2025, 12, 1), date(2026, 2, 28)) == 0
    for table in PARTITIONED:
        assert months(database, table) == [f"{table}_y2025m12", f"{table}_y2026m01", f"{table}_y2026m02"]


def test_partitions_have_the_keys_and_indexes_of_their_table(database: Database) -> None:
    create(database, date(2026, 1, 1), date(2026, 1, 1))
    statement = text("SELECT count(*) FROM pg_indexes WHERE tablename = :table")
    with database.begin() as connection:
        for table in PARTITIONED:
            counts = [connection.scalar(statement, {"table": name}) for name in (table, f"{table}_y2026m01")]
            assert counts[0] == counts[1] == len(metadata.tables[table].indexes) + 1


def test_callers_that_make_the_same_months_at_once_share_them(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: create(database, date(2026, 1, 1), date(2026, 4, 1)), range(4)))
    assert sorted(made) == [0, 0, 0, 4 * len(PARTITIONED)]


def test_making_a_month_neither_waits_for_readers_nor_stops_them(three_months: Database) -> None:
    with three_months.begin() as reader:
        assert reader.execute(select(func.count()).select_from(transactions)).scalar_one() == 6
        reader.execute(transactions.insert().from_select(list(transactions.c.keys()), select(transactions).limit(0)))
        assert create(three_months, date(2026, 9, 1), date(2026, 9, 1)) == len(PARTITIONED)
    assert count(three_months) == 6


def test_whole_months_before_a_day_are_detached_and_keep_their_rows_as_tables(three_months: Database) -> None:
    assert detach(three_months, date(2026, 2, 28)) == [f"{table}_y2026m01" for table in PARTITIONED]
    assert count(three_months) == 5
    assert detach(three_months, date(2026, 3, 1)) == [f"{table}_y2026m02" for table in PARTITIONED]
    assert detach(three_months, date(2026, 3, 1)) == []
    with three_months.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM transactions_y2026m01")) == 1


def test_day_of_a_detached_month_attaches_it_again_with_its_rows(three_months: Database) -> None:
    detach(three_months, date(2026, 3, 1))
    day = date(2026, 2, 3)
    replace_day(three_months, transactions, day, day_of_transactions(10, day), run_id="r", asset="a")
    assert months(three_months) == ["transactions_y2026m02", "transactions_y2026m03"]
    assert count(three_months) == 2 + 3 + 10


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DROP COLUMN amount", 'missing column "amount"'),
        ("ALTER COLUMN amount TYPE numeric(18, 2)", 'different type for column "amount"'),
        ("DROP CONSTRAINT ck_transactions_row_number", 'missing constraint "ck_transactions_row_number"'),
        (
            "DROP CONSTRAINT transactions_y2026m02_pkey, ADD PRIMARY KEY (transaction_id)",
            'multiple primary keys for table "transactions_y2026m02"',
        ),
    ],
)
def test_detached_month_that_does_not_fit_any_more_is_refused_with_what_to_do_and_makes_room_when_renamed(
    three_months: Database, change: str, reason: str
) -> None:
    detach(three_months, date(2026, 3, 1))
    with three_months.begin() as connection:
        connection.execute(text(f"ALTER TABLE transactions_y2026m02 {change}"))
    day = date(2026, 2, 3)
    rows = day_of_transactions(10, day)
    with pytest.raises(
        DatabaseError, match=f"month transactions_y2026m02 does not fit .*{reason}.*: rename it"
    ) as refused:
        replace_day(three_months, transactions, day, rows, run_id="r", asset="a")
    assert not is_transient(refused.value)
    assert count(three_months) == 3
    with three_months.begin() as connection:
        connection.execute(text("ALTER TABLE transactions_y2026m02 RENAME TO transactions_2026_02_archived"))
    replace_day(three_months, transactions, day, rows, run_id="r", asset="a")
    assert months(three_months) == ["transactions_y2026m02", "transactions_y2026m03"]
    assert count(three_months) == 3 + 10


def test_month_that_is_being_read_for_long_stays_for_the_next_time(three_months: Database) -> None:
    reading, done = threading.Event(), threading.Event()

    def read() -> None:
        with three_months.begin() as connection:
            connection.execute(select(func.count()).select_from(transactions))
            reading.set()
            done.wait(30)

    reader = threading.Thread(target=read)
    reader.start()
    reading.wait(30)
    assert detach(three_months, date(2026, 2, 1)) == [
        f"{table}_y2026m01" for table in PARTITIONED if table != "transactions"
    ]
    done.set()
    reader.join()
    assert count(three_months) == 6
    assert detach(three_months, date(2026, 2, 1)) == ["transactions_y2026m01"]
