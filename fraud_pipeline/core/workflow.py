"""The rules that alerts and cases live by: states and moves, urgency, due times, and what a new verdict would change.

The database enforces the same rules on every writer; a test compares the two.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, Literal

import pandas as pd

from fraud_pipeline.core.errors import InvalidDataError, InvalidMoveError

STATES: Final = ("open", "investigating", "closed")
OUTCOMES: Final = ("confirmed_fraud", "false_positive", "inconclusive")
"""What a closed alert turned out to be; apart from its state."""
ALLOWED_MOVES: Final[Mapping[str, tuple[str, ...]]] = {
    "open": ("investigating",),
    "investigating": ("closed",),
    "closed": ("investigating",),
}
"""The states that may follow each state."""
PRIORITIES: Final = (1, 2, 3, 4, 5)
"""From the most urgent to the least."""

VERDICT: Final = ("anomaly_score", "score_percentile", "confidence", "risk_level", "priority", "is_alert")
VERDICT_LINEAGE: Final = ("model_version", "artefact_sha256", "threshold_version", "feature_set_version")


class Unset(Enum):
    """What an `AlertChange` leaves as it is; None is a value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
_Keep = Literal[Unset.UNSET]


@dataclass(frozen=True)
class AlertChange:
    """What somebody wants to change of an alert; what is not given stays.

    Parameters
    ----------
    status : str
        One of `STATES`; the state that it has already is no move.
    outcome : str
        One of `OUTCOMES`, with ``status="closed"`` alone.
    assignee : str or None
        Who works on it; None takes it from everybody.
    snoozed_until : datetime or None
        With a time zone; the queue leaves the alert out until then.
    priority : int
        1 (most urgent) to 5.
    comment : str
        Kept in the alert's history.
    """

    status: str | _Keep = UNSET
    outcome: str | _Keep = UNSET
    assignee: str | _Keep | None = UNSET
    snoozed_until: datetime | _Keep | None = UNSET
    priority: int | _Keep = UNSET
    comment: str | _Keep = UNSET


def require_move(current: str, wanted: str) -> None:
    """Check that an alert may go from one state to another; staying is no move.

    Raises
    ------
    InvalidMoveError
        With the allowed moves.
    """
    allowed = ALLOWED_MOVES[current]
    if wanted != current and wanted not in allowed:
        raise InvalidMoveError(
            f"An alert that is {current} cannot become {wanted}: the allowed move is to {' or '.join(allowed)}.",
            allowed,
        )


def require_actor(actor: str) -> None:
    """Check that somebody signs for a change.

    Raises
    ------
    InvalidDataError
        The name is empty.
    """
    if not actor.strip():
        raise InvalidDataError("A change needs the name of who decides or works on it: give one.")


def require_outcome(outcome: str) -> None:
    """Check that an outcome is one.

    Raises
    ------
    InvalidDataError
        It is not; the message lists them.
    """
    if outcome not in OUTCOMES:
        raise InvalidDataError(f"{outcome!r} is no outcome: choose {', '.join(OUTCOMES)}.")


def plan_change(status: str, change: AlertChange) -> dict[str, Any]:
    """Check a change against the rules and say which columns of the alert it sets.

    Parameters
    ----------
    status : str
        The present state of the alert.
    change : AlertChange

    Returns
    -------
    dict of column to value
        Without the comment, which is no column; empty if nothing else is to change.

    Raises
    ------
    InvalidMoveError
        The move is not allowed, or does not go with the outcome or the snooze.
    InvalidDataError
        There is no such state, outcome or priority, or a text is empty.
    """
    wanted = status if change.status is UNSET else change.status
    if wanted not in STATES:
        raise InvalidDataError(f"{wanted!r} is no state of an alert: choose {', '.join(STATES)}.")
    require_move(status, wanted)
    _require_outcome_with_move(status, wanted, change.outcome)
    if change.priority is not UNSET and change.priority not in PRIORITIES:
        raise InvalidDataError(f"{change.priority} is no priority: choose 1 (most urgent) to 5.")
    if isinstance(change.snoozed_until, datetime):
        if change.snoozed_until.tzinfo is None:
            raise InvalidDataError("The end of a snooze needs a time zone: give one, such as 2026-03-01T09:00Z.")
        if wanted == "closed":
            raise InvalidMoveError("A closed alert cannot be snoozed: re-open it first.", ALLOWED_MOVES["closed"])
    for name, text in (("assignee", change.assignee), ("comment", change.comment)):
        if isinstance(text, str) and not text.strip():
            raise InvalidDataError(f"The {name} of an alert cannot be empty: give one or leave it out.")
    columns = {
        "status": change.status,
        "outcome": change.outcome,
        "assignee": change.assignee,
        "snoozed_until": change.snoozed_until,
        "current_priority": change.priority,
    }
    return {name: value for name, value in columns.items() if value is not UNSET}


def due_at(priority: int, since: datetime, sla_hours: Sequence[float]) -> datetime:
    """Say when an alert is due.

    Parameters
    ----------
    priority : int
        1 (most urgent) to 5.
    since : datetime
        When it was raised, or got this priority.
    sla_hours : sequence of float
        Hours for each priority, the most urgent first.
    """
    return since + timedelta(hours=sla_hours[priority - 1])


def escalated(priority: int) -> int:
    """Give the priority of an alert that was not closed in time: one step more urgent, as far as there is one."""
    return max(priority - 1, PRIORITIES[0])


def case_outcome(outcomes: Collection[str]) -> str:
    """Give the outcome of a case from those of its alerts: fraud if any is, else unclear if any is, else genuine.

    Raises
    ------
    InvalidDataError
        There are none.
    """
    for outcome in ("confirmed_fraud", "inconclusive", "false_positive"):
        if outcome in outcomes:
            return outcome
    raise InvalidDataError("A case without a closed alert has no outcome: close its alerts first.")


def changed_verdicts(raised: pd.DataFrame, scores: pd.DataFrame) -> dict[int, dict[str, Any]]:
    """Find the alerts of a day about which new scores of that day say something else.

    Parameters
    ----------
    raised : DataFrame
        The rows of ``alerts`` of the day: ``alert_id``, ``transaction_id``, ``selection`` and the verdict.
    scores : DataFrame
        ``transaction_id``, `VERDICT` and `VERDICT_LINEAGE` of all transactions of the day.

    Returns
    -------
    dict of alert_id to dict
        The new verdict with its lineage, of alerts whose verdict differs; only ``is_alert``, which is false, if the
        transaction is not scored any more.
    """
    names = [*VERDICT, *VERDICT_LINEAGE]
    new = scores.loc[scores["transaction_id"].isin(raised["transaction_id"]), ["transaction_id", *names]]
    by_transaction = {row["transaction_id"]: row for row in new.to_dict("records")}
    changed = {}
    for old in raised.assign(is_alert=raised["selection"] == "threshold").to_dict("records"):
        verdict = by_transaction.get(old["transaction_id"])
        if verdict is None:
            changed[int(old["alert_id"])] = {"is_alert": False}
        elif any(verdict[name] != old[name] for name in VERDICT):
            changed[int(old["alert_id"])] = {name: verdict[name] for name in names}
    return changed


def _require_outcome_with_move(status: str, wanted: str, outcome: str | _Keep) -> None:
    is_closing = wanted == "closed" != status
    if outcome is UNSET:
        if is_closing:
            raise InvalidMoveError(
                f"An alert is closed with an outcome: give one of {', '.join(OUTCOMES)}.", ALLOWED_MOVES[status]
            )
        return
    require_outcome(outcome)
    if not is_closing:
        raise InvalidMoveError(
            f"An outcome goes with the move to closed alone, and this alert {_stays(status, wanted)}: "
            f"{'re-open it first' if status == 'closed' else 'close it with its outcome'}.",
            ALLOWED_MOVES[status],
        )


def _stays(status: str, wanted: str) -> str:
    return f"stays {status}" if wanted == status else f"becomes {wanted}"
