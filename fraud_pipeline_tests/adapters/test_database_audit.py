"""The audit: every change of an alert or case with who, when, from what to what; and nobody takes it back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import delete, select, text, update

from fraud_pipeline.adapters.database.alert_repository import insert_new
from fraud_pipeline.adapters.database.alert_tables import alert_events, alerts, cases
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.workflow_repository import AlertChange, alert_history, change_alert
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline_tests.adapters.test_database_alerts import new_alerts
from fraud_pipeline_tests.conftest import libpq_url


@pytest.fixture(autouse=True)
def raised(database: Database) -> None:
    insert_new(database, new_alerts("a"), run_id="night")


def events(database: Database) -> list[dict[str, Any]]:
    with database.begin() as connection:
        found = connection.execute(select(alert_events).order_by(alert_events.c.event_id)).mappings().all()
    return [dict(row) for row in found]


def test_a_new_alert_and_its_case_are_events_of_the_run(database: Database) -> None:
    opened, raised = events(database)
    assert (opened["event_type"], opened["alert_id"], opened["case_id"]) == ("case_opened", None, 1)
    assert (raised["event_type"], raised["alert_id"], raised["case_id"]) == ("raised", 1, 1)
    for event in (opened, raised):
        assert (event["actor"], event["run_id"], event["before"]) == ("pipeline", "night", None)
    assert raised["after"]["transaction_id"] == "a"
    assert raised["after"]["status"] == "open"
    assert "reasons" not in raised["after"]
    assert opened["after"]["priority"] == 2


def test_the_run_that_a_new_row_names_is_told_where_the_program_does_not(database: Database) -> None:
    insert_new(database, new_alerts("b"))
    assert alert_history(database, 2)["run_id"].tolist() == ["1"]


def test_a_change_is_an_event_with_the_columns_that_changed_as_they_were_and_are(database: Database) -> None:
    change = AlertChange(status="investigating", assignee="ada")
    now = change_alert(database, 1, change, actor="bob", expected_version=1)
    event = events(database)[-1]
    assert (event["event_type"], event["actor"], event["run_id"], event["case_id"]) == ("changed", "bob", None, 1)
    assert event["at"] == now["updated_at"]
    assert set(event["before"]) == set(event["after"])
    assert {name: event["before"][name] for name in ("status", "assignee", "version")} == {
        "status": "open",
        "assignee": None,
        "version": 1,
    }
    assert {name: event["after"][name] for name in ("status", "assignee", "version")} == {
        "status": "investigating",
        "assignee": "ada",
        "version": 2,
    }
    assert set(event["after"]) == {"status", "assignee", "version", "updated_at", "first_touched_at"}


def test_the_time_is_the_real_one_whatever_a_replay_says(database: Database) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    change = AlertChange(assignee="ada")
    now = change_alert(database, 1, change, actor="bob", expected_version=1, now=long_ago)
    assert now["updated_at"] == long_ago
    event = events(database)[-1]
    assert event["at"] - long_ago > timedelta(days=365)


def test_what_changes_nothing_is_no_event(database: Database) -> None:
    with database.begin(actor="eve") as connection:
        connection.execute(update(alerts).values(status="open"))
        connection.execute(update(cases).values(status="open"))
    assert len(events(database)) == 2


def test_a_deletion_is_an_event_with_all_that_was(database: Database) -> None:
    with database.begin(actor="eve") as connection:
        connection.execute(delete(alerts))
        connection.execute(delete(cases))
    gone, case_gone = events(database)[-2:]
    assert (gone["event_type"], gone["alert_id"], gone["after"]) == ("deleted", 1, None)
    assert gone["before"]["transaction_id"] == "a"
    assert (case_gone["event_type"], case_gone["actor"]) == ("case_deleted", "eve")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alerts SET assignee = 'eve'",
        "UPDATE cases SET assignee = 'eve'",
        "DELETE FROM alerts",
        "INSERT INTO cases (user_id, priority) VALUES ('u9', 1)",
        "SELECT add_alert_comment(1, 'seen')",
        "SELECT record_rescore(1, '{}')",
    ],
)
@pytest.mark.parametrize("actor", [None, " "])
def test_a_change_that_nobody_signs_for_is_refused(database: Database, statement: str, actor: str | None) -> None:
    before = events(database)
    refused = pytest.raises(InvalidDataError, match="nobody signs for this change")
    with refused, database.begin(actor=actor) as connection:
        connection.execute(text(statement))
    assert events(database) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alert_events SET actor = 'nobody'",
        "DELETE FROM alert_events",
        "TRUNCATE alert_events",
        "TRUNCATE alerts",
        "TRUNCATE cases CASCADE",
    ],
)
def test_nobody_takes_an_event_back_not_even_the_owner(database: Database, database_url: str, statement: str) -> None:
    before = events(database)
    with psycopg.connect(libpq_url(database_url)) as session:
        rights = session.execute(
            "SELECT rolsuper AND pg_has_role(rolname, (SELECT relowner FROM pg_class WHERE relname = 'alert_events'), "
            "'MEMBER') FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert rights == (True,)
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=r"keeps what happened: \w+ is refused"):
            session.execute(statement.encode())
    assert events(database) == before
    with pytest.raises(InvalidDataError, match="keeps what happened"), database.begin(actor="eve") as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("add_alert_comment(9, 'seen')", "there is no alert 9"),
        ("add_alert_comment(1, ' ')", "a comment cannot be empty"),
        ("add_alert_comment(1, NULL)", "a comment cannot be empty"),
    ],
)
def test_a_comment_on_nothing_or_without_words_is_refused(database: Database, call: str, reason: str) -> None:
    with pytest.raises(InvalidDataError, match=reason), database.begin(actor="ada") as connection:
        connection.execute(text(f"SELECT {call}"))


def test_who_signs_is_forgotten_with_the_transaction(database: Database) -> None:
    with database.begin(actor="ada", run_id="night") as connection:
        connection.execute(update(alerts).values(assignee="ada"))
    with pytest.raises(InvalidDataError, match="nobody signs"), database.begin() as connection:
        connection.execute(update(alerts).values(assignee="bob"))
