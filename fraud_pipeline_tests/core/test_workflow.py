"""The rules of alerts: which moves there are, when they are due, and what a new verdict would change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core import workflow
from fraud_pipeline.core.errors import InvalidDataError, InvalidMoveError
from fraud_pipeline.core.workflow import ALLOWED_MOVES, OUTCOMES, STATES, UNSET, AlertChange

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOURS = (4, 8, 24, 72, 168)
LINEAGE = dict.fromkeys(workflow.VERDICT_LINEAGE, "1")
VERDICT = {
    "anomaly_score": 0.9,
    "score_percentile": 0.99,
    "confidence": 0.8,
    "risk_level": "HIGH",
    "priority": 2,
}


@pytest.mark.parametrize(("current", "wanted"), list(product(STATES, STATES)))
def test_a_move_is_allowed_or_refused_with_the_moves_that_are(current: str, wanted: str) -> None:
    moves = {("open", "investigating"), ("investigating", "closed"), ("closed", "investigating")}
    if current == wanted or (current, wanted) in moves:
        workflow.require_move(current, wanted)
        return
    allowed = ALLOWED_MOVES[current]
    with pytest.raises(InvalidMoveError, match=f"{current} cannot become {wanted}: .* {allowed[0]}") as refused:
        workflow.require_move(current, wanted)
    assert refused.value.allowed == allowed


@given(st.sampled_from(STATES), st.lists(st.sampled_from(STATES)))
def test_no_way_leads_to_closed_past_investigating(start: str, wanted: list[str]) -> None:
    way = [start]
    for state in wanted:
        try:
            workflow.require_move(way[-1], state)
        except InvalidMoveError:
            continue
        way.append(state)
    steps = [(one, other) for one, other in pairwise(way) if one != other]
    assert all("investigating" in step for step in steps)
    assert "open" not in [other for _, other in steps]


def test_a_change_sets_what_is_given_and_nothing_else() -> None:
    assert workflow.plan_change("open", AlertChange()) == {}
    assert workflow.plan_change("open", AlertChange(comment="seen")) == {}
    given_columns = AlertChange(status="investigating", assignee=None, snoozed_until=None, priority=1)
    assert workflow.plan_change("open", given_columns) == {
        "status": "investigating",
        "assignee": None,
        "snoozed_until": None,
        "current_priority": 1,
    }
    closing = AlertChange(status="closed", outcome="inconclusive")
    assert workflow.plan_change("investigating", closing) == {"status": "closed", "outcome": "inconclusive"}
    assert workflow.plan_change("closed", AlertChange(status="investigating")) == {"status": "investigating"}


@pytest.mark.parametrize(
    ("status", "change", "words"),
    [
        ("open", {"status": "closed", "outcome": "false_positive"}, "open cannot become closed"),
        ("investigating", {"status": "open"}, "investigating cannot become open"),
        ("investigating", {"status": "closed"}, "closed with an outcome: give one of confirmed_fraud"),
        ("open", {"outcome": "inconclusive"}, "stays open: close it"),
        ("closed", {"outcome": "inconclusive"}, "stays closed: re-open it first"),
        ("closed", {"status": "investigating", "outcome": "inconclusive"}, "becomes investigating"),
        ("closed", {"snoozed_until": NOON}, "closed alert cannot be snoozed"),
    ],
)
def test_what_the_workflow_does_not_allow_is_refused_with_the_allowed_moves(
    status: str, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidMoveError, match=words) as refused:
        workflow.plan_change(status, AlertChange(**change))
    assert refused.value.allowed == ALLOWED_MOVES[status]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "done"}, "'done' is no state of an alert: choose open, investigating, closed"),
        ({"status": "closed", "outcome": "fraud"}, "'fraud' is no outcome: choose confirmed_fraud"),
        ({"priority": 0}, "0 is no priority: choose 1"),
        ({"priority": 6}, "6 is no priority"),
        ({"snoozed_until": NOON.replace(tzinfo=None)}, "needs a time zone"),
        ({"assignee": " "}, "assignee of an alert cannot be empty"),
        ({"comment": ""}, "comment of an alert cannot be empty"),
    ],
)
def test_values_that_mean_nothing_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidDataError, match=words):
        workflow.plan_change("investigating", AlertChange(**change))


def test_a_change_needs_a_name() -> None:
    workflow.require_actor("ada")
    with pytest.raises(InvalidDataError, match="name of who decides"):
        workflow.require_actor(" ")


def test_the_more_urgent_the_sooner_due_and_escalation_ends_at_the_top() -> None:
    due = [workflow.due_at(priority, NOON, HOURS) for priority in workflow.PRIORITIES]
    assert due == [NOON + timedelta(hours=hours) for hours in HOURS]
    assert [workflow.escalated(priority) for priority in workflow.PRIORITIES] == [1, 1, 2, 3, 4]


@given(st.lists(st.sampled_from(OUTCOMES), min_size=1))
def test_a_case_is_fraud_if_any_alert_is_and_genuine_only_if_all_are(outcomes: list[str]) -> None:
    found = workflow.case_outcome(outcomes)
    assert (found == "confirmed_fraud") == ("confirmed_fraud" in outcomes)
    assert (found == "false_positive") == (set(outcomes) == {"false_positive"})


def test_a_case_without_alerts_has_no_outcome() -> None:
    with pytest.raises(InvalidDataError, match="without a closed alert"):
        workflow.case_outcome([])


def raised(*names: str, selection: str = "threshold") -> pd.DataFrame:
    rows = [{"alert_id": n, "transaction_id": name, "selection": selection} | VERDICT for n, name in enumerate(names)]
    return pd.DataFrame(rows)


def scored(*names: str, **changes: object) -> pd.DataFrame:
    return pd.DataFrame([{"transaction_id": name, "is_alert": True} | VERDICT | LINEAGE | changes for name in names])


def test_the_same_verdict_changes_nothing_whatever_gave_it() -> None:
    assert workflow.changed_verdicts(raised("a", "b"), scored("b", "a", "c", model_version="2")) == {}


@pytest.mark.parametrize("change", [{"anomaly_score": 0.91}, {"risk_level": "LOW"}, {"is_alert": False}])
def test_another_verdict_is_told_with_what_gave_it(change: dict[str, object]) -> None:
    new = pd.concat([scored("a"), scored("b", model_version="2", **change)])
    found = workflow.changed_verdicts(raised("a", "b"), new)
    assert found == {1: {"is_alert": True} | VERDICT | LINEAGE | {"model_version": "2"} | change}


def test_what_is_not_scored_any_more_would_be_no_alert() -> None:
    assert workflow.changed_verdicts(raised("a", "gone"), scored("a")) == {1: {"is_alert": False}}
    assert workflow.changed_verdicts(raised("a"), scored("a").iloc[:0]) == {0: {"is_alert": False}}
    assert workflow.changed_verdicts(raised("a").iloc[:0], scored("a")) == {}


def test_what_was_drawn_at_random_is_told_of_when_it_would_be_an_alert_now() -> None:
    drawn = raised("a", selection="random_sample")
    assert workflow.changed_verdicts(drawn, scored("a", is_alert=False)) == {}
    assert workflow.changed_verdicts(drawn, scored("a"))[0]["is_alert"] is True


def test_what_is_left_out_of_a_change_is_not_none() -> None:
    assert AlertChange().assignee is UNSET
    assert AlertChange(assignee=None).assignee is None
