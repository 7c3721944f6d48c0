"""Cases: who joins them, when they close and open again, also at the same moment."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from fraud_pipeline.adapters.database.alert_repository import insert_new
from fraud_pipeline.adapters.database.alert_tables import cases
from fraud_pipeline.adapters.database.case_repository import (
    assign_case,
    case_alerts,
    case_history,
    close_case,
)
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.review_repository import close_alert, record_decisions
from fraud_pipeline.adapters.database.workflow_repository import (
    alert_history,
    escalate_overdue,
)
from fraud_pipeline.core.errors import ConflictError, InvalidDataError, InvalidMoveError, NotFoundError
from fraud_pipeline_tests.adapters.test_database_alerts import new_alerts
from fraud_pipeline_tests.adapters.test_database_reviews import put_transactions
from fraud_pipeline_tests.adapters.test_database_workflow import (
    HOURS,
    alert,
    all_alerts,
    at_once,
    case_of,
    change,
    put,
)


def test_alerts_of_a_card_holder_join_the_open_case_and_lift_its_priority(database: Database) -> None:
    put(database, "a", "b", "c", user_id=["u1", "u2", "u1"], priority=[4, 3, 5])
    put(database, "drawn", selection="random_sample")
    assert [alert(database, n)["case_id"] for n in range(1, 5)] == [1, 2, 1, None]
    assert (case_of(database)["priority"], case_of(database)["version"]) == (4, 1)
    put(database, "d", user_id="u1", priority=2)
    assert alert(database, 5)["case_id"] == 1
    assert (case_of(database)["priority"], case_of(database)["version"]) == (2, 2)
    put(database, "d", user_id="u1", priority=1)
    assert (case_of(database)["priority"], case_of(database)["version"]) == (2, 2)
    assert case_of(database, 2)["version"] == 1


def test_many_days_of_one_run_raise_their_alerts_over_the_same_connection(database: Database) -> None:
    # From the sixth time on the driver prepares a statement; PostgreSQL plans it without its values five times later.
    for number in range(14):
        put(database, f"t{number}", user_id="u1")
    assert {alert(database, n)["case_id"] for n in range(1, 15)} == {1}


def test_a_case_is_opened_anew_after_the_last_one_was_closed(database: Database) -> None:
    put(database, "a")
    close_alert(database, 1, "false_positive", "ada")
    put(database, "b")
    assert alert(database, 2)["case_id"] == 2
    assert (case_of(database)["status"], case_of(database, 2)["status"]) == ("closed", "open")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (("false_positive", "confirmed_fraud", "inconclusive"), "confirmed_fraud"),
        (("false_positive", "inconclusive", "false_positive"), "inconclusive"),
        (("false_positive", "false_positive", "false_positive"), "false_positive"),
    ],
)
def test_a_case_closes_with_its_last_alert(database: Database, outcomes: tuple[str, ...], expected: str) -> None:
    put(database, "a", "b", "c")
    for number, outcome in enumerate(outcomes, start=1):
        assert case_of(database)["status"] == "open"
        close_alert(database, number, outcome, "ada")
    closed = case_of(database)
    assert (closed["status"], closed["outcome"]) == ("closed", expected)
    assert closed["closed_at"] == closed["updated_at"]


def test_an_alert_that_is_opened_again_opens_its_case(database: Database) -> None:
    put(database, "a", "b")
    close_case(database, 1, "confirmed_fraud", "ada", None)
    assert change(database, status="investigating")["case_id"] == 1
    opened = case_of(database)
    assert (opened["status"], opened["outcome"], opened["closed_at"]) == ("open", None, None)
    change(database, status="closed", outcome="false_positive")
    assert case_of(database)["outcome"] == "confirmed_fraud"


def test_an_alert_that_is_opened_again_moves_to_the_case_that_is_open_by_now(database: Database) -> None:
    put(database, "a", "b", priority=[1, 3])
    close_alert(database, 1, "confirmed_fraud", "ada")
    close_alert(database, 2, "false_positive", "ada")
    put(database, "c", priority=4)
    assert change(database, status="investigating")["case_id"] == 2
    left, joined = case_of(database, 1), case_of(database, 2)
    # The fraud has left the case, so what is left of it is genuine.
    assert (left["status"], left["outcome"]) == ("closed", "false_positive")
    assert (joined["status"], joined["priority"]) == ("open", 1)
    assert "case_id" in alert_history(database, 1).iloc[-1]["after"]


def test_two_cases_of_a_card_holder_that_are_opened_again_at_once_are_one(
    database: Database, database_url: str
) -> None:
    other = Database(database_url)
    users = [f"u{n}" for n in range(8)]
    for name in "ab":
        put(database, *(f"{name}{user}" for user in users), user_id=users)
        record_decisions_of(database)
    for first in range(1, 9):
        raised = at_once(
            lambda first=first: change(database, first, by="ada", status="investigating"),
            lambda first=first: change(other, first + 8, by="bob", status="investigating"),
        )
        assert raised == [None, None]
        assert alert(database, first)["case_id"] == alert(database, first + 8)["case_id"]
    other.dispose()


def record_decisions_of(database: Database) -> None:
    """Close everything that waits."""
    for number in all_alerts(database).query("status != 'closed'")["alert_id"]:
        close_alert(database, int(number), "inconclusive", "ada")


def test_a_case_is_closed_whole(database: Database) -> None:
    put(database, "a", "b", "c")
    close_alert(database, 1, "confirmed_fraud", "ada")
    version = case_of(database)["version"]
    with pytest.raises(ConflictError, match=f"Case 1 has version {version}, not 7"):
        close_case(database, 1, "false_positive", "ada", 7)
    closed = close_case(database, 1, "false_positive", "ada", version)
    assert (closed["status"], closed["outcome"]) == ("closed", "confirmed_fraud")
    assert case_alerts(database, 1)["outcome"].tolist() == ["confirmed_fraud", "false_positive", "false_positive"]
    with pytest.raises(InvalidMoveError, match="Case 1 is closed: re-open one of its alerts"):
        close_case(database, 1, "false_positive", "ada", None)
    with pytest.raises(NotFoundError, match="no case 9"):
        close_case(database, 9, "false_positive", "ada", None)
    with pytest.raises(InvalidDataError, match="is no outcome"):
        close_case(database, 1, "fraud", "ada", None)


def test_a_case_that_an_alert_joined_since_is_not_closed_from_the_earlier_version(database: Database) -> None:
    put(database, "a")
    seen = case_of(database)["version"]
    put(database, "b", priority=5)
    with pytest.raises(ConflictError, match="Case 1 has version 2, not 1"):
        close_case(database, 1, "false_positive", "ada", seen)
    assert alert(database, 2)["status"] == "open"


def test_a_case_and_what_joins_it_go_to_one_person(database: Database) -> None:
    put(database, "a", "b")
    close_alert(database, 1, "false_positive", "ada")
    assert assign_case(database, 1, "bob", "ada", case_of(database)["version"])["assignee"] == "bob"
    put(database, "c")
    assert [alert(database, n)["assignee"] for n in (1, 2, 3)] == ["ada", "bob", "bob"]
    with pytest.raises(ConflictError):
        assign_case(database, 1, None, "ada", 1)
    assign_case(database, 1, None, "ada", None)
    assert [alert(database, n)["assignee"] for n in (1, 2, 3)] == ["ada", None, None]


def test_a_case_cannot_be_closed_past_its_alerts_nor_a_second_one_opened(database: Database) -> None:
    put(database, "a")
    with pytest.raises(InvalidDataError, match="case 1 has alerts that are not closed"):  # noqa: SIM117 - one at a time
        with database.begin(actor="eve") as connection:
            connection.execute(update(cases).values(status="closed", outcome="inconclusive"))
    with pytest.raises(InvalidDataError, match="uq_cases_user_id_open"), database.begin(actor="eve") as connection:
        connection.execute(cases.insert(), {"user_id": "u1", "priority": 3})


def test_the_history_of_a_case_has_what_happened_to_its_alerts(database: Database) -> None:
    put(database, "a")
    change(database, comment="odd")
    close_alert(database, 1, "inconclusive", "ada")
    events = case_history(database, 1)
    assert events["event_type"].tolist() == ["case_opened", "raised", "commented", *["changed"] * 2, "case_changed"]
    assert events["actor"].tolist() == ["pipeline"] * 2 + ["ada"] * 4
    with pytest.raises(NotFoundError, match="no case 9"):
        case_history(database, 9)


def test_last_alerts_of_a_case_closed_at_once_close_it(database: Database, database_url: str) -> None:
    other = Database(database_url)
    users = [f"u{n}" for n in range(8)]
    put(database, *(f"{name}{user}" for user in users for name in "ab"), user_id=sorted(users * 2))
    found = all_alerts(database).groupby("case_id")["alert_id"].apply(list)
    for case_id, (one, two) in found.items():
        raised = at_once(
            lambda one=one: close_alert(database, one, "confirmed_fraud", "ada"),
            lambda two=two: close_alert(other, two, "false_positive", "bob"),
        )
        assert raised == [None, None]
        assert case_of(database, int(str(case_id)))["outcome"] == "confirmed_fraud"
    other.dispose()


def test_people_and_runs_that_touch_the_same_cases_in_any_order_do_not_lock_each_other_out(
    database: Database,
) -> None:
    users = [f"u{n}" for n in range(6)]
    names = {f"{name}{user}": user for name in "abcd" for user in users}
    put_transactions(database, **{name: (user, "m1", 0) for name, user in names.items()})
    put(database, *names, user_id=list(names.values()))
    halves = [[n for n in names if n[0] in "ab"], [n for n in names if n[0] in "cd"][::-1]]
    late = new_alerts(*(f"e{user}" for user in users), user_id=users[::-1])
    for _ in range(3):
        raised = at_once(
            lambda: record_decisions(database, halves[0], "confirmed_fraud", "ada"),
            lambda: record_decisions(database, halves[1], "false_positive", "bob"),
            lambda: insert_new(database, late, sla_hours=HOURS),
            lambda: escalate_overdue(database, datetime(2100, 1, 1, tzinfo=UTC), HOURS),
        )
        assert raised == [None] * 4
