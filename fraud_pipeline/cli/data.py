"""Bringing data in: simulated files, and files of a source into the landing zone."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.adapters import clock, storage
from fraud_pipeline.adapters import ingest as ingestion
from fraud_pipeline.adapters.source import load_source
from fraud_pipeline.cli.console import console, progress
from fraud_pipeline.connections import open_landing_zone
from fraud_pipeline.core import simulation
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.simulation import SimulationConfig
from fraud_pipeline.settings import Settings

SIMULATED: Final = "simulated"
SOURCE_YAML: Final = """\
# The simulated export: CSV files as a bank would send them, one a day.
name: {name}
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
DIRT_RATE: Final = 0.0005
"""Share of rows that a simulated export spoils, as real exports have them."""


def simulate(output: Path, config: SimulationConfig, days: int, label_days: int, currency: str) -> None:
    """Write simulated files and say what to do with them."""
    write_simulation(output, config, days, label_days, currency)
    console.print(
        f"{days} days written to {output}; next: fraud-pipeline ingest {output} --source {output}/source.yaml"
    )


def write_simulation(output: Path, config: SimulationConfig, days: int, label_days: int, currency: str) -> None:
    """Write ``days`` of simulated files below ``output``, day by day, each file whole or not at all.

    Raises
    ------
    ConfigurationError
        If the folder cannot be written to, or holds files of days that this simulation does not have.
    """
    root = storage.open_root(str(output))
    last = config.first_day + timedelta(days=days - 1)
    total = days + label_days
    names = {str(config.first_day + timedelta(days=number)) for number in range(total)}
    for folder in ("transactions", "labels"):
        for file in storage.list_files(root / folder):
            if file.key.removeprefix(f"{folder}_").removesuffix(".csv") not in names:
                raise ConfigurationError(
                    f"{output} holds {folder}/{file.key} of another export; choose another folder."
                )
    with progress("simulate") as advance:
        stream = simulation.simulate(
            simulation.build_population(config), config.first_day, last, label_days_after=label_days
        )
        for number, simulated in enumerate(stream, start=1):
            day = simulated.day
            if day <= last:
                rows = simulated.transactions.astype({"amount": "str"})
                rows["event_time"] = rows["event_time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
                dirty = simulation.spoil(rows, np.random.default_rng([config.seed, day.toordinal()]), DIRT_RATE)
                storage.publish(root / "transactions" / f"transactions_{day}.csv", _csv(dirty))
            labels = root / "labels" / f"labels_{day}.csv"
            if len(simulated.labels_known):
                storage.publish(labels, _csv(simulated.labels_known))
            else:
                storage.remove(labels)  # of a simulation before, with another seed
            advance(day.isoformat(), number, total)
    storage.publish(root / "source.yaml", SOURCE_YAML.format(name=SIMULATED, currency=currency).encode())


def ingest(settings: Settings, path: Path, source: Path) -> None:
    """Ingest files and say what to do next."""
    report = ingest_path(settings, path, source)
    landed = (
        f"{report.transaction_files} transaction files of {report.first_day} to {report.last_day}, "
        if report.transaction_files
        else ""
    )
    following = (
        f"run --from {report.first_day} --to {report.last_day}"
        if report.transaction_files
        else "measure --from FIRST --to LAST, the days that the labels are about"
    )
    console.print(
        f"landed: {landed}{report.label_files} label files with {report.label_rows} labels "
        f"({report.unchanged_files} files were there already); next: fraud-pipeline {following}"
    )


def ingest_path(settings: Settings, path: Path, source: Path) -> ingestion.IngestReport:
    """Ingest with the deployment's landing zone, currency and first day."""
    described = load_source(source)
    with progress("ingest") as advance:
        names: list[str] = []

        def on_file(name: str) -> None:
            names.append(name)
            advance(name, len(names), len(names) + 1)

        return ingestion.ingest(
            path,
            described,
            open_landing_zone(settings),
            settings.currency,
            settings.first_day,
            on_file,
            time_zone=settings.time_zone,
            retention_days=settings.retention_days,
            today=clock.today(settings.time_zone),
        )


def _csv(rows: pd.DataFrame) -> bytes:
    return rows.to_csv(index=False).encode()
