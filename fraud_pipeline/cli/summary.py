"""What a command prints of the state: days, rejects, model, expected and achieved figures, alerts."""

import math
import textwrap
from datetime import date, timedelta
from typing import Any, Final

import pandas as pd
from rich.table import Table

from fraud_pipeline.adapters.database import alert_repository
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelCard
from fraud_pipeline.cli.console import console
from fraud_pipeline.connections import open_database, open_model_store
from fraud_pipeline.core import labels, metrics
from fraud_pipeline.core.schema import LABEL_COLUMNS, RISK_LEVELS
from fraud_pipeline.orchestration.partitions import days_between
from fraud_pipeline.settings import Settings

URGENT = 5
_SCORING_MODES: Final = {
    "ensemble": "the label-free detectors, blended",
    "feedback": "the classifier that learnt from labels",
    "stacked": "the classifier that learnt from labels and the detectors' scores",
}


def print_summary(settings: Settings, first: date, last: date) -> None:
    """Print the summary of the nights from ``first`` to ``last``."""
    lake = Lake(settings.lake)
    card = open_model_store(settings).champion_card()
    rows = _rows(lake)
    if card is None:
        console.rule("fraud_pipeline")
        _print_facts(rows | {"Model": "none yet; next: fraud-pipeline train"})
        return
    figures = achieved(settings, lake, first, last)
    database = open_database(settings)
    counts = alert_repository.count_by_risk(database, first, last)
    urgent = alert_repository.most_urgent(database, URGENT, first, last)
    console.rule("fraud_pipeline")
    _print_facts(rows | _model(card))
    _print_figures(card, figures, first, last)
    alerts = ", ".join(f"{counts[level]:,} {level}" for level in reversed(RISK_LEVELS) if counts[level])
    _print_facts({"Alerts": f"{sum(counts.values()):,} of {first} to {last}{alerts and ': '}{alerts}"})
    _print_urgent(urgent, settings.currency)


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


def _rows(lake: Lake) -> dict[str, str]:
    datasets = ("validated_transactions", "rejected_transactions", "anomaly_scores")
    counts = [lake.row_counts(dataset) for dataset in datasets]
    valid, rejected, scored = (sum(count.values()) for count in counts)
    return {
        "Days": f"{len(counts[0])} ingested, {len(counts[2])} scored",
        "Rows": f"{valid + rejected:,} received, {valid:,} valid, {rejected:,} rejected, {scored:,} scored",
    }


def _model(card: ModelCard) -> dict[str, str]:
    windows, calibration = card.windows, card.calibration
    note = f" ({calibration.limit})" if calibration.limit else ""
    return {
        "Model": f"fraud_model version {card.version.version}",
        "Scoring": f"{card.scoring_mode}: {_SCORING_MODES[card.scoring_mode]}",
        "Trained": f"on {windows.train_from} to {windows.train_to}",
        "Calibrated": f"on {windows.calibrate_from} to {windows.calibrate_to}, with labels known before "
        f"{windows.as_of}",
        "Threshold": f"{calibration.threshold:.4f} for {calibration.aim}{note}",
    }


def _print_facts(facts: dict[str, str]) -> None:
    for name, text in facts.items():
        _print_wrapped(f"{name:<12}", text)


def _print_wrapped(first_indent: str, text: str) -> None:
    """Print text as wide as the terminal, under itself where it goes on."""
    for number, line in enumerate(text.splitlines()):
        indent = first_indent if number == 0 else " " * len(first_indent)
        wrapped = textwrap.wrap(line, console.width - len(indent), break_long_words=False, break_on_hyphens=False)
        console.print(indent + f"\n{' ' * len(indent)}".join(wrapped))


def _print_figures(card: ModelCard, figures: dict[str, float], first: date, last: date) -> None:
    table = Table(title=f"Expected and achieved, {first} to {last}", title_justify="left")
    for heading in ("", "expected (5 % to 95 %)", "achieved on matured labels"):
        table.add_column(heading)
    for name in ("recall", "false_positive_rate", "precision", "alerts_per_day"):
        expected = getattr(card.calibration, name)
        digits = 1 if name == "alerts_per_day" else 4 if name == "false_positive_rate" else 3
        value = figures.get(name)
        known = "not known yet" if value is None or math.isnan(value) else f"{value:.{digits}f}"
        table.add_row(
            name.replace("_", " "),
            f"{expected.value:.{digits}f} ({expected.low:.{digits}f} to {expected.high:.{digits}f})"
            if expected.known
            else "not known",
            known if figures else "no night scored",
        )
    console.print(table, soft_wrap=False)
    if figures:
        precision = figures["average_precision"]
        note = "" if math.isnan(precision) else f"; average precision {precision:.3f}"
        _print_facts(
            {
                "Labels": f"{figures['frauds']:,.0f} frauds among {figures['matured']:,.0f} matured of "
                f"{figures['transactions']:,.0f} scored{note}"
            }
        )


def _print_urgent(alerts: pd.DataFrame, currency: str) -> None:
    if not len(alerts):
        return
    console.print(f"The {len(alerts)} most urgent alerts")
    for place, row in enumerate(alerts.itertuples(), start=1):
        alert: Any = row
        _print_wrapped(
            f"  {place}  ",
            f"{alert.risk_level}, priority {alert.priority}, score {alert.anomaly_score:.4f}, "
            f"{alert.event_time:%Y-%m-%d %H:%M} UTC\n"
            f"{alert.amount:.2f} {currency} by {alert.user_id} at {alert.merchant_id}\n{alert.reason_text}",
        )
