"""From every earlier revision to the newest and back, with rows in every table."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Connection,
    Date,
    DateTime,
    Float,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    insert,
    select,
    text,
)
from sqlalchemy.types import TypeEngine

from fraud_pipeline.adapters.database.engine import SCHEMA_VERSION_TABLE, Database, migration_config
from fraud_pipeline.core.errors import DatabaseError

DAY = date(2026, 1, 31)
MOMENT = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)
OF_TYPE: tuple[tuple[type[TypeEngine[Any]], object], ...] = (
    (Float, 0.5),
    (Numeric, Decimal("12.34")),
    (Integer, 3),
    (Boolean, True),
    (Date, DAY),
    (DateTime, MOMENT),
    (JSON, {}),
    (ARRAY, ["detect"]),
    (Text, "some text"),
)
MEANINGFUL = {
    "risk_level": "LOW",
    "status": "open",
    "selection": "threshold",
    "reasons": [],
    "origin": "bulk",
    "label_source": "chargeback_file",
    "key_sha256": "ab" * 32,
    "request_sha256": "ab" * 32,
    "status_code": 200,
    "time_zone": "UTC",
}
"""Values that the type alone does not give, by the name of the column."""
EMPTY = {
    "alerts": {"outcome", "case_id", "closed_at", "snoozed_until", "breached_at"},
    "cases": {"outcome", "closed_at"},
    "review_decisions": {"alert_id"},
    "api_keys": {"expires_at"},
}
OUTCOMES = {"review_decisions": "false_positive"}
BY_TRIGGER = {"alert_events", "deployment_settings"}
"""Tables that get their rows from the database itself."""
# A change of the schema is none of the alert, but triggers of some revisions count it.
COUNTED = {"version", "updated_at"}


def revisions() -> list[str]:
    config = migration_config(None)  # type: ignore[arg-type]  # nothing connects
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def migrate(database: Database, step: str, revision: str) -> None:
    with database.begin() as connection:
        getattr(command, step)(migration_config(connection), revision)


def tables_of(connection: Connection) -> list[Table]:
    """Tables of the present revision, those that others refer to first; partitions are parts of theirs."""
    partitions = set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))
    reflected = MetaData()
    reflected.reflect(connection, only=lambda name, _: name != SCHEMA_VERSION_TABLE and name not in partitions)
    return reflected.sorted_tables


def sample(table: Table) -> dict[str, object]:
    row: dict[str, object] = {}
    for column in table.columns:
        if column.identity is not None or column.name in EMPTY.get(table.name, ()):
            continue
        if column.name == "outcome":
            row[column.name] = OUTCOMES[table.name]
        elif column.name in MEANINGFUL:
            row[column.name] = MEANINGFUL[column.name]
        else:
            row[column.name] = next(value for kind, value in OF_TYPE if isinstance(column.type, kind))
    return row


def fill(database: Database) -> None:
    """Put a row into every table."""
    with database.begin(actor="ada") as connection:
        if connection.scalar(text("SELECT count(*) FROM pg_proc WHERE proname = 'create_partitions'")):
            connection.execute(text("SELECT create_partitions(:day, :day)"), {"day": DAY})
        for table in tables_of(connection):
            if table.name not in BY_TRIGGER:
                connection.execute(insert(table), sample(table))


def rows(database: Database) -> dict[str, list[dict[str, object]]]:
    with database.begin() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in tables_of(connection)
        }


def parts(found: list[dict[str, object]], columns: set[str]) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name in columns} for row in found]


@pytest.fixture
def base(database: Database) -> Database:
    migrate(database, "downgrade", "base")
    return database


@pytest.mark.parametrize("revision", revisions())
def test_rows_of_every_table_survive_the_way_up_and_down(base: Database, revision: str) -> None:
    migrate(base, "upgrade", revision)
    fill(base)
    before = rows(base)
    assert all(before[table] for table in before if table != "deployment_settings")

    base.upgrade()
    above = rows(base)
    for table, found in before.items():
        columns = set(found[0]) & set(above[table][0]) - COUNTED if found else set()
        expected = parts(found, columns)
        assert [row for row in parts(above[table], columns) if row in expected] == expected, table

    migrate(base, "downgrade", revision)
    after = rows(base)
    assert after.keys() == before.keys()
    for table, found in before.items():
        kept = set(found[0]) - COUNTED if found else set()
        assert parts(after[table], kept) == parts(found, kept), table

    migrate(base, "downgrade", "base")
    assert rows(base) == {}


@pytest.mark.parametrize("revision", revisions()[:-1])
def test_program_refuses_an_earlier_schema_with_the_command_to_run(base: Database, revision: str) -> None:
    migrate(base, "upgrade", revision)
    with pytest.raises(DatabaseError, match=f"at revision {revision} but revision .* `fraud-pipeline migrate`"):
        base.require_current_schema()


def test_transaction_that_two_days_hold_keeps_its_newest_day_on_the_way_back(database: Database) -> None:
    with database.begin() as connection:
        table = next(table for table in tables_of(connection) if table.name == "transactions")
        connection.execute(text("SELECT create_partitions('2026-01-31', '2026-02-01')"))
        for day, amount in ((DAY, "1.25"), (date(2026, 2, 1), "2.5")):
            connection.execute(insert(table), sample(table) | {"event_day": day, "amount": Decimal(amount)})
    migrate(database, "downgrade", "0004")
    with database.begin() as connection:
        found = connection.execute(text("SELECT event_day, amount FROM transactions")).all()
    assert [tuple(row) for row in found] == [(date(2026, 2, 1), Decimal("2.50"))]


def reject(database: Database, *sources: str) -> None:
    """Reject the first row of a file of one name from each source."""
    with database.begin() as connection:
        table = next(table for table in tables_of(connection) if table.name == "rejected_transactions")
        connection.execute(text("SELECT create_partitions(:day, :day)"), {"day": DAY})
        for source in sources:
            connection.execute(insert(table), sample(table) | {"source_name": source})


def rejecting_sources(database: Database) -> list[str]:
    with database.begin() as connection:
        return list(connection.scalars(text("SELECT source_name FROM rejected_transactions ORDER BY 1")))


def detach(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("SELECT detach_partitions('2100-01-01')"))


@pytest.mark.parametrize("is_detached", [False, True], ids=["attached", "detached"])
def test_rejects_of_two_sources_with_one_file_name_fit_and_the_first_stays_on_the_way_back(
    database: Database, is_detached: bool
) -> None:
    migrate(database, "downgrade", "0008")
    reject(database, "bank")
    if is_detached:
        detach(database)
    database.upgrade()
    reject(database, "airline", "shop")
    assert rejecting_sources(database) == ["airline", "bank", "shop"]
    if is_detached:
        detach(database)
    migrate(database, "downgrade", "0008")
    reject(database)
    assert rejecting_sources(database) == ["airline"]
