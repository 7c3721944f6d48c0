"""What a command prints of the state: days, rejects, model, expected and achieved figures, alerts."""

from datetime import date, timedelta

import pandas as pd
from rich.table import Table

from fraud_pipeline.adapters.database import alert_repository
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import StoredModel
from fraud_pipeline.cli.console import console
from fraud_pipeline.core import labels, metrics
from fraud_pipeline.core.schema import LABEL_COLUMNS, RISK_LEVELS
from fraud_pipeline.orchestration.partitions import days_between
from fraud_pipeline.orchestration.resources import open_database, open_model_store
from fraud_pipeline.settings import Settings

URGENT = 5


def print_summary(settings: Settings, first: date, last: date) -> None:
    """Print the summary of the nights from ``first`` to ``last``."""
    lake = Lake(settings.lake)
    champion = open_model_store(settings).champion()
    console.rule("fraud_pipeline")
    _print_rows(lake)
    if champion is None:
        console.print("No model yet; next: fraud-pipeline train")
        return
    _print_model(champion)
    _print_figures(champion, achieved(settings, lake, first, last), first, last)
    database = open_database(settings)
    counts = alert_repository.count_by_risk(database, first, last)
    console.print("Alerts      " + "  ".join(f"{level} {counts.get(level, 0)}" for level in reversed(RISK_LEVELS)))
    _print_urgent(alert_repository.most_urgent(database, URGENT, first, last))


def achieved(settings: Settings, lake: Lake, first: date, last: date) -> dict[str, float]:
    """Figures over all nights together, on the labels known so far.

    Returns
    -------
    dict of str to float
        As ``metrics.evaluate``; empty when no night of the range was scored.
    """
    scored = lake.read_days(
        "anomaly_scores", days_between(first, last), ["transaction_id", "anomaly_score", "is_alert"]
    )
    if not scored:
        return {}
    horizon = last + timedelta(days=settings.label_maturity_days + 1)
    known = lake.read_days("fraud_labels", days_between(first, horizon), LABEL_COLUMNS)
    truth = labels.current(pd.concat([labels.no_labels(), *known.values()], ignore_index=True))
    figures = metrics.evaluate(pd.concat(scored.values(), ignore_index=True), truth)
    return figures | {"alerts_per_day": figures["alerts"] / len(scored)}


def _print_rows(lake: Lake) -> None:
    def count(dataset: str) -> tuple[int, int]:
        days = sorted(lake.days(dataset))
        frames = lake.read_days(dataset, days, ["transaction_id"])
        return len(days), sum(len(frame) for frame in frames.values())

    (days, valid), (_, rejected), (nights, scored) = (
        count(name) for name in ("validated_transactions", "rejected_transactions", "anomaly_scores")
    )
    console.print(f"Days        {days} ingested, {nights} scored")
    console.print(f"Rows        {valid + rejected:,} received, {valid:,} valid, {rejected} rejected, {scored:,} scored")


def _print_model(champion: StoredModel) -> None:
    windows = champion.windows
    console.print(
        f"Model       fraud_model version {champion.version.version}, trained {windows.train_from} to "
        f"{windows.train_to}, calibrated {windows.calibrate_from} to {windows.calibrate_to} "
        f"on labels known before {windows.as_of}"
    )
    calibration = champion.model.calibration
    note = "" if calibration.feasible else f" ({calibration.limit})"
    console.print(f"Threshold   {calibration.threshold:.4f} for recall {calibration.target_recall:.2f}{note}")


def _print_figures(champion: StoredModel, figures: dict[str, float], first: date, last: date) -> None:
    table = Table(title=f"Expected and achieved, {first} to {last}", title_justify="left")
    for heading in ("", "expected (5 % to 95 %)", "achieved on matured labels"):
        table.add_column(heading)
    for name in ("recall", "false_positive_rate", "precision", "alerts_per_day"):
        expected = getattr(champion.model.calibration, name)
        digits = 1 if name == "alerts_per_day" else 4 if name == "false_positive_rate" else 3
        table.add_row(
            name.replace("_", " "),
            f"{expected.value:.{digits}f} ({expected.low:.{digits}f} to {expected.high:.{digits}f})",
            f"{figures[name]:.{digits}f}" if name in figures else "no night scored",
        )
    console.print(table)
    if figures:
        console.print(
            f"            {figures['frauds']:.0f} frauds among {figures['matured']:,.0f} matured of "
            f"{figures['transactions']:,.0f} scored; average precision {figures['average_precision']:.3f}"
        )


def _print_urgent(alerts: pd.DataFrame) -> None:
    console.print(f"The {len(alerts)} most urgent alerts")
    for place, alert in enumerate(alerts.itertuples(), start=1):
        console.print(
            f"  {place}  {alert.risk_level}, priority {alert.priority}, score {alert.anomaly_score:.4f}: "
            f"{alert.amount:.2f} by {alert.user_id} at {alert.merchant_id}, {alert.event_time:%Y-%m-%d %H:%M} UTC\n"
            f"     {alert.reason_text}",
            soft_wrap=True,
        )
