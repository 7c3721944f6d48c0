"""Commands that bring data in: simulate and ingest."""

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fraud_pipeline.adapters.ingest import IngestReport
from fraud_pipeline.adapters.ingest import ingest as ingest_files
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.adapters.source import load_source
from fraud_pipeline.cli.console import console, parse_day, progress
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.simulation import SimulationConfig, build_population
from fraud_pipeline.core.simulation import simulate as simulate_stream
from fraud_pipeline.core.simulation import spoil
from fraud_pipeline.settings import Settings

SOURCE_YAML = """\
# The simulated export: CSV files as a bank would send them, one a day.
name: simulated
currency: {currency}
time_zone: UTC
transactions:
  files: "transactions/*.csv"
  columns:
    transaction_id: transaction_id
    user_id: user_id
    merchant_id: merchant_id
    event_time: event_time
    amount: amount
labels:
  files: "labels/*.csv"
  columns:
    transaction_id: transaction_id
    is_fraud: is_fraud
    label_known_at: label_known_at
"""
DIRT_RATE = 0.0005
"""Share of rows that a simulated export spoils, as real exports have them."""


def simulate(
    output: Annotated[Path, typer.Argument(help="Folder to write the files to.")],
    days: Annotated[int, typer.Option(min=1, help="Days of transactions.")] = 60,
    first_day: Annotated[str, typer.Option(help="First day; default FRAUD_PIPELINE_FIRST_DAY.")] = "",
    users: Annotated[int, typer.Option(min=1)] = 1000,
    merchants: Annotated[int, typer.Option(min=1)] = 500,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    label_days: Annotated[int, typer.Option(min=0, help="Days of labels after the last transaction day.")] = 21,
) -> None:
    """Write a believable stream of transactions and labels as daily files."""
    settings = Settings.from_env()
    config = SimulationConfig(
        users=users, merchants=merchants, seed=seed, first_day=parse_day(first_day) if first_day else settings.first_day
    )
    write_simulation(output, config, days, label_days, settings.currency)
    console.print(
        f"{days} days written to {output}; next: fraud-pipeline ingest {output} --source {output}/source.yaml"
    )


def write_simulation(output: Path, config: SimulationConfig, days: int, label_days: int, currency: str) -> None:
    """Write ``days`` of simulated files below ``output``, day by day.

    Raises
    ------
    ConfigurationError
        If the folder cannot be written to.
    """
    last = config.first_day + timedelta(days=days - 1)
    try:
        for folder in ("transactions", "labels"):
            (output / folder).mkdir(parents=True, exist_ok=True)
        with progress("simulate") as advance:
            stream = simulate_stream(build_population(config), config.first_day, last, label_days_after=label_days)
            for number, simulated in enumerate(stream, start=1):
                day: date = simulated.day
                if day <= last:
                    rows = simulated.transactions.astype({"amount": "str"})
                    rows["event_time"] = rows["event_time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
                    dirty = spoil(rows, np.random.default_rng([config.seed, day.toordinal()]), DIRT_RATE)
                    dirty.to_csv(output / "transactions" / f"transactions_{day}.csv", index=False)
                if len(simulated.labels_known):
                    simulated.labels_known.to_csv(output / "labels" / f"labels_{day}.csv", index=False)
                advance(day.isoformat(), number, days + label_days)
        (output / "source.yaml").write_text(SOURCE_YAML.format(currency=currency))
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}; choose another folder.") from error


def ingest(
    path: Annotated[Path, typer.Argument(help="Folder that the source's file patterns are relative to, or one file.")],
    source: Annotated[Path, typer.Option(help="YAML that describes the files; see docs/sources.md.")],
) -> None:
    """Check transaction and label files and copy them into the landing zone."""
    report = ingest_path(Settings.from_env(), path, source)
    console.print(
        f"{report.transaction_files} transaction files of {report.first_day} to {report.last_day} landed "
        f"({report.unchanged_files} unchanged), {report.label_rows} labels; "
        f"next: fraud-pipeline run --from {report.first_day} --to {report.last_day}"
    )


def ingest_path(settings: Settings, path: Path, source: Path) -> IngestReport:
    """Ingest with the deployment's landing zone, currency and first day."""
    described = load_source(source)
    with progress("ingest") as advance:
        names: list[str] = []

        def on_file(name: str) -> None:
            names.append(name)
            advance(name, len(names), len(names) + 1)

        report = ingest_files(
            path,
            described,
            LandingZone(settings.landing),
            settings.currency,
            settings.first_day,
            on_file,
            time_zone=settings.time_zone,
        )
        advance("done", len(names), len(names))
    return report
