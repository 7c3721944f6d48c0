"""kill -9 in the middle of writing a day to PostgreSQL, at many moments, and the same work again."""

import multiprocessing
import time
from datetime import date
from typing import Final

import pandas as pd
import pytest
from sqlalchemy import Table, func, select, true, update

from fraud_pipeline.adapters.database.alert_repository import raise_day
from fraud_pipeline.adapters.database.alert_tables import alert_events, alerts, cases
from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.label_repository import replace_day_labels
from fraud_pipeline.adapters.database.profile_repository import upsert_profiles
from fraud_pipeline.adapters.database.tables import (
    anomaly_scores,
    fraud_labels,
    pipeline_runs,
    transactions,
    user_profiles,
)
from fraud_pipeline.core.schema import LINEAGE_COLUMNS
from fraud_pipeline_tests.adapters.test_database_alerts import new_alerts
from fraud_pipeline_tests.adapters.test_database_days import day_of_scores, day_of_transactions

pytestmark = pytest.mark.e2e

KILLS: Final = 30
DAY: Final = date(2026, 3, 1)
ROWS: Final = 4_000
ALERTS: Final = 40
ASSETS: Final = ("transactions", "fraud_labels", "user_profiles", "anomaly_scores", "alerts")
OTHER_SESSIONS: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
DECISION: Final = {"outcome": "confirmed_fraud", "assignee": "ada"}


def day_of_labels(rows: pd.DataFrame, variant: int) -> pd.DataFrame:
    labels = rows[["transaction_id", "user_id", "merchant_id", "event_time"]].iloc[: 100 + variant]
    known_at = labels["event_time"] + pd.Timedelta(minutes=variant)
    return labels.assign(event_day=DAY, is_fraud=True, label_source="chargeback_file", label_known_at=known_at)


def day_of_profiles(rows: pd.DataFrame, variant: int) -> pd.DataFrame:
    times = rows.groupby("user_id")["event_time"]
    profiles = pd.DataFrame({"first_event_time": times.min(), "last_event_time": times.max()}).reset_index()
    return profiles.assign(n=variant + 1, mean_amount=float(variant), std_amount=1.0)


def write(url: str, variant: int, run_id: str) -> None:
    """Write the day as a night does; each variant has other values and another number of rows."""
    database = Database(url, "fraud_pipeline")
    rows = day_of_transactions(ROWS + variant).assign(amount=float(variant))
    scores = day_of_scores(ROWS + variant).assign(ensemble_score=variant / 1000, run_id=run_id)
    raised = new_alerts(*rows["transaction_id"].iloc[: ALERTS + variant], run_id=run_id)
    columns = ("anomaly_score", "score_percentile", "confidence", "risk_level", "priority", "is_alert")
    verdicts = scores.assign(risk_level="LOW")[["transaction_id", *columns, *LINEAGE_COLUMNS]]
    replace_day(database, transactions, DAY, rows, run_id=run_id, asset="transactions")
    replace_day_labels(database, DAY, day_of_labels(rows, variant), run_id=run_id)
    upsert_profiles(database, day_of_profiles(rows, variant), DAY, run_id=run_id)
    replace_day(database, anomaly_scores, DAY, scores, run_id=run_id, asset="anomaly_scores")
    raise_day(database, DAY, raised, verdicts, sla_hours=(4, 8, 24, 72, 168), run_id=run_id)
    database.dispose()


def begin(url: str, variant: int, run_id: str) -> multiprocessing.process.BaseProcess:
    """Write in a process of its own, which is a copy of this one and so begins at once."""
    process = multiprocessing.get_context("fork").Process(target=write, args=(url, variant, run_id))
    process.start()
    return process


def contents(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """All rows of what the pipeline owns, without the name of the run."""
    with database.begin() as connection:
        return {
            table.name: sorted(
                tuple(row) for row in connection.execute(select(*(each for each in table.c if each.name != "run_id")))
            )
            for table in (transactions, fraud_labels, user_profiles, anomaly_scores)
        }


def variants(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Which variants each table holds, with the number of rows of each."""
    columns = {
        "transactions": transactions.c.amount,
        "fraud_labels": fraud_labels.c.label_known_at - fraud_labels.c.event_time,
        "user_profiles": user_profiles.c.n,
        "anomaly_scores": anomaly_scores.c.ensemble_score,
    }
    own = {"fraud_labels": fraud_labels.c.label_source != "analyst"}
    with database.begin() as connection:
        return {
            name: [
                tuple(row)
                for row in connection.execute(
                    select(column, func.count()).where(own.get(name, true())).group_by(column)
                )
            ]
            for name, column in columns.items()
        }


def recorded(database: Database, run_id: str) -> dict[str, int]:
    statement = select(pipeline_runs.c.asset, pipeline_runs.c.rows).where(pipeline_runs.c.run_id == run_id)
    with database.begin() as connection:
        return {str(asset): int(rows) for asset, rows in connection.execute(statement)}


def count(database: Database, table: Table) -> int:
    with database.begin() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def decision(database: Database) -> tuple[object, ...]:
    """Read what an analyst made of the first alert, and the label that came of it."""
    columns = ("alert_id", "status", "outcome", "assignee", "version", "closed_at", "case_id")
    label = select(func.count()).where(fraud_labels.c.label_source == "analyst").scalar_subquery()
    statement = select(*(alerts.c[name] for name in columns), label).order_by(alerts.c.alert_id).limit(1)
    with database.begin() as connection:
        return tuple(connection.execute(statement).one())


def decide(database: Database) -> None:
    with database.begin(actor="ada") as connection:
        first = select(func.min(alerts.c.alert_id)).scalar_subquery()
        for change in ({"status": "investigating"}, {"status": "closed", **DECISION}):
            connection.execute(update(alerts).where(alerts.c.alert_id == first).values(change))


@pytest.fixture
def undisturbed(database_url: str) -> float:
    """Seconds that the work takes, in a process that is not killed; variant 0 is in the tables then."""
    write(database_url, 0, "warm-up")
    start = time.monotonic()
    process = begin(database_url, 0, "undisturbed")
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - start


def test_killed_at_any_moment_and_run_again_the_day_is_whole_and_no_decision_is_lost(
    database: Database, database_url: str, undisturbed: float
) -> None:
    decide(database)
    before = decision(database)
    assert before[1:4] == ("closed", "confirmed_fraud", "ada")
    assert before[-1] == 1
    killed = 0
    seconds = undisturbed
    seen: set[int] = set()
    for variant in range(1, 3 * KILLS):
        if killed == KILLS:
            break
        held = variants(database)
        process = begin(database_url, variant, f"killed-{variant}")
        time.sleep(seconds * killed / KILLS)
        process.kill()
        process.join()
        # On a busy machine it may have been done already.
        killed += process.exitcode != 0
        # The server notices that its client is gone when it next writes or reads.
        wait_until_alone(database)

        written = recorded(database, f"killed-{variant}")
        seen.add(len(written))
        assert list(written) == [asset for asset in ASSETS if asset in written]
        after = variants(database)
        for table, found in after.items():
            assert len(found) == 1, (table, found)
            assert (found != held[table]) == (table in written), (table, found, written)
        assert decision(database) == before

        start = time.monotonic()
        again = begin(database_url, variant, f"again-{variant}")
        again.join()
        seconds = time.monotonic() - start
        assert again.exitcode == 0
        assert tuple(recorded(database, f"again-{variant}")) == ASSETS
        assert recorded(database, f"again-{variant}")["transactions"] == count(database, transactions) == ROWS + variant
        assert count(database, anomaly_scores) == ROWS + variant
        assert count(database, alerts) == ALERTS + variant
        assert decision(database) == before
    # They fell into different parts of the work.
    assert killed == KILLS
    assert len(seen) >= 3


def test_many_kills_leave_what_one_undisturbed_run_does(
    database: Database, database_url: str, undisturbed: float
) -> None:
    write(database_url, 1, "undisturbed")
    expected, events, alone = contents(database), count(database, alert_events), count(database, alerts)
    for number in range(10):
        process = begin(database_url, 1, "restarted")
        time.sleep(undisturbed * (number + 0.5) / 10)
        process.kill()
        process.join()
        wait_until_alone(database)
        assert contents(database) == expected
    write(database_url, 1, "restarted")
    assert contents(database) == expected
    assert count(database, alerts) == alone
    assert count(database, cases) == 1
    # What a later run would have said is noted once.
    assert count(database, alert_events) <= events + alone


def wait_until_alone(database: Database) -> None:
    """Wait until the server has ended the sessions of killed clients, and so rolled back what they began."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with database.begin() as connection:
            if not connection.exec_driver_sql(OTHER_SESSIONS).scalar_one():
                return
        time.sleep(0.01)
    raise AssertionError("a session of a killed process is still there")
