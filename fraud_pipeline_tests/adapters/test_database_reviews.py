"""The queue, what belongs together, and decisions that stay."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from alembic import command
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError

from fraud_pipeline.adapters.database.alert_repository import insert_new
from fraud_pipeline.adapters.database.alert_tables import alerts, cases, review_decisions
from fraud_pipeline.adapters.database.columns import metadata
from fraud_pipeline.adapters.database.engine import Database, migration_config
from fraud_pipeline.adapters.database.review_repository import (
    close_alert,
    count_open,
    decisions_between,
    open_reviews,
    record_decisions,
    related_transactions,
)
from fraud_pipeline.adapters.database.tables import anomaly_scores, fraud_labels, transactions
from fraud_pipeline.core.errors import ConflictError, InvalidDataError, NotFoundError
from fraud_pipeline.core.labels import DECISION_COLUMNS, from_decisions
from fraud_pipeline_tests.adapters.test_database_alerts import DAY, NEXT_DAY, new_alerts
from fraud_pipeline_tests.adapters.test_database_schema import SCORE

LONG_AGO, FAR_AHEAD = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def put_transactions(database: Database, **placed: tuple[str, str, float]) -> None:
    """Insert transactions by id: card, merchant, days from noon of the alert's day."""
    rows = [
        {
            "transaction_id": name,
            "user_id": user,
            "merchant_id": merchant,
            "event_time": NOON + timedelta(days=days),
            "event_day": (NOON + timedelta(days=days)).date(),
            "amount": 10.5,
            "source_name": "bank",
            "source_file": "file",
            "row_number": 1,
            "file_sha256": "0",
        }
        for name, (user, merchant, days) in placed.items()
    ]
    with database.begin() as connection:
        for row in rows:
            connection.execute(select(func.create_partitions(row["event_day"], row["event_day"])))
        connection.execute(transactions.insert(), rows)


def put_alerts(database: Database, *names: str, **values: Any) -> None:  # noqa: ANN401 - columns of any type
    """Insert alerts of one instant; they are numbered in the order of their names."""
    insert_new(database, new_alerts(*names, **values).assign(event_time=pd.Timestamp(NOON).as_unit("us")))


def put_score(database: Database, name: str, score: float) -> None:
    with database.begin() as connection:
        day = connection.execute(
            select(transactions.c.event_day).where(transactions.c.transaction_id == name)
        ).scalar_one()
        values = {"transaction_id": name, "anomaly_score": score, "event_day": day}
        connection.execute(anomaly_scores.insert(), SCORE | values)


def history(database: Database) -> list[tuple[object, ...]]:
    """All decisions: transaction, outcome, who, origin, alert."""
    columns = ("transaction_id", "outcome", "decided_by", "origin", "alert_id")
    with database.begin() as connection:
        statement = select(*(review_decisions.c[name] for name in columns)).order_by(review_decisions.c.decision_id)
        return list(connection.execute(statement).tuples())


def test_the_queue_has_alerts_by_urgency_and_then_all_that_was_drawn_at_random(database: Database) -> None:
    put_alerts(database, "a", "b", "c", priority=[3, 1, 2])
    put_alerts(database, "y", "z", priority=5, risk_level="LOW", selection="random_sample")
    insert_new(database, new_alerts("later", day=NEXT_DAY))
    assert open_reviews(database, DAY)["transaction_id"].tolist() == ["b", "c", "a", "y", "z"]
    assert open_reviews(database, DAY, limit=1)["transaction_id"].tolist() == ["b", "y", "z"]
    assert open_reviews(database, limit=9)["transaction_id"].tolist() == ["b", "c", "later", "a", "y", "z"]
    assert count_open(database, DAY) == {"threshold": 3, "random_sample": 2}
    close_alert(database, 2, "false_positive", "ada")
    assert "b" not in open_reviews(database)["transaction_id"].tolist()
    assert count_open(database) == {"threshold": 3, "random_sample": 2}
    assert count_open(database, date(2026, 1, 1)) == {"threshold": 0, "random_sample": 0}


def test_related_are_the_card_and_the_merchant_within_seven_days_without_the_alert_itself(database: Database) -> None:
    put_transactions(
        database,
        a=("u1", "m1", 0),
        card=("u1", "m2", -6.9),
        shop=("u2", "m1", 6.9),
        both=("u1", "m1", -1),
        unscored=("u1", "m3", 0),
        other=("u2", "m2", 0),
        early=("u1", "m1", -7.1),
        late=("u1", "m1", 7.1),
    )
    put_alerts(database, "a")
    for name, score in (("card", 0.2), ("shop", 0.9), ("both", 0.7)):
        put_score(database, name, score)
    record_decisions(database, ["shop"], "confirmed_fraud", "ada")
    record_decisions(database, ["shop"], "false_positive", "bob")
    found = related_transactions(database, 1)
    assert found["transaction_id"].tolist() == ["both", "card", "unscored", "shop"]
    assert found["same_card"].tolist() == [True, True, True, False]
    assert found["same_merchant"].tolist() == [True, False, False, True]
    assert found["anomaly_score"].tolist()[:2] == [0.7, 0.2]
    assert pd.isna(found["anomaly_score"].iloc[2])
    assert found["outcome"].isna().tolist() == [True, True, True, False]
    assert found["outcome"].iloc[3] == "false_positive"
    assert found["amount"].tolist() == [10.5] * 4
    pd.testing.assert_frame_equal(close_alert(database, 1, "confirmed_fraud", "ada"), found)


def test_closing_an_alert_leaves_a_decision_that_outlives_what_becomes_of_the_alert(database: Database) -> None:
    put_alerts(database, "a")
    close_alert(database, 1, "confirmed_fraud", "ada")
    with database.begin(actor="eve") as connection:
        row = connection.execute(select(alerts)).one()
        assert (row.status, row.outcome, row.assignee, row.version) == ("closed", "confirmed_fraud", "ada", 3)
        connection.execute(update(alerts).values(status="investigating"))
    assert history(database) == [("a", "confirmed_fraud", "ada", "alert", 1)]
    close_alert(database, 1, "false_positive", "bob")
    close_alert(database, 1, "false_positive", "carl")
    expected = [("a", "confirmed_fraud", "ada", "alert", 1), ("a", "false_positive", "bob", "alert", 1)]
    assert history(database) == expected
    with database.begin(actor="eve") as connection:
        connection.execute(delete(alerts))
    assert history(database) == expected


def test_another_outcome_reopens_and_closes_again(database: Database) -> None:
    put_alerts(database, "a")
    close_alert(database, 1, "confirmed_fraud", "ada")
    close_alert(database, 1, "inconclusive", "bob")
    with database.begin() as connection:
        row = connection.execute(select(alerts)).one()
    assert (row.status, row.outcome, row.assignee, row.version) == ("closed", "inconclusive", "ada", 5)


def test_a_change_past_the_program_is_recorded_with_its_time_and_who_signs(database: Database) -> None:
    put_alerts(database, "a", "b")
    with database.begin(actor="eve") as connection:
        connection.execute(text("UPDATE alerts SET updated_at = '2026-03-01', assignee = 'kim' WHERE alert_id = 1"))
        now = connection.execute(text("SELECT now()")).scalar_one()
        connection.execute(update(alerts).values(status="investigating"))
        connection.execute(update(alerts).values(status="closed", outcome="false_positive"))
        connection.execute(update(alerts).values(status="closed"))
        assert connection.execute(select(alerts.c.version).order_by(alerts.c.alert_id)).scalars().all() == [4, 3]
    found = decisions_between(database, LONG_AGO, FAR_AHEAD)
    assert found["decided_by"].tolist() == ["eve", "eve"]
    assert found["decided_at"].tolist() == [now, now]


def test_an_alert_cannot_be_closed_without_an_outcome(database: Database) -> None:
    put_alerts(database, "a")
    with database.begin(actor="eve") as connection:
        connection.execute(update(alerts).values(status="investigating"))
    with (
        pytest.raises(InvalidDataError, match="ck_alerts_outcome_needs_closed"),
        database.begin(actor="eve") as connection,
    ):
        connection.execute(update(alerts).values(status="closed"))
    assert history(database) == []


def test_a_stale_version_is_refused(database: Database) -> None:
    put_alerts(database, "a")
    close_alert(database, 1, "confirmed_fraud", "ada", expected_version=1)
    with pytest.raises(ConflictError, match=r"Alert 1 has version 3, not 1: somebody changed it .* look at it again"):
        close_alert(database, 1, "false_positive", "bob", expected_version=1)
    assert len(history(database)) == 1


def test_an_unknown_alert_outcome_or_person_is_refused(database: Database) -> None:
    put_alerts(database, "a")
    with pytest.raises(NotFoundError, match=r"There is no alert 7: `fraud-pipeline review queue`"):
        close_alert(database, 7, "confirmed_fraud", "ada")
    with pytest.raises(InvalidDataError, match="There is no alert 7"):
        related_transactions(database, 7)
    with pytest.raises(InvalidDataError, match="'fraud' is no outcome: choose confirmed_fraud, false_positive"):
        close_alert(database, 1, "fraud", "ada")
    with pytest.raises(InvalidDataError, match="needs the name of who decides"):
        record_decisions(database, ["a"], "confirmed_fraud", " ")
    assert history(database) == []


def test_many_are_decided_at_once_and_their_alerts_are_closed(database: Database) -> None:
    put_transactions(database, **{name: ("u1", "m1", 0) for name in "abcd"})
    put_alerts(database, "a")
    put_alerts(database, "b", selection="random_sample")
    assert record_decisions(database, ["c", "b", "a", "d", "c"], "confirmed_fraud", "ada") == 4
    assert sorted(history(database), key=str) == [
        ("a", "confirmed_fraud", "ada", "alert", 1),
        ("b", "confirmed_fraud", "ada", "random", 2),
        ("c", "confirmed_fraud", "ada", "bulk", None),
        ("d", "confirmed_fraud", "ada", "bulk", None),
    ]
    assert open_reviews(database).empty
    assert record_decisions(database, ["a"], "confirmed_fraud", "ada") == 0


def test_one_unknown_transaction_refuses_them_all(database: Database) -> None:
    put_transactions(database, a=("u1", "m1", 0))
    put_alerts(database, "a")
    with pytest.raises(InvalidDataError, match=r"There is no transaction x, y, so nothing was decided"):
        record_decisions(database, ["a", "x", "y"], "confirmed_fraud", "ada")
    with pytest.raises(InvalidDataError, match=r"no transaction x0, .*x9 and 2 more, so nothing"):
        record_decisions(database, [f"x{n}" for n in range(12)], "confirmed_fraud", "ada")
    assert history(database) == []
    assert len(open_reviews(database)) == 1


def test_people_who_decide_on_the_same_transactions_at_once_take_turns(database: Database) -> None:
    names = [f"t{n}" for n in range(50)]
    put_transactions(database, **{name: ("u1", "m1", 0) for name in names})
    put_alerts(database, *names)
    orders = [names, names[::-1]] * 3
    with ThreadPoolExecutor(6) as pool:
        new = list(pool.map(lambda order: record_decisions(database, order, "confirmed_fraud", "ada"), orders))
    assert sorted(new) == [0] * 5 + [50]


def test_decisions_are_read_by_their_time_and_give_labels(database: Database) -> None:
    put_transactions(database, **{name: ("u1", "m1", 0) for name in "abc"})
    put_alerts(database, "a")
    close_alert(database, 1, "confirmed_fraud", "ada", at=NOON)
    record_decisions(database, ["b"], "false_positive", "bob", at=NOON + timedelta(days=1))
    record_decisions(database, ["c"], "inconclusive", "bob")
    found = decisions_between(database, NOON, NOON + timedelta(days=1))
    assert found["transaction_id"].tolist() == ["a"]
    assert found["decided_at"].tolist() == [NOON]
    both = decisions_between(database, NOON, NOON + timedelta(days=1, seconds=1))
    assert from_decisions(both[list(DECISION_COLUMNS)])["is_fraud"].tolist() == [True, False]
    assert decisions_between(database, LONG_AGO, NOON).dtypes.equals(found.dtypes)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE review_decisions SET outcome = 'false_positive'",
        "DELETE FROM review_decisions",
        "TRUNCATE review_decisions",
    ],
)
def test_decisions_cannot_be_changed_or_taken_away(database: Database, statement: str) -> None:
    put_alerts(database, "a")
    close_alert(database, 1, "confirmed_fraud", "ada")
    with (
        pytest.raises(InvalidDataError, match="append-only: record a new decision instead"),
        database.begin() as session,
    ):
        session.execute(text(statement))
    assert history(database) == [("a", "confirmed_fraud", "ada", "alert", 1)]


# The migration, on a database that has worked before


def migrate(database: Database, revision: str) -> None:
    direction = command.upgrade if revision == "head" else command.downgrade
    with database.begin() as connection:
        direction(migration_config(connection), revision)


def rows_of_alerts(database: Database) -> list[dict[str, object]]:
    with database.begin() as connection:
        found = connection.execute(text("SELECT * FROM alerts ORDER BY alert_id")).mappings().all()
    return [dict(row) for row in found]


def test_upgrade_keeps_every_alert_and_makes_decisions_of_those_that_were_closed(database: Database) -> None:
    put_alerts(database, "open", "fraud", "unassigned", "silent")
    migrate(database, "0002")
    before = rows_of_alerts(database)
    assert "selection" not in before[0]
    with database.begin() as connection:
        changes = {"fraud": ("confirmed_fraud", "ada"), "unassigned": ("false_positive", None), "silent": (None, "ada")}
        for name, (outcome, assignee) in changes.items():
            connection.execute(
                text(
                    "UPDATE alerts SET status = 'closed', outcome = :outcome, assignee = :assignee, updated_at = :at "
                    "WHERE transaction_id = :name"
                ),
                {"outcome": outcome, "assignee": assignee, "at": NOON, "name": name},
            )
        account = connection.execute(text("SELECT session_user")).scalar_one()
    worked_on = rows_of_alerts(database)
    migrate(database, "head")
    database.require_current_schema()
    mended = [row | ({"outcome": "inconclusive"} if row["transaction_id"] == "silent" else {}) for row in worked_on]
    kept = [{name: row[name] for name in worked_on[0]} for row in rows_of_alerts(database)]
    assert kept == mended
    assert history(database) == [
        ("fraud", "confirmed_fraud", "ada", "alert", 1),
        ("unassigned", "false_positive", account, "alert", 4),
    ]
    assert set(decisions_between(database, LONG_AGO, FAR_AHEAD)["decided_at"]) == {NOON}
    with database.begin() as connection:
        columns = ("alert_id", "case_id", "current_priority", "due_at", "closed_at", "first_touched_at", "selection")
        found = connection.execute(select(*(alerts.c[name] for name in columns)).order_by(alerts.c.alert_id)).all()
        stored = connection.execute(select(cases).order_by(cases.c.case_id)).mappings().all()
        labels = connection.execute(select(fraud_labels).order_by(fraud_labels.c.transaction_id)).mappings().all()
    assert [tuple(row) for row in found] == [
        (number, 1, 2, None, None, None, "threshold") if number == 2 else (number, 2, 2, None, NOON, NOON, "threshold")
        for number in (1, 2, 3, 4)
    ]
    assert [(row["status"], row["outcome"], row["closed_at"]) for row in stored] == [
        ("open", None, None),
        ("closed", "confirmed_fraud", NOON),
    ]
    assert [(row["transaction_id"], row["is_fraud"], row["label_known_at"]) for row in labels] == [
        ("fraud", True, NOON),
        ("unassigned", False, NOON),
    ]
    close_alert(database, 1, "false_positive", "bob")
    assert len(history(database)) == 3


def test_downgrade_keeps_alerts_and_drops_what_the_earlier_program_would_take_for_one(database: Database) -> None:
    put_alerts(database, "a")
    put_alerts(database, "drawn", selection="random_sample")
    close_alert(database, 1, "confirmed_fraud", "ada")
    before = rows_of_alerts(database)
    migrate(database, "0002")
    (kept,) = rows_of_alerts(database)
    assert kept == {name: before[0][name] for name in kept}
    with database.begin() as connection:
        # Nothing is left that would fail on a change.
        connection.execute(text("UPDATE alerts SET status = 'open', outcome = NULL"))
        with pytest.raises(DBAPIError), connection.begin_nested():
            connection.execute(metadata.tables["review_decisions"].select())
    migrate(database, "head")
    assert history(database) == []
