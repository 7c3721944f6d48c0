"""Erasing a user from the database: nothing of them is left, nothing of others is touched, and only the owner may."""

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import insert, text

from fraud_pipeline.adapters.database.alert_repository import insert_new
from fraud_pipeline.adapters.database.api_repository import StoredAnswer, store_answer
from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.erasure_repository import erase_user
from fraud_pipeline.adapters.database.partitions import create_partitions, detach_partitions
from fraud_pipeline.adapters.database.review_repository import close_alert, record_decisions
from fraud_pipeline.adapters.database.workflow_repository import AlertChange, change_alert
from fraud_pipeline.core.errors import DatabaseError, InvalidDataError
from fraud_pipeline_tests.adapters.test_database_alerts import new_alerts
from fraud_pipeline_tests.adapters.test_database_migrations import sample, tables_of
from fraud_pipeline_tests.conftest import libpq_url

GONE, NAMESAKE, OTHER = "u.eraseme", "u.eraseme-too", "u-keep"
OF_GONE = re.compile(r"eraseme(?!-too)")
OLD, DAY = date(2026, 1, 31), date(2026, 3, 1)
RECORDS = {"erasures", "pipeline_runs"}

Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture
def worked(database: Database) -> Database:
    """Fill every table with rows of three users, on a detached month and a present one, and work on their alerts."""
    for day in (OLD, DAY):
        with database.begin() as connection:
            create_partitions(connection, day, day)
            for table in tables_of(connection):
                days = {name: day for name in ("event_day", "known_day", "as_of_day") if name in table.c}
                for user in (GONE, NAMESAKE, OTHER):
                    own: dict[str, object] = {"user_id": user, "transaction_id": f"{day}-{user}"}
                    if "raw" in table.c:
                        own |= {"raw": {"user_id": f" {user}\t"}, "source_file": user}
                    elif "user_id" not in table.c or table.name in {"alerts", "cases"}:
                        continue
                    if table.name == "user_profiles" and day == OLD:
                        continue
                    row = sample(table) | days | {name: own[name] for name in own if name in table.c}
                    connection.execute(insert(table), row)
    with database.begin() as connection:
        assert len(detach_partitions(connection, date(2026, 2, 15))) == 5
    names = [f"{DAY}-{user}" for user in (GONE, NAMESAKE, OTHER)]
    insert_new(database, new_alerts(*names, user_id=[GONE, NAMESAKE, OTHER], day=DAY), run_id="night")
    for alert_id in (1, 2, 3):
        change_alert(database, alert_id, AlertChange(comment="looked at"), actor="ada", expected_version=None)
        close_alert(database, alert_id, "confirmed_fraud", "ada")
    insert_new(database, new_alerts("drawn-eraseme", user_id=GONE, selection="random_sample", day=DAY))
    record_decisions(database, [names[0]], "false_positive", "ada")
    said = f"Same hand as {GONE}, see {DAY}-{GONE}; not {NAMESAKE}."
    change_alert(database, 3, AlertChange(comment=said), actor="ada", expected_version=None)
    with database.begin() as connection:
        for user in (GONE, OTHER):
            answer = StoredAnswer("0" * 64, 200, {"alerts": [{"user_id": user}]})
            store_answer(connection, "key", f"request of {user != GONE}", answer)
    return database


def rows_of(url: str) -> Rows:
    with psycopg.connect(libpq_url(url)) as session:
        tables = session.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
            "AND NOT relispartition"
        ).fetchall()
        query = sql.SQL("SELECT each::text FROM {} AS each")
        return {name: sorted(session.execute(query.format(sql.Identifier(name))).fetchall()) for (name,) in tables}


def dump(url: str) -> str:
    """Everything that a backup would hold, as text."""
    psql = EmbeddedPostgres(Path("/nowhere")).psql_path
    assert psql is not None
    command = [str(psql.with_name("pg_dump")), libpq_url(url)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own server


def erase(database: Database, **options: Any) -> dict[str, int]:  # noqa: ANN401
    return erase_user(database, {GONE}, set(), {"raw_transactions": 2}, actor="dpo", **options)


def test_nothing_of_the_user_is_left_and_everything_of_others_is(worked: Database, database_url: str) -> None:
    before = rows_of(database_url)
    assert OF_GONE.search(dump(database_url))
    counts = erase(worked)
    assert not OF_GONE.search(dump(database_url))
    after = rows_of(database_url)
    for table, rows in before.items():
        if table not in RECORDS | {"alert_events"}:
            kept = [row for row in rows if not OF_GONE.search(str(row))]
            assert after[table] == kept, table
            assert counts.get(table, 0) == len(rows) - len(kept), table
    assert counts["transactions"] == counts["transactions_y2026m01"] == 1
    assert counts["rejected_transactions"] == counts["idempotency_keys"] == counts["cases"] == 1
    assert counts["alerts"] == counts["review_decisions"] == 2


def test_the_history_of_others_stays_and_forgets_only_the_name(worked: Database, database_url: str) -> None:
    def history(alert_id: int) -> list[tuple[object, ...]]:
        with psycopg.connect(libpq_url(database_url)) as session:
            columns = "event_type, actor, at, before, after, comment"
            query = f"SELECT {columns} FROM alert_events WHERE alert_id = %s ORDER BY event_id"  # noqa: S608 - constants
            return session.execute(query.encode(), [alert_id]).fetchall()

    before = {number: history(number) for number in (2, 3)}
    counts = erase(worked)
    assert history(1) == []
    assert history(2) == before[2]
    changed = [(old, new) for old, new in zip(before[3], history(3), strict=True) if old != new]
    assert [new[-1] for _, new in changed] == [f"Same hand as (erased), see (erased); not {NAMESAKE}."]
    assert counts["mentions in comments"] == 2


def test_the_record_says_when_by_whom_and_how_much_but_not_who(worked: Database, database_url: str) -> None:
    counts = erase(worked)
    with worked.begin() as connection:
        recorded = connection.execute(text("SELECT erased_by, erased FROM erasures")).one()
        days = connection.execute(text("SELECT asset, event_day FROM pipeline_runs WHERE run_id ~ '^erasure'")).all()
    assert recorded.erased_by == "dpo"
    assert recorded.erased == {"database": counts, "lake": {"raw_transactions": 2}}
    assert ("validated_transactions", DAY) in [tuple(each) for each in days]
    for statement in ("UPDATE erasures SET erased_by = 'eve'", "DELETE FROM erasures", "TRUNCATE erasures"):
        with psycopg.connect(libpq_url(database_url)) as session, pytest.raises(psycopg.errors.IntegrityError):
            session.execute(statement.encode())


def test_a_dry_run_counts_the_same_and_changes_nothing(worked: Database, database_url: str) -> None:
    before = rows_of(database_url)
    counts = erase(worked, dry_run=True)
    assert rows_of(database_url) == before
    assert erase(worked) == counts


def test_once_more_finds_nothing_and_is_on_record_as_well(worked: Database, database_url: str) -> None:
    erase(worked)
    before = rows_of(database_url)
    assert erase(worked, dry_run=True) == erase(worked) == {}
    after = rows_of(database_url)
    assert len(after.pop("erasures")) == len(before.pop("erasures")) + 1
    assert after == before
    with worked.begin() as connection:
        assert connection.scalars(text("SELECT erasure_id FROM erasures ORDER BY 1")).all() == [1, 2]


@pytest.mark.parametrize("statement", ["DELETE FROM alert_events", "UPDATE alert_events SET actor = 'eve'"])
def test_the_history_refuses_changes_as_before(worked: Database, statement: str) -> None:
    erase(worked)
    refused = pytest.raises(InvalidDataError, match="keeps what happened")
    with refused, worked.begin(actor="eve") as connection:
        connection.execute(text(statement))
    refused = pytest.raises(InvalidDataError, match="append-only")
    with refused, worked.begin(actor="eve") as connection:
        connection.execute(text("DELETE FROM review_decisions"))


def test_a_failure_in_the_middle_leaves_everything_as_it_was(worked: Database, database_url: str) -> None:
    before = rows_of(database_url)
    with psycopg.connect(libpq_url(database_url), autocommit=True) as session:
        session.execute("ALTER TABLE erasures ADD CONSTRAINT nobody CHECK (erased_by <> 'dpo')")
    with pytest.raises(InvalidDataError, match="nobody"):
        erase(worked)
    assert rows_of(database_url) == before
    refused = pytest.raises(InvalidDataError, match="keeps what happened")
    with refused, worked.begin(actor="eve") as connection:
        connection.execute(text("DELETE FROM alert_events"))


def test_a_user_of_whom_only_the_history_of_a_deleted_alert_is_left_is_found(
    worked: Database, database_url: str
) -> None:
    with worked.begin(actor="eve") as connection:
        connection.execute(text("DELETE FROM alerts WHERE user_id = :user"), {"user": GONE})
        connection.execute(text("DELETE FROM cases WHERE user_id = :user"), {"user": GONE})
    erase(worked)
    assert not OF_GONE.search(dump(database_url))


def test_analysts_and_nights_go_on_meanwhile(worked: Database, database_url: str) -> None:
    def work() -> int:
        other = Database(database_url)
        for number in range(20):
            change_alert(other, 2 + number % 2, AlertChange(assignee=f"a{number}"), actor="ada", expected_version=None)
            insert_new(other, new_alerts(f"new-{number}", user_id=OTHER, day=DAY))
        other.dispose()
        return number + 1

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        while not working.done():
            erase(worked)
        assert working.result() == 20
    with worked.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM alerts WHERE transaction_id ~ '^new'")) == 20
        assert connection.scalar(text("SELECT count(*) FROM alert_events WHERE after ->> 'assignee' ~ '^a[0-9]'")) == 20
    assert not OF_GONE.search(dump(database_url))


@pytest.fixture(params=["fraud_pipeline", "fraud_api", "fraud_analyst"])
def limited(request: pytest.FixtureRequest, database_url: str) -> Iterator[Database]:
    database = Database(database_url, request.param)
    yield database
    database.dispose()


def test_only_the_owner_may_erase(limited: Database) -> None:
    with pytest.raises(DatabaseError, match=r"denies .* the access"):
        erase(limited)


def test_an_erasure_that_nobody_signs_for_is_refused(database: Database) -> None:
    with pytest.raises(InvalidDataError, match="name of who"):
        erase_user(database, {GONE}, set(), {}, actor=" ")
