"""Running the pipeline's jobs: run, train, measure."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.adapters.model_store import windows_to_json
from fraud_pipeline.cli.console import console, progress
from fraud_pipeline.connections import open_logs
from fraud_pipeline.core.errors import ConfigurationError, InputFileError, MissingPartitionError
from fraud_pipeline.core.splits import ONE_DAY, TrainingWindows
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.jobs import MEASURE, MERGE_LABELS, SCORE, TRAIN
from fraud_pipeline.orchestration.partitions import days_between
from fraud_pipeline.orchestration.runs import Runner, open_instance
from fraud_pipeline.settings import Settings

DAGSTER_YAML: Final = Path(__file__).parents[2] / "dagster.yaml"


def run(settings: Settings, first: date, last: date, *, nightly: bool) -> None:
    """Run the daily chain over a range of days and say what to do next.

    Raises
    ------
    InputFileError
        If a day has no transaction file; nothing was run.
    """
    days = require_days(settings, first, last)
    landed = {file.day for file in LandingZone(settings.landing).transaction_files()}
    missing = [day for day in days if day not in landed]
    if missing:
        raise InputFileError(
            f"no transaction file for {_first_of(missing)} in {settings.landing}; "
            "bring it in with `fraud-pipeline ingest`, or choose other days."
        )
    run_days(settings, days, nightly=nightly)
    if Lake(settings.lake).exists("anomaly_scores", days[-1]):
        console.print(f"{len(days)} days done; next: fraud-pipeline summary --from {days[0]} --to {days[-1]}")
    else:
        console.print(f"{len(days)} days prepared, not scored: there is no model yet; next: fraud-pipeline train")


def train(
    settings: Settings, windows: tuple[tuple[date, date], tuple[date, date]] | None, known_before: date | None
) -> None:
    """Train on the windows given, or on those that the job plans itself.

    Raises
    ------
    ConfigurationError
        If the windows overlap or hold an unknown day; nothing was run.
    """
    if windows is None:
        train_models(settings, None)
        return
    training, calibration = windows
    as_of = known_before or calibration[1] + ONE_DAY
    chosen = TrainingWindows(*training, *calibration, as_of)
    require_days(settings, training[0], calibration[1])
    today = newest_day(settings) + ONE_DAY
    if as_of > today:
        raise ConfigurationError(f"--as-of {as_of} is in the future; give {today} or an earlier day.")
    train_models(settings, chosen)


def measure(settings: Settings, first: date, last: date) -> None:
    """Measure the alerts of scored days and say what to do next.

    Raises
    ------
    MissingPartitionError
        If a day was not scored; nothing was run.
    """
    days = require_days(settings, first, last)
    lake = Lake(settings.lake)
    missing = [day for day in days if not lake.exists("anomaly_scores", day)]
    if missing:
        raise MissingPartitionError(
            f"{_first_of(missing)} has no scores in {settings.lake}; once there is a model (`fraud-pipeline train`), "
            f"`fraud-pipeline run --from {missing[0]} --to {missing[-1]}` scores it."
        )
    measure_days(settings, days)
    console.print(f"{len(days)} days measured; next: fraud-pipeline summary --from {days[0]} --to {days[-1]}")


def newest_day(settings: Settings) -> date:
    """Give the newest day that is over in the deployment's time zone."""
    return clock.today(settings.time_zone) - ONE_DAY


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
    newest = newest_day(settings)
    if last > newest:
        raise ConfigurationError(f"{last} is not over yet; the newest day that can be run is {newest}.")
    return days_between(first, last)


@contextmanager
def runner(settings: Settings, title: str) -> Iterator[Runner]:
    """Give a runner on the deployment's instance that shows its progress."""
    definitions = build_definitions(settings)
    quieten_libraries()
    with open_instance(settings, DAGSTER_YAML) as instance, progress(title) as advance:
        yield Runner(definitions, instance, advance, log_level(settings))


def log_level(settings: Settings) -> str:
    """Tell from which level on runs write to the terminal: not at all unless a program reads it."""
    open_logs(settings)
    return "INFO" if settings.log_format == "json" else "CRITICAL"


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
    definitions = build_definitions(settings)
    quieten_libraries()
    with open_instance(settings, DAGSTER_YAML) as instance, progress(f"{job}, night by night") as advance:
        runs = Runner(definitions, instance, log_level=log_level(settings))
        for number, day in enumerate(days, start=1):
            runs.run_day(job, day)
            advance(day.isoformat(), number, len(days))


def train_models(settings: Settings, windows: TrainingWindows | None) -> None:
    """Run the training job with the windows given, or with those it plans itself."""
    ops: dict[str, Any] = {"training_windows": {"config": windows_to_json(windows)}} if windows else {}
    with runner(settings, TRAIN) as runs:
        runs.run_once(TRAIN, ops)
        material = runs.materialisation("champion_model")
    console.print(f"champion is fraud_model version {material['champion_version']}: {material['verdict']}")


def measure_days(settings: Settings, days: list[date]) -> None:
    """Merge labels up to the day on which the last of ``days`` has matured, then measure."""
    labelled_to = min(newest_day(settings), days[-1] + timedelta(days=settings.label_maturity_days + 1))
    run_days(settings, days_between(days[0], labelled_to), nightly=False, job=MERGE_LABELS)
    run_days(settings, days, nightly=False, job=MEASURE)


def _first_of(days: list[date]) -> str:
    return f"{days[0]} (and {len(days) - 1} more)" if len(days) > 1 else str(days[0])
