"""Changes of alerts and cases: allowed moves, versions, urgency, and what happens at the same moment."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from threading import Barrier
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from fraud_pipeline.adapters.database.alert_repository import insert_new, most_urgent
from fraud_pipeline.adapters.database.alert_tables import alerts
from fraud_pipeline.adapters.database.case_repository import (
    read_case,
)
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.review_repository import close_alert, count_open, open_reviews
from fraud_pipeline.adapters.database.workflow_repository import (
    AlertChange,
    alert_history,
    change_alert,
    change_alert_in,
    escalate_overdue,
    read_alert,
)
from fraud_pipeline.core import workflow
from fraud_pipeline.core.errors import ConflictError, InvalidDataError, InvalidMoveError, NotFoundError
from fraud_pipeline.core.workflow import OUTCOMES, STATES
from fraud_pipeline_tests.adapters.test_database_alerts import new_alerts
from fraud_pipeline_tests.adapters.test_database_reviews import history

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOURS = (4, 8, 24, 72, 168)
TAKE = AlertChange(status="investigating")


def change(database: Database, alert_id: int = 1, *, by: str = "ada", version: int | None = None, **values: Any) -> Any:  # noqa: ANN401 - columns of any type
    return change_alert(database, alert_id, AlertChange(**values), actor=by, expected_version=version)


def put(database: Database, *names: str, **values: Any) -> None:  # noqa: ANN401 - columns of any type
    insert_new(database, new_alerts(*names, **values), sla_hours=HOURS)


def alert(database: Database, alert_id: int = 1) -> dict[str, Any]:
    with database.begin() as connection:
        return read_alert(connection, alert_id)


def case_of(database: Database, case_id: int = 1) -> dict[str, Any]:
    with database.begin() as connection:
        return read_case(connection, case_id)


def at_once(*calls: Any) -> list[BaseException | None]:  # noqa: ANN401 - callables
    """Run calls at the same moment; what each raised."""
    together = Barrier(len(calls), timeout=20)

    def call(work: Any) -> None:  # noqa: ANN401 - a callable
        together.wait()
        work()

    with ThreadPoolExecutor(len(calls)) as pool:
        started: list[Future[None]] = [pool.submit(call, work) for work in calls]
    return [each.exception() for each in started]


# Moves


def bring_to(database: Database, alert_id: int, state: str) -> None:
    if state != "open":
        change(database, alert_id, status="investigating")
    if state == "closed":
        change(database, alert_id, status="closed", outcome="inconclusive")


def test_the_database_and_the_core_allow_the_same_moves(database: Database) -> None:
    pairs = list(product(STATES, STATES))
    put(database, *(f"t{n}" for n in range(len(pairs))))
    for number, (current, wanted) in enumerate(pairs, start=1):
        bring_to(database, number, current)
        values = {"status": wanted} | ({"outcome": "inconclusive"} if wanted == "closed" else {})
        reason = ""
        try:
            workflow.require_move(current, wanted)
        except InvalidMoveError as refused:
            reason = f"cannot become {wanted}: the allowed move is to {refused.allowed[0]}"
        move = update(alerts).where(alerts.c.alert_id == number).values(values)
        if reason:
            with pytest.raises(InvalidDataError, match=reason), database.begin(actor="eve") as connection:
                connection.execute(move)
        else:
            with database.begin(actor="eve") as connection:
                connection.execute(move)
        assert alert(database, number)["status"] == (current if reason else wanted)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(1, 4),
            st.one_of(
                st.builds(AlertChange, status=st.sampled_from(STATES)),
                st.builds(AlertChange, status=st.just("closed"), outcome=st.sampled_from(OUTCOMES)),
                st.builds(AlertChange, priority=st.integers(1, 5)),
            ),
        ),
        max_size=15,
    )
)
def test_whatever_is_tried_cases_and_alerts_fit_together(
    database: Database, tried: list[tuple[int, AlertChange]]
) -> None:
    first = len(all_alerts(database)) + 1
    names = [f"t{first + n}" for n in range(4)]
    put(database, *names, user_id=[f"u{first}", f"u{first}", f"u{first}", f"v{first}"])
    for number, wanted in tried:
        with suppress(InvalidMoveError):
            change_alert(database, first - 1 + number, wanted, actor="ada", expected_version=None)
    for case_id, of_case in all_alerts(database).groupby("case_id"):
        found = case_of(database, int(str(case_id)))
        waiting = of_case["status"] != "closed"
        assert (found["status"] == "open") == waiting.any()
        assert found["priority"] <= of_case["current_priority"].min()
        if not waiting.any():
            assert found["outcome"] == workflow.case_outcome(of_case["outcome"].tolist())


def all_alerts(database: Database) -> pd.DataFrame:
    with database.begin() as connection:
        return pd.DataFrame(connection.execute(select(alerts)).mappings().all(), columns=alerts.c.keys())


def test_a_closed_alert_keeps_its_outcome_until_it_is_opened_again(database: Database) -> None:
    put(database, "a")
    close_alert(database, 1, "confirmed_fraud", "ada")
    with pytest.raises(InvalidDataError, match="keeps its outcome"), database.begin(actor="eve") as connection:
        connection.execute(update(alerts).values(outcome="false_positive"))
    opened = change(database, status="investigating")
    assert (opened["outcome"], opened["closed_at"]) == (None, None)
    assert change(database, status="closed", outcome="false_positive")["closed_at"] is not None


def test_an_alert_starts_open(database: Database) -> None:
    put(database, "a")
    with database.begin(actor="eve") as connection:
        row = dict(connection.execute(select(alerts)).mappings().one())
        connection.execute(delete(alerts))
    values = {name: value for name, value in row.items() if name != "alert_id"}
    closed = {"status": "closed", "outcome": "inconclusive", "closed_at": NOON}
    with pytest.raises(InvalidDataError, match="starts open, not closed"), database.begin(actor="eve") as connection:
        connection.execute(insert(alerts), values | closed)


# One alert


def test_a_change_gives_the_alert_as_it_is_now_and_the_next_version(database: Database) -> None:
    put(database, "a")
    taken = change(database, status="investigating", assignee="ada", version=1)
    assert (taken["status"], taken["assignee"], taken["version"]) == ("investigating", "ada", 2)
    assert taken == alert(database)
    assert taken["first_touched_at"] == taken["updated_at"]
    again = change(database, by="bob", assignee="bob")
    assert (again["version"], again["first_touched_at"]) == (3, taken["first_touched_at"])
    assert change(database, status="investigating", assignee="bob") == again
    assert change(database, assignee=None)["assignee"] is None


def test_a_comment_is_kept_and_changes_nothing_else(database: Database) -> None:
    put(database, "a")
    before = alert(database)
    assert change(database, comment="Called the card holder.") == before
    event = alert_history(database, 1).iloc[-1]
    assert (event["event_type"], event["actor"], event["comment"]) == ("commented", "ada", "Called the card holder.")
    assert event["case_id"] == 1


def test_a_stale_version_is_a_conflict_that_tells_the_present_one(database: Database) -> None:
    put(database, "a")
    change(database, assignee="ada", version=1)
    with pytest.raises(ConflictError, match="Alert 1 has version 2, not 1") as refused:
        change(database, by="bob", assignee="bob", version=1)
    assert refused.value.current_version == 2
    assert alert(database)["assignee"] == "ada"


def test_two_who_change_from_the_same_version_at_once_do_not_overwrite_each_other(
    database: Database, database_url: str
) -> None:
    put(database, *(f"t{n}" for n in range(10)))
    other = Database(database_url)
    for number in range(1, 11):
        raised = at_once(
            lambda number=number: change(database, number, by="ada", assignee="ada", version=1),
            lambda number=number: change(other, number, by="bob", assignee="bob", version=1),
        )
        assert sorted(type(error).__name__ for error in raised) == ["ConflictError", "NoneType"]
        winner = "ada" if raised[0] is None else "bob"
        assert (alert(database, number)["assignee"], alert(database, number)["version"]) == (winner, 2)
    other.dispose()


def test_two_who_close_the_same_alert_at_once_leave_one_decision(database: Database, database_url: str) -> None:
    put(database, "a")
    change(database, status="investigating")
    other = Database(database_url)
    raised = at_once(
        lambda: change(database, by="ada", status="closed", outcome="confirmed_fraud", version=2),
        lambda: change(other, by="bob", status="closed", outcome="false_positive", version=2),
    )
    other.dispose()
    assert sorted(type(error).__name__ for error in raised) == ["ConflictError", "NoneType"]
    assert len(history(database)) == 1


def test_an_unknown_alert_is_not_found(database: Database) -> None:
    with pytest.raises(NotFoundError, match=r"no alert 7: `fraud-pipeline review queue`"):
        change(database, 7, comment="seen")
    with pytest.raises(NotFoundError, match="no alert 7"):
        alert_history(database, 7)


def test_a_change_and_what_the_caller_writes_with_it_are_one_transaction(database: Database) -> None:
    put(database, "a")
    with database.begin() as connection:
        written = connection.begin_nested()
        assert change_alert_in(connection, 1, TAKE, actor="ada", expected_version=1)["version"] == 2
        written.rollback()
    assert alert(database)["version"] == 1


def test_nothing_of_a_refused_change_is_written(database: Database) -> None:
    put(database, "a")
    with pytest.raises(InvalidDataError, match="name of who"):
        change(database, by=" ", assignee="ada")
    with pytest.raises(InvalidMoveError):
        change(database, status="closed", outcome="inconclusive", comment="done")
    assert alert_history(database, 1)["event_type"].tolist() == ["raised"]


# Time


def test_an_alert_is_due_by_its_priority(database: Database) -> None:
    names, raised_at = list("abcde"), pd.Timestamp(NOON).as_unit("us")
    put(database, *names, priority=[1, 2, 3, 4, 5], raised_at=raised_at)
    put(database, "drawn", priority=5, risk_level="LOW", selection="random_sample")
    assert [alert(database, n)["due_at"] for n in range(1, 6)] == [NOON + timedelta(hours=hours) for hours in HOURS]
    assert alert(database, 6)["due_at"] is None


def test_a_new_priority_makes_it_due_anew_if_the_hours_are_given(database: Database) -> None:
    put(database, "a", raised_at=pd.Timestamp(NOON).as_unit("us"))
    lower = AlertChange(priority=4)
    moved = change_alert(
        database, 1, lower, actor="ada", expected_version=None, now=NOON + timedelta(hours=1), sla_hours=HOURS
    )
    assert (moved["current_priority"], moved["due_at"]) == (4, NOON + timedelta(hours=73))
    assert change(database, priority=1)["due_at"] == NOON + timedelta(hours=73)


def test_a_snoozed_alert_leaves_the_queue_until_its_time(database: Database) -> None:
    put(database, "a", "b")
    change(database, snoozed_until=datetime(2100, 1, 1, tzinfo=UTC))
    assert open_reviews(database)["transaction_id"].tolist() == ["b"]
    assert most_urgent(database, 9)["transaction_id"].tolist() == ["b"]
    assert count_open(database)["threshold"] == 1
    change(database, snoozed_until=NOON)
    assert open_reviews(database)["transaction_id"].tolist() == ["a", "b"]
    change(database, snoozed_until=None)
    assert count_open(database)["threshold"] == 2


def test_closing_ends_a_snooze(database: Database) -> None:
    put(database, "a")
    change(database, snoozed_until=datetime(2100, 1, 1, tzinfo=UTC), status="investigating")
    assert change(database, status="closed", outcome="inconclusive")["snoozed_until"] is None


def test_what_is_overdue_becomes_one_step_more_urgent_and_due_anew(database: Database) -> None:
    raised_at = pd.Timestamp(NOON).as_unit("us")
    put(database, *"abcdef", priority=[1, 2, 2, 2, 2, 5], raised_at=raised_at, user_id=list("abcdef"))
    change(database, 3, snoozed_until=NOON + timedelta(days=9))
    close_alert(database, 4, "false_positive", "ada")
    change(database, 5, priority=3)
    now = NOON + timedelta(hours=9)
    assert escalate_overdue(database, now, HOURS, run_id="night") == 2
    found = {n: alert(database, n) for n in range(1, 7)}
    assert [found[n]["current_priority"] for n in range(1, 7)] == [1, 1, 2, 2, 2, 5]
    assert [found[n]["due_at"] for n in (2, 5)] == [now + timedelta(hours=4), now + timedelta(hours=8)]
    assert found[1]["due_at"] == NOON + timedelta(hours=4)
    assert found[2]["breached_at"] == NOON + timedelta(hours=8)
    assert found[2]["first_touched_at"] is None
    assert [found[n]["priority"] for n in (2, 5)] == [2, 2]
    assert case_of(database, found[2]["case_id"])["priority"] == 1
    event = alert_history(database, 2).iloc[-1]
    assert (event["actor"], event["run_id"], event["after"]["current_priority"]) == ("pipeline", "night", 1)
    # The same night again finds nothing: it is due later now.
    assert escalate_overdue(database, now, HOURS) == 0


def test_alerts_without_a_due_time_get_one_and_are_not_more_urgent_yet(database: Database) -> None:
    insert_new(database, new_alerts("a"))
    insert_new(database, new_alerts("drawn", selection="random_sample"))
    assert escalate_overdue(database, NOON, HOURS) == 0
    assert (alert(database)["due_at"], alert(database)["current_priority"]) == (NOON + timedelta(hours=8), 2)
    assert alert(database, 2)["due_at"] is None


def test_the_pipeline_cannot_make_an_alert_less_urgent(database: Database) -> None:
    put(database, "a")
    with pytest.raises(InvalidDataError, match="priority of alert 1 does not fall by itself"):
        change(database, by="pipeline", priority=5)
    assert change(database, by="ada", priority=5)["current_priority"] == 5


def test_an_alert_that_is_closed_late_is_marked(database: Database) -> None:
    put(database, "a", "b", raised_at=pd.Timestamp(NOON).as_unit("us"))
    close_alert(database, 1, "false_positive", "ada", at=NOON + timedelta(hours=7))
    close_alert(database, 2, "false_positive", "ada", at=NOON + timedelta(hours=9))
    assert [alert(database, n)["breached_at"] for n in (1, 2)] == [None, NOON + timedelta(hours=8)]
    assert alert(database, 2)["closed_at"] == NOON + timedelta(hours=9)
