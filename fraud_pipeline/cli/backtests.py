"""Backtests from the command line."""

from datetime import date
from pathlib import Path

from rich.table import Table

from fraud_pipeline.adapters.backtest_report import summary_table
from fraud_pipeline.cli.console import console, progress
from fraud_pipeline.orchestration.backtests import BacktestRequest, require_capacity, run_backtest
from fraud_pipeline.settings import Settings


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
    header, *rows = summary_table(report)
    table = Table(*header, box=None)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False)
    console.print(f"report: {', '.join(str(file) for file in files)}", markup=False)
