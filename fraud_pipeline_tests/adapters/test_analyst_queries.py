"""The views explain themselves, and each query of the analysts' page runs with an analyst's rights."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from fraud_pipeline_tests.adapters.test_database_roles import VIEWS
from fraud_pipeline_tests.conftest import libpq_url
from fraud_pipeline_tests.generated_rows import generate

PAGE = (Path(__file__).parents[2] / "docs" / "analysts.md").read_text()
QUERIES = re.findall(r"^### \d+\. (.*?)\n.*?^```sql\n(.*?)^```\n+^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TRANSACTIONS = 20_000


@pytest.fixture(scope="module")
def analyst(postgres_server_url: str) -> Iterator[psycopg.Connection]:
    """Give a session of an analyst on a database with a year of generated rows."""
    name = sql.Identifier("generated_for_analysts")
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE migrated_template").format(name))
    url = make_url(postgres_server_url).set(database="generated_for_analysts")
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(), autocommit=True) as session:
        generate(session, TRANSACTIONS)
        session.execute("ANALYZE")
        session.execute("SET ROLE fraud_analyst")
        yield session
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_every_view_and_each_of_its_columns_has_a_comment(analyst: psycopg.Connection) -> None:
    found = analyst.execute(
        """
        SELECT relname, attname, obj_description(attrelid, 'pg_class'), col_description(attrelid, attnum)
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace AND attnum > 0
        """
    ).fetchall()
    assert {view for view, *_ in found} == VIEWS
    assert [row[:2] for row in found if not (row[2] and row[3])] == []


def test_the_page_has_fifteen_queries_and_describes_and_uses_every_view() -> None:
    assert len(QUERIES) == 15
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == VIEWS
    assert set(re.findall(r"(?:FROM|JOIN) (\w+)", " ".join(query for _, query, _ in QUERIES))) >= VIEWS


@pytest.mark.parametrize(("query", "sample"), [pair for _, *pair in QUERIES], ids=[title for title, *_ in QUERIES])
def test_a_query_of_the_page_finds_rows_as_its_sample_shows_them(
    analyst: psycopg.Connection, query: str, sample: str
) -> None:
    cursor = analyst.execute(query.encode())
    assert [column.name for column in cursor.description or []] == [
        name.strip() for name in sample.splitlines()[0].split("|")
    ]
    assert cursor.fetchall()


def frame(analyst: psycopg.Connection, query: str) -> pd.DataFrame:
    cursor = analyst.execute(query.encode())
    return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or []])


@pytest.mark.parametrize(
    ("view", "key"),
    [("alert_statistics_by_day", ["event_day", "model_version"]), ("alert_statistics_by_model", ["model_version"])],
)
def test_the_statistics_are_those_of_the_alerts_and_leave_out_what_was_drawn_at_random(
    analyst: psycopg.Connection, view: str, key: list[str]
) -> None:
    found = frame(analyst, f"SELECT * FROM {view}").set_index(key).sort_index()  # noqa: S608 - constants of this test
    alerts = frame(analyst, "SELECT *, now() AS now FROM alert_details WHERE selection = 'threshold'")
    assert len(alerts) == found["alerts"].sum()
    ended = alerts["closed_at"].fillna(alerts["now"])
    hours = (alerts["closed_at"] - alerts["raised_at"]).dt.total_seconds() / 3600
    late = ended > alerts["due_at"]
    expected = pd.DataFrame(
        {
            "confirmed_frauds": alerts["outcome"] == "confirmed_fraud",
            "false_positives": alerts["outcome"] == "false_positive",
            "value_detected": alerts["amount"].astype(float).where(alerts["outcome"] == "confirmed_fraud", 0.0),
            "sla_breached": late,
            "sla_met": alerts["closed_at"].notna() & ~late,
            "sla_open": alerts["closed_at"].isna() & ~late,
        }
    )
    groups = [alerts[name] for name in key]
    sums = expected.groupby(groups).sum()
    for name in expected:
        np.testing.assert_allclose(found[name].astype(float), sums[name].astype(float), rtol=1e-12)
    decided = sums["confirmed_frauds"] + sums["false_positives"]
    np.testing.assert_allclose(found["alert_precision"].astype(float), sums["confirmed_frauds"] / decided)
    ratio = (sums["false_positives"] / sums["confirmed_frauds"]).where(sums["confirmed_frauds"] > 0)
    np.testing.assert_allclose(found["false_positive_ratio"].astype(float), ratio)
    for name, share in (("hours_to_close_median", 0.5), ("hours_to_close_p90", 0.9)):
        np.testing.assert_allclose(found[name].astype(float), hours.groupby(groups).quantile(share), atol=1e-6)
    met = sums["sla_met"] / (sums["sla_met"] + sums["sla_breached"])
    np.testing.assert_allclose(found["sla_met_share"].astype(float), met)


def test_the_queue_and_its_ageing_have_what_is_not_closed_and_the_queue_leaves_out_what_is_snoozed(
    analyst: psycopg.Connection,
) -> None:
    waiting = "FROM alert_details WHERE selection = 'threshold' AND status <> 'closed'"
    not_closed, snoozed = frame(
        analyst,
        f"SELECT count(*), count(*) FILTER (WHERE snoozed_until > now()) {waiting}",
    ).iloc[0]
    assert snoozed > 0
    assert frame(analyst, "SELECT count(*) FROM open_alerts").iloc[0, 0] == not_closed - snoozed
    assert tuple(frame(analyst, "SELECT sum(alerts), sum(snoozed) FROM alert_ageing").iloc[0]) == (not_closed, snoozed)


def test_volume_and_repeat_users_leave_out_what_was_drawn_at_random(analyst: psycopg.Connection) -> None:
    alerts = frame(analyst, "SELECT user_id, event_day, selection FROM alert_details")
    assert set(alerts["selection"]) == {"threshold", "random_sample"}
    alerts = alerts[alerts["selection"] == "threshold"]
    assert frame(analyst, "SELECT sum(alerts) FROM alerts_by_day").iloc[0, 0] == len(alerts)
    start = frame(analyst, "SELECT current_date - 90").iloc[0, 0]
    recent = alerts[alerts["event_day"] > start]["user_id"].value_counts()
    found = frame(analyst, "SELECT user_id, alerts FROM repeat_users")
    assert dict(zip(found["user_id"], found["alerts"], strict=True)) == recent[recent > 1].to_dict()


def test_a_fraud_that_any_source_says_is_known_until_that_source_takes_it_back(analyst: psycopg.Connection) -> None:
    analyst.execute("RESET ROLE")
    try:
        with analyst.transaction(force_rollback=True):
            number = frame(analyst, "SELECT min(alert_id) FROM alerts WHERE outcome = 'inconclusive'").iloc[0, 0]
            analyst.execute(
                "DELETE FROM fraud_labels USING alerts WHERE fraud_labels.transaction_id = alerts.transaction_id"
                " AND alert_id = %s",
                [number],
            )
            seen = []
            for hours, source, is_fraud in (
                (1, "analyst", False),
                (2, "chargeback_file", True),
                (3, "analyst", False),
                (4, "chargeback_file", False),
            ):
                analyst.execute(
                    """
                    INSERT INTO fraud_labels
                    SELECT event_day, transaction_id, user_id, merchant_id, event_time, event_day, %s, %s::text,
                        event_time + %s * interval '1 hour', CASE WHEN %s <> 'analyst' THEN 'r' END
                    FROM alerts WHERE alert_id = %s
                    """,
                    [is_fraud, source, hours, source, number],
                )
                known = analyst.execute("SELECT is_known_fraud FROM alert_details WHERE alert_id = %s", [number])
                seen.append(known.fetchone())
            assert seen == [(False,), (True,), (True,), (False,)]
    finally:
        analyst.execute("SET ROLE fraud_analyst")
