"""What can be typed after ``fraud-pipeline review``.

As in ``commands``, each command imports what does its work when it runs.
"""

from typing import Annotated

import typer

from fraud_pipeline.cli.commands import FirstDay, LastDay
from fraud_pipeline.core.splits import parse_day
from fraud_pipeline.settings import Settings

AlertId = Annotated[int, typer.Argument(help="Number of the alert, as `review queue` prints it.")]
CaseId = Annotated[int, typer.Argument(help="Number of the case, as `review queue` prints it.")]
Outcome = Annotated[str, typer.Option(help="confirmed_fraud, false_positive or inconclusive.")]
By = Annotated[str, typer.Option("--by", help="Who decides.")]
Version = Annotated[int, typer.Option(min=0, help="Refuse if it was changed since this version.", show_default="any")]


def review_queue(
    day: Annotated[str, typer.Option(help="Only transactions of this day, YYYY-MM-DD.", show_default="all days")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most alerts to list.")] = 20,
) -> None:
    """List what waits: the most urgent alerts, and all that was drawn at random."""
    settings = Settings.from_env()
    only = parse_day(day) if day else None
    from fraud_pipeline.cli import reviews

    reviews.queue(settings, only, limit)


def review_related(
    alert_id: AlertId,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most transactions to list.")] = 50,
) -> None:
    """List the same card's and merchant's transactions within 7 days of the alert's, to decide on many at once."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import reviews

    reviews.related(settings, alert_id, limit)


def review_close(
    alert_id: AlertId,
    outcome: Outcome,
    by: By,
    version: Version = 0,
) -> None:
    """Close an alert with its outcome, and say how many related transactions there are to decide on."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import reviews

    reviews.close(settings, alert_id, outcome, by, version or None)


def review_decide(
    transaction: Annotated[list[str], typer.Option(help="ID[,ID...] of the transactions; may be given again.")],
    outcome: Outcome,
    by: By,
) -> None:
    """Decide on many transactions at once: all of them, or none if one is unknown."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import reviews

    reviews.decide(settings, transaction, outcome, by)


def review_recall(first: FirstDay, last: LastDay) -> None:
    """Estimate the recall of these days from decided alerts and random reviews, with a 95 % interval."""
    settings = Settings.from_env()
    days = parse_day(first), parse_day(last)
    from fraud_pipeline.cli import reviews

    reviews.recall(settings, *days)


def review_take(alert_id: AlertId, by: By, version: Version = 0) -> None:
    """Take an alert: it is investigated, and it is yours."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import workflow

    workflow.take(settings, alert_id, by, version or None)


def review_assign(
    alert_id: AlertId,
    to: Annotated[str, typer.Option(help="Who is to work on it; empty for nobody.")],
    by: By,
    version: Version = 0,
) -> None:
    """Give an alert to somebody, or to nobody."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import workflow

    workflow.assign(settings, alert_id, to, by, version or None)


def review_comment(
    alert_id: AlertId, text: Annotated[str, typer.Argument(help="What you have to say.")], by: By
) -> None:
    """Add a comment to the history of an alert."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import workflow

    workflow.comment(settings, alert_id, text, by)


def review_snooze(
    alert_id: AlertId,
    until: Annotated[
        str, typer.Option(help="YYYY-MM-DD or YYYY-MM-DDTHH:MM in the time zone of the deployment; empty to wake it.")
    ],
    by: By,
    version: Version = 0,
) -> None:
    """Leave an alert out of the queue until a day or an instant."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import workflow

    workflow.snooze(settings, alert_id, until, by, version or None)


def review_reopen(alert_id: AlertId, by: By, version: Version = 0) -> None:
    """Open a closed alert again, and its case; the decision stays in the history until there is another."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import workflow

    workflow.reopen(settings, alert_id, by, version or None)


def review_escalate(
    by: By,
    alert_id: Annotated[int, typer.Argument(help="Number of the alert.", show_default="all that are overdue")] = 0,
    version: Version = 0,
) -> None:
    """Make an alert one step more urgent and due anew; without a number, all that are overdue, as the night does."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import workflow

    workflow.escalate(settings, alert_id or None, by, version or None)


def review_case(
    case_id: CaseId,
    outcome: Annotated[str, typer.Option(help="Close all its open alerts with this outcome.")] = "",
    assign: Annotated[str | None, typer.Option(help="Give it and its alerts to somebody; empty for nobody.")] = None,
    by: Annotated[str, typer.Option("--by", help="Who decides; needed with --outcome and --assign.")] = "",
    version: Version = 0,
) -> None:
    """Show a case and its alerts; close it with an outcome, or give it to somebody."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import workflow

    workflow.case(settings, case_id, outcome, assign, by, version or None)


def review_history(
    number: Annotated[int, typer.Argument(help="Number of the alert, or of the case with --case.")],
    case: Annotated[bool, typer.Option("--case", help="The history of a case and all its alerts.")] = False,
) -> None:
    """Print every change of an alert: who, when, in which run, from what to what."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import workflow

    workflow.history(settings, number, case)
