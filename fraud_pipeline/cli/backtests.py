"""Backtests from the command line."""

from datetime import date
from pathlib import Path
from typing import Final

from rich.table import Table

from fraud_pipeline.cli.console import console, progress
from fraud_pipeline.core.operating_point import Estimate
from fraud_pipeline.orchestration.backtests import BacktestRequest, require_capacity, run_backtest
from fraud_pipeline.settings import Settings

_SHOWN: Final = {
    "average_precision": "AP",
    "recall_at_fpr_0.01": "recall at 1 % FPR",
    "recall": "recall",
    "false_positive_rate": "FPR",
    "precision": "precision",
    "alerts_per_day": "alerts a day",
}


def run(
    settings: Settings,
    source: Path,
    windows: tuple[tuple[date, date], tuple[date, date], tuple[date, date]],
    output: Path,
    *,
    folder: Path | None,
    label_delay_days: float | None,
    walk_forward: bool,
    closed_loop: bool,
    review_capacity: int | None,
    seeds: int | None,
) -> None:
    """Run a backtest, print its figures and say where the report is."""
    request = BacktestRequest(
        source,
        *windows,
        output,
        folder=folder,
        label_delay_days=label_delay_days,
        walk_forward=walk_forward,
        review_capacity=require_capacity(closed_loop, review_capacity),
        seeds=seeds,
    )
    with progress("backtest") as advance:
        report, files = run_backtest(settings, request, advance)
    table = Table("model", *_SHOWN.values(), box=None)
    for model, figures in report.models.items():
        table.add_row(model, *(_in_words(figures[name]) for name in _SHOWN))
    console.print(table)
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False)
    console.print(f"report: {', '.join(str(file) for file in files)}", markup=False)


def _in_words(figure: Estimate) -> str:
    if not figure.known:
        return "-"
    digits = 0 if figure.value >= 10 else 3 if figure.value >= 0.01 else 4
    return f"{figure.value:,.{digits}f}\n{figure.low:,.{digits}f}-{figure.high:,.{digits}f}"
