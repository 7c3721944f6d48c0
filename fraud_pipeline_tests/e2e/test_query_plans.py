"""With five million transactions no query reads a large table from end to end, and every index is used."""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pandas as pd
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection, event, make_url

from fraud_pipeline.adapters.database import (
    alert_queries,
    alert_repository,
    api_repository,
    case_repository,
    history_repository,
    label_repository,
    review_repository,
    statistics_repository,
    status_repository,
    workflow_repository,
)
from fraud_pipeline.adapters.database.alert_queries import AlertFilter
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.workflow_repository import AlertChange
from fraud_pipeline.core.labels import no_labels
from fraud_pipeline_tests.adapters.test_analyst_queries import QUERIES
from fraud_pipeline_tests.adapters.test_database_alerts import new_alerts
from fraud_pipeline_tests.conftest import libpq_url
from fraud_pipeline_tests.generated_rows import generate

pytestmark = pytest.mark.e2e

TRANSACTIONS: Final = 5_000_000
LARGE: Final = 20_000
"""Rows from which on a table or a partition may not be read from end to end."""
ALERT: Final = 123_456
SLA_HOURS: Final = (4, 8, 24, 72, 168)
UNUSED: Final = """
SELECT table_class.relname, parent.relname
FROM pg_index
JOIN pg_class AS parent ON parent.oid = indexrelid AND NOT parent.relispartition
JOIN pg_class AS table_class ON table_class.oid = indrelid AND table_class.relnamespace = 'public'::regnamespace
WHERE NOT indisunique AND NOT EXISTS (
    SELECT FROM pg_stat_user_indexes AS used
    WHERE idx_scan > 0 AND used.indexrelid IN (
        SELECT parent.oid UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = parent.oid
    )
)
ORDER BY 1, 2
"""


class Plans:
    """Plans every statement of a database before it runs."""

    def __init__(self, large: set[str]) -> None:
        self._large = large
        self.statements = 0
        self.scans: dict[str, list[str]] = {}
        """By statement, the large tables that it reads from end to end."""

    def watch(self, database: Database) -> None:
        event.listen(database.engine, "before_cursor_execute", self._before)

    def explain(self, session: "psycopg.Connection[Any]", statement: str, parameters: Any = None) -> None:  # noqa: ANN401
        """Plan a statement of SQL, and note what it would read from end to end."""
        plan = session.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), parameters).fetchone()
        assert plan is not None
        self.statements += 1
        read = [node["Relation Name"] for node in _nodes(plan[0][0]["Plan"]) if node["Node Type"] == "Seq Scan"]
        if found := sorted(self._large.intersection(read)):
            self.scans[statement] = found

    def _before(
        self,
        connection: Connection,
        _cursor: object,
        statement: str,
        parameters: Any,  # noqa: ANN401
        _context: object,
        executemany: bool,
    ) -> None:
        if not executemany and statement.lstrip().split()[0] in {"SELECT", "WITH", "INSERT", "UPDATE", "DELETE"}:
            session: Any = connection.connection.driver_connection
            self.explain(session, statement, parameters)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


@pytest.fixture(scope="module")
def generated_url(postgres_server_url: str) -> Iterator[str]:
    name = sql.Identifier("query_plans")
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE migrated_template").format(name))
        session.execute("ALTER SYSTEM SET max_wal_size = '2GB'")
        session.execute("SELECT pg_reload_conf()")
    url = make_url(postgres_server_url).set(database="query_plans").render_as_string(hide_password=False)
    started = time.perf_counter()
    with psycopg.connect(libpq_url(url), autocommit=True) as session:
        seconds = generate(session, TRANSACTIONS)
        session.execute("ANALYZE")
    tell(f"{time.perf_counter() - started:.0f} s to generate, {seconds}")
    yield url
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
        session.execute("ALTER SYSTEM SET max_wal_size = '128MB'")
        session.execute("SELECT pg_reload_conf()")


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def test_no_query_reads_a_large_table_from_end_to_end_and_every_index_is_used(generated_url: str) -> None:
    database = Database(generated_url)
    with psycopg.connect(libpq_url(generated_url), autocommit=True) as session:
        large = session.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= %s", [LARGE])
        plans = Plans({name for (name,) in large})
        session.execute("SELECT pg_stat_reset()")
        session.execute("SET ROLE fraud_analyst")
        for title, query, _ in QUERIES:
            plans.explain(session, query)
            started = time.perf_counter()
            session.execute(query.encode())
            tell(f"{1000 * (time.perf_counter() - started):8.1f} ms {title}")
        session.execute("RESET ROLE")
        plans.watch(database)
        started = time.perf_counter()
        ask_everything(database)
        database.dispose()
        tell(
            f"{time.perf_counter() - started:.0f} s for the statements of the program, {plans.statements} plans in all"
        )
        session.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        unused = session.execute(UNUSED).fetchall()
    assert plans.scans == {}
    assert unused == []


def ask_everything(database: Database) -> None:
    """Ask what the program asks of the database, for lists, look-ups and a night."""
    now = datetime.now(UTC)  # noqa: TID251 - the generated rows end today
    today = now.date()
    last, month_ago = today - timedelta(days=1), today - timedelta(days=30)
    with database.begin() as connection:
        alert = workflow_repository.read_alert(connection, ALERT)
        ask_as_the_api(connection, alert)
    users, merchants = [alert["user_id"], "u000017"], [alert["merchant_id"], "m00017"]
    with database.begin() as connection:
        asked: tuple[tuple[history_repository.Entity, list[str]], ...] = (("user", users), ("merchant", merchants))
        for entity, ids in asked:
            history_repository.read_transactions(connection, entity, ids, last - timedelta(days=90), last)
            history_repository.read_labels(connection, entity, ids, last - timedelta(days=60), last)
        history_repository.data_version(connection)
        history_repository.recent_decisions(connection, timedelta(minutes=5))
        history_repository.merchants_of_cards(connection, users, 60)
    review_repository.open_reviews(database, None, 50)
    review_repository.open_reviews(database, last, 50)
    review_repository.count_open(database)
    review_repository.related_transactions(database, ALERT)
    review_repository.record_decisions(database, ["t00000007", "t00400007"], "confirmed_fraud", "ada")
    review_repository.decisions_between(database, now - timedelta(days=2), now)
    alert_repository.most_urgent(database, 5)
    alert_repository.most_urgent(database, 5, month_ago, last)
    alert_repository.count_by_risk(database, month_ago, last)
    alert_repository.alerts_of_day(database, last)
    statistics_repository.alert_figures(database, month_ago, last)
    statistics_repository.alert_counts(database, month_ago, last)
    status_repository.waiting_alerts(database, now)
    status_repository.newest_days(database)
    workflow_repository.alert_history(database, ALERT)
    case_repository.case_history(database, alert["case_id"])
    case_repository.case_alerts(database, alert["case_id"])
    change = AlertChange(status="investigating", comment="again")
    workflow_repository.change_alert(database, ALERT, change, actor="ada", expected_version=None, sla_hours=SLA_HOURS)
    workflow_repository.escalate_overdue(database, now, SLA_HOURS)
    label_repository.replace_day_labels(database, last, no_labels().assign(event_day=None), run_id="again")
    alert_repository.insert_new(database, new_alerts("new1", "new2", day=last), sla_hours=SLA_HOURS)


def ask_as_the_api(connection: Connection, alert: dict[str, Any]) -> None:
    """Ask for lists with each filter, one alert, statistics and keys."""
    today = pd.Timestamp(alert["event_day"]).date()
    for which in (
        AlertFilter(),
        AlertFilter(statuses=("open",)),
        AlertFilter(statuses=("open", "investigating"), priorities=(1, 2)),
        AlertFilter(selection="random_sample", statuses=("open",)),
        AlertFilter(user_id=alert["user_id"]),
        AlertFilter(merchant_id=alert["merchant_id"]),
        AlertFilter(assignee="ada", statuses=("open", "investigating")),
        AlertFilter(assignee="gus", statuses=("closed",)),
        AlertFilter(case_id=alert["case_id"]),
        AlertFilter(first_day=today, last_day=today),
        AlertFilter(risk_levels=("CRITICAL",), first_day=today, last_day=today + timedelta(days=7)),
    ):
        _, place = alert_queries.list_alerts(connection, which, 50)
        alert_queries.list_alerts(connection, which, 50, place)
    alert_queries.alert_detail(connection, ALERT)
    alert_queries.alert_statistics(connection, today, today + timedelta(days=30))
    alert_queries.newest_alert_day(connection)
    answer = api_repository.StoredAnswer("0" * 64, 200, {})
    api_repository.stored_answer(connection, "key1", "request-1")
    api_repository.store_answer(connection, "key1", "request-new", answer)
