"""The analysts' queue on the command line, and what their decisions say of recall."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pandas as pd
from rich.table import Table

from fraud_pipeline.adapters.database import review_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.cli.console import console
from fraud_pipeline.cli.runs import quieten_libraries, require_days
from fraud_pipeline.connections import API_ROLE, open_database
from fraud_pipeline.core import labels, reviews
from fraud_pipeline.core.errors import ConfigurationError, MissingPartitionError
from fraud_pipeline.core.schema import LABEL_COLUMNS
from fraud_pipeline.orchestration.partitions import days_between
from fraud_pipeline.settings import Settings

RANDOM = "random"
"""Marks what was drawn from below the threshold, in place of a risk level."""


def queue(settings: Settings, day: date | None, limit: int) -> None:
    """Print what waits for a decision."""
    with review_database(settings) as database:
        waiting = review_repository.open_reviews(database, day, limit)
        counts = review_repository.count_open(database, day)
    of_day = f" of {day}" if day else ""
    if not len(waiting):
        console.print(f"Nothing waits{of_day}.")
        return
    table = table_of(
        "Alert",
        "Why",
        "Priority",
        "Due (UTC)",
        "With",
        "Case",
        "Score",
        "Time (UTC)",
        f"Amount ({settings.currency})",
        "Card",
        "Merchant",
    )
    for row in rows_of(waiting):
        why = RANDOM if row.selection == "random_sample" else row.risk_level
        event = (minute(row.event_time), f"{row.amount:,.2f}", row.user_id, row.merchant_id)
        work = (str(row.current_priority), minute(row.due_at), text_of(row.assignee), text_of(row.case_id))
        table.add_row(str(row.alert_id), why, *work, f"{row.anomaly_score:.4f}", *event)
    console.print(table, soft_wrap=False)
    console.print(
        f"{min(counts['threshold'], limit):,} of {counts['threshold']:,} open alerts{of_day}, and "
        f"{counts['random_sample']:,} transactions drawn at random, which measure recall only if all are decided; "
        "next: fraud-pipeline review take ALERT --by …"
    )


def related(settings: Settings, alert_id: int, limit: int) -> None:
    """Print the transactions that may belong to an alert's."""
    with review_database(settings) as database:
        found = review_repository.related_transactions(database, alert_id)
    table = table_of("Transaction", "Same", "Time (UTC)", f"Amount ({settings.currency})", "Score", "Decided")
    for row in rows_of(found.head(limit)):
        same = "card, merchant" if row.same_card and row.same_merchant else "card" if row.same_card else "merchant"
        score = "none" if math.isnan(row.anomaly_score) else f"{row.anomaly_score:.4f}"
        table.add_row(
            row.transaction_id, same, minute(row.event_time), f"{row.amount:,.2f}", score, text_of(row.outcome)
        )
    if len(found):
        console.print(table, soft_wrap=False)
    console.print(f"{min(len(found), limit):,} of {_offered(found)}{_next_decision(found)}")


def close(settings: Settings, alert_id: int, outcome: str, by: str, version: int | None) -> None:
    """Close an alert and say what is offered for review."""
    with review_database(settings) as database:
        found = review_repository.close_alert(database, alert_id, outcome, by, expected_version=version)
    following = f"; next: fraud-pipeline review related {alert_id}" if len(found) else ""
    console.print(f"Alert {alert_id} is closed as {outcome}. There are {_offered(found)}{following}")


def decide(settings: Settings, given: list[str], outcome: str, by: str) -> None:
    """Record the same decision on many transactions."""
    names = [name.strip() for names in given for name in names.split(",") if name.strip()]
    if not names:
        raise ConfigurationError("--transaction names no transaction; give ID[,ID...].")
    with review_database(settings) as database:
        new = review_repository.record_decisions(database, names, outcome, by)
    known = len(set(names)) - new
    already = f" ({known} had this outcome already)" if known else ""
    console.print(f"{new} decisions recorded as {outcome}{already}; the next nightly run learns from them.")


def recall(settings: Settings, first: date, last: date) -> None:
    """Print the recall that random reviews and labels tell.

    Raises
    ------
    MissingPartitionError
        If no day of the range has random reviews.
    """
    days = require_days(settings, first, last)
    lake = Lake(settings.lake)
    drawn = lake.read_days("random_reviews", days, ["transaction_id"])
    if not drawn:
        raise MissingPartitionError(
            f"no day from {first} to {last} has random reviews in {settings.lake}; "
            f"`fraud-pipeline run --from {first} --to {last}` scores the days and draws them."
        )
    scores = [
        frame.assign(day=day)
        for day, frame in lake.read_days("anomaly_scores", drawn, ["transaction_id", "is_alert"]).items()
    ]
    known = lake.read_days("fraud_labels", days_between(days[0], max(lake.days("fraud_labels"))), LABEL_COLUMNS)
    outcomes = reviews.with_outcomes(
        pd.concat(scores, ignore_index=True),
        pd.concat(drawn.values()),
        pd.concat([labels.no_labels(), *known.values()], ignore_index=True),
    )
    found = reviews.estimate_recall(outcomes)
    console.print(
        f"Recall      {found.recall:.3f} ({found.recall_low:.3f} to {found.recall_high:.3f}, 95 %) over "
        f"{found.days} days with decided random reviews; {found.days_left_out} days without are left out\n"
        f"Found       {found.found:,} frauds among the alerts\n"
        f"Missed      {found.missed:,.1f} frauds ({found.missed_low:,.1f} to {found.missed_high:,.1f}), of which "
        f"{found.reported:,} were reported\n"
        f"Reviewed    {found.reviewed:,} of {found.below:,} others below the threshold, "
        f"{found.frauds_reviewed:,} of them frauds"
    )


@contextmanager
def review_database(settings: Settings) -> Iterator[Database]:
    """Open the alert database with the rights of those who work on alerts; the pipeline may not decide."""
    quieten_libraries()
    database = open_database(settings, API_ROLE)
    try:
        yield database
    finally:
        database.dispose()


def table_of(*headings: str) -> Table:
    """Make an empty table."""
    table = Table()
    for heading in headings:
        table.add_column(heading)
    return table


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """Walk over the rows of a frame."""
    return frame.itertuples()


def text_of(value: Any) -> str:  # noqa: ANN401 - a cell of any type
    """Show a value, and nothing for a missing one."""
    return "" if pd.isna(value) else str(value)


def minute(time: Any) -> str:  # noqa: ANN401 - a time or NaT
    """Show a time to the minute, and nothing for a missing one."""
    return "" if pd.isna(time) else f"{time:%Y-%m-%d %H:%M}"


def _offered(found: pd.DataFrame) -> str:
    decided = int(found["outcome"].notna().sum())
    return (
        f"{len(found):,} related transactions within {review_repository.RELATED_DAYS} days, "
        f"{decided:,} of them decided already"
    )


def _next_decision(found: pd.DataFrame) -> str:
    if found["outcome"].notna().all():
        return ""
    return "; next: fraud-pipeline review decide --transaction ID[,ID...] --outcome … --by …"
