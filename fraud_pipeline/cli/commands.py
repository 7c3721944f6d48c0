"""What can be typed.

Each command imports what does its work when it runs: Dagster, MLflow and pandas
take seconds, which neither ``--help`` nor a mistyped argument should cost.
"""

from pathlib import Path
from typing import Annotated

import typer

from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.splits import parse_day, parse_window
from fraud_pipeline.settings import Settings

FirstDay = Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")]
LastDay = Annotated[str, typer.Option("--to", help="Last day, YYYY-MM-DD.")]


def demo() -> None:
    """Simulate 60 days, train, score the last 7 nights one by one, and print what came of it."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import demo

    demo.show(settings)


def simulate(
    output: Annotated[Path, typer.Argument(help="Folder to write the files to.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days of transactions.")] = 60,
    first_day: Annotated[
        str, typer.Option(help="First day, YYYY-MM-DD.", show_default="FRAUD_PIPELINE_FIRST_DAY")
    ] = "",
    users: Annotated[int, typer.Option(min=1, help="Card holders.")] = 1000,
    merchants: Annotated[int, typer.Option(min=10, help="Shops.")] = 500,
    fraud_rate: Annotated[float, typer.Option(min=0, max=0.05, help="Share of frauds in the transactions.")] = 0.009,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    label_days: Annotated[
        int, typer.Option(min=0, max=3650, help="Days of labels after the last transaction day.")
    ] = 21,
) -> None:
    """Write believable transactions and labels as daily CSV files, and the source.yaml that describes them."""
    settings = Settings.from_env()
    first = parse_day(first_day) if first_day else settings.first_day
    from fraud_pipeline.cli import data
    from fraud_pipeline.core.simulation import SimulationConfig

    config = SimulationConfig(users=users, merchants=merchants, seed=seed, first_day=first, fraud_rate=fraud_rate)
    data.simulate(output, config, days, label_days, settings.currency)


def ingest(
    path: Annotated[Path, typer.Argument(help="Folder that the source's file patterns are relative to, or one file.")],
    source: Annotated[Path, typer.Option(help="YAML that describes the files; see docs/sources.md.")],
) -> None:
    """Check transaction and label files and copy them into the landing zone: all of them, or none if one is bad."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import data

    data.ingest(settings, path, source)


def run(
    first: FirstDay,
    last: LastDay,
    nightly: Annotated[bool, typer.Option("--nightly", help="One run a day, as the schedule does.")] = False,
) -> None:
    """Run the daily chain, raw file to alert row, over a range of days; a day that ran before is replaced."""
    settings = Settings.from_env()
    days = parse_day(first), parse_day(last)
    from fraud_pipeline.cli import runs

    runs.run(settings, *days, nightly=nightly)


def train(
    train: Annotated[
        str, typer.Option(help="Training window FROM:TO.", show_default="before the calibration window")
    ] = "",
    calibrate: Annotated[
        str, typer.Option(help="Calibration window FROM:TO.", show_default="the newest matured days")
    ] = "",
    as_of: Annotated[
        str, typer.Option(help="Use labels known before this day.", show_default="the day after --calibrate")
    ] = "",
) -> None:
    """Train the detectors, calibrate the threshold, and promote the model if it beats the one before."""
    settings = Settings.from_env()
    if bool(train) != bool(calibrate):
        raise ConfigurationError("give both --train and --calibrate, or neither for the newest matured days.")
    if as_of and not train:
        raise ConfigurationError("--as-of needs --train and --calibrate; give all three, or none.")
    windows = (parse_window(train), parse_window(calibrate)) if train else None
    known_before = parse_day(as_of) if as_of else None
    from fraud_pipeline.cli import runs

    runs.train(settings, windows, known_before)


def measure(first: FirstDay, last: LastDay) -> None:
    """Merge the labels that became known since, and measure the alerts of these days against them."""
    settings = Settings.from_env()
    days = parse_day(first), parse_day(last)
    from fraud_pipeline.cli import runs

    runs.measure(settings, *days)


def backtest(
    source: Annotated[Path, typer.Option(help="YAML that describes the files; see docs/sources.md.")],
    train: Annotated[str, typer.Option(help="Training window FROM:TO.")],
    calibrate: Annotated[str, typer.Option(help="Calibration window FROM:TO, after it.")],
    test: Annotated[str, typer.Option(help="Test window FROM:TO, after that.")],
    output: Annotated[Path, typer.Option(help="Folder of the report: report.json, report.html, Parquet.")],
    folder: Annotated[
        Path | None,
        typer.Option(help="Where the files are.", show_default="the YAML's key folder, or the folder of the YAML"),
    ] = None,
    label_delay_days: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=3650,
            help="Every label is known so long after its transaction.",
            show_default="as the source says",
        ),
    ] = None,
    walk_forward: Annotated[
        bool,
        typer.Option("--walk-forward", help="Train anew for every week of the test window; all windows move along."),
    ] = False,
    closed_loop: Annotated[
        bool,
        typer.Option("--closed-loop", help="Only reviewed alerts are known the next day, all else after the delay."),
    ] = False,
    review_capacity: Annotated[
        int | None, typer.Option(min=1, help="Reviews a day in the closed loop.", show_default="100")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Trainings to average.", show_default="3; 1 for a walk or a closed loop"),
    ] = None,
) -> None:
    """Measure on past days how well the pipeline would have done, knowing only what was known then."""
    settings = Settings.from_env()
    windows = parse_window(train), parse_window(calibrate), parse_window(test)
    from fraud_pipeline.cli import backtests

    backtests.run(
        settings,
        source,
        windows,
        output,
        folder=folder,
        label_delay_days=label_delay_days,
        walk_forward=walk_forward,
        closed_loop=closed_loop,
        review_capacity=review_capacity,
        seeds=seeds,
    )


def rollback(
    reason: Annotated[str, typer.Option(help="Why; kept with the model.")],
    by: Annotated[str, typer.Option("--by", help="Who rolls back.")],
) -> None:
    """Let the champion before score again."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import models

    models.roll_back(settings, reason, by)


def promote(
    version: Annotated[int, typer.Argument(min=1, help="Version of the model, as `fraud-pipeline models` lists it.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the model.")],
    by: Annotated[str, typer.Option("--by", help="Who overrides the verdict.")],
) -> None:
    """Let a version score from now on, whatever the comparison said."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import models

    models.promote(settings, version, reason, by)


def models() -> None:
    """List the promotions of models: which version, when, by whom and why."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import models

    models.print_history(settings)


def summary(first: FirstDay, last: LastDay) -> None:
    """Print what was scored, what to expect of the threshold, what came of it, and the most urgent alerts."""
    settings = Settings.from_env()
    days = parse_day(first), parse_day(last)
    from fraud_pipeline.cli import runs, summary

    runs.require_days(settings, *days)
    summary.print_summary(settings, *days)


def migrate() -> None:
    """Bring the alert database to the schema of this version; the embedded one migrates by itself."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import servers

    servers.migrate(settings)


def ui() -> None:
    """Start the Dagster webserver and daemon in the background."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import servers

    servers.ui(settings)


def psql(
    command: Annotated[str, typer.Option("--command", "-c", help="Run this SQL and leave.")] = "",
) -> None:
    """Open the alert database in psql."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import servers

    raise typer.Exit(servers.psql(settings, command))


def stop() -> None:
    """Stop webserver, daemon and embedded PostgreSQL; the data stay."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import servers

    servers.stop(settings)
