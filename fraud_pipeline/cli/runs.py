"""Commands that run the pipeline: run, train, measure, summary."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from fraud_pipeline.adapters import clock
from fraud_pipeline.cli.console import console, parse_day, parse_window, progress
from fraud_pipeline.cli.summary import print_summary
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.jobs import MEASURE, MERGE_LABELS, SCORE, TRAIN
from fraud_pipeline.orchestration.partitions import days_between
from fraud_pipeline.orchestration.runs import Runner, open_instance
from fraud_pipeline.settings import Settings

DAGSTER_YAML = Path(__file__).parents[2] / "dagster.yaml"

FirstDay = Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")]
LastDay = Annotated[str, typer.Option("--to", help="Last day, YYYY-MM-DD.")]


def run(
    first: FirstDay,
    last: LastDay,
    nightly: Annotated[bool, typer.Option("--nightly", help="One run a day, as the schedule does.")] = False,
) -> None:
    """Run the daily chain, raw file to alert row, over a range of days."""
    settings = Settings.from_env()
    days = require_days(settings, parse_day(first), parse_day(last))
    run_days(settings, days, nightly=nightly)
    console.print(f"{len(days)} days done; next: fraud-pipeline summary --from {days[0]} --to {days[-1]}")


def train(
    train: Annotated[str, typer.Option(help="Training window FROM:TO.")] = "",
    calibrate: Annotated[str, typer.Option(help="Calibration window FROM:TO.")] = "",
    as_of: Annotated[
        str, typer.Option(help="Use labels known before this day; default: when --calibrate has matured.")
    ] = "",
) -> None:
    """Train the detectors, calibrate the threshold, and promote the model if it wins."""
    if bool(train) != bool(calibrate):
        raise ConfigurationError("give both --train and --calibrate, or neither for the newest matured days.")
    settings = Settings.from_env()
    windows: dict[str, str] = {}
    if train:
        (train_from, train_to), (calibrate_from, calibrate_to) = parse_window(train), parse_window(calibrate)
        matured = calibrate_to + timedelta(days=settings.label_maturity_days + 1)
        known = parse_day(as_of) if as_of else matured
        names = ("train_from", "train_to", "calibrate_from", "calibrate_to", "as_of")
        days = (train_from, train_to, calibrate_from, calibrate_to, known)
        windows = {name: day.isoformat() for name, day in zip(names, days, strict=True)}
    train_models(settings, windows)


def measure(first: FirstDay, last: LastDay) -> None:
    """Merge the labels that became known since, and measure the alerts of these days against them."""
    settings = Settings.from_env()
    days = require_days(settings, parse_day(first), parse_day(last))
    measure_days(settings, days)
    console.print(f"{len(days)} days measured; next: fraud-pipeline summary --from {days[0]} --to {days[-1]}")


def summary(first: FirstDay, last: LastDay) -> None:
    """Print what was scored, what to expect of the threshold, what came of it, and the most urgent alerts."""
    settings = Settings.from_env()
    days = require_days(settings, parse_day(first), parse_day(last))
    print_summary(settings, days[0], days[-1])


def require_days(settings: Settings, first: date, last: date) -> list[date]:
    """List the days of a range.

    Raises
    ------
    ConfigurationError
        If a day of it is no partition: before the first day, or not over yet.
    """
    if first > last:
        raise ConfigurationError(f"--from {first} is after --to {last}; give the earlier day first.")
    if first < settings.first_day:
        raise ConfigurationError(
            f"{first} is before the first day {settings.first_day}; set FRAUD_PIPELINE_FIRST_DAY={first} or earlier."
        )
    newest = clock.today(settings.time_zone) - timedelta(days=1)
    if last > newest:
        raise ConfigurationError(f"{last} is not over yet; the newest day that can be run is {newest}.")
    return days_between(first, last)


@contextmanager
def runner(settings: Settings, title: str) -> Iterator[Runner]:
    """Give a runner on the deployment's instance that shows its progress."""
    quieten_libraries()
    with open_instance(settings, DAGSTER_YAML) as instance, progress(title) as advance:
        yield Runner(build_definitions(settings), instance, advance)


def quieten_libraries() -> None:
    """Leave the terminal to the command: what failed it prints itself, everything else is in the run's log."""
    for name in ("dagster", "mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def run_days(settings: Settings, days: list[date], *, nightly: bool, job: str = SCORE) -> None:
    """Run a daily job over days: one run in all, or one a day."""
    if not nightly:
        with runner(settings, f"{job} {days[0]} to {days[-1]}") as runs:
            runs.run_range(job, days[0], days[-1])
        return
    with open_instance(settings, DAGSTER_YAML) as instance, progress(f"{job}, night by night") as advance:
        quieten_libraries()
        runs = Runner(build_definitions(settings), instance)
        for number, day in enumerate(days, start=1):
            runs.run_day(job, day)
            advance(day.isoformat(), number, len(days))


def train_models(settings: Settings, windows: dict[str, str]) -> None:
    """Run the training job with the windows given, or with those it plans itself."""
    ops: dict[str, Any] = {"training_windows": {"config": windows}} if windows else {}
    with runner(settings, TRAIN) as runs:
        runs.run_once(TRAIN, ops)
        material = runs.materialisation("champion_model")
    console.print(f"champion is fraud_model version {material['champion_version']}: {material['verdict']}")


def measure_days(settings: Settings, days: list[date]) -> None:
    """Merge labels up to the day on which the last of ``days`` has matured, then measure."""
    newest = clock.today(settings.time_zone) - timedelta(days=1)
    labelled_to = min(newest, days[-1] + timedelta(days=settings.label_maturity_days + 1))
    run_days(settings, days_between(days[0], labelled_to), nightly=False, job=MERGE_LABELS)
    run_days(settings, days, nightly=False, job=MEASURE)
