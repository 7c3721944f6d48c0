"""State that the proofs share: simulated files, and an embedded deployment with trained models and its webserver."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from fraud_pipeline_tests.e2e.deployment import LATER, NIGHTS, Dagster, Deployment
from fraud_pipeline_tests.e2e.servers import free_ports


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the production profile: while it prepares, the embedded one does, too."""
    items.sort(key=lambda item: "test_production_profile" not in item.nodeid)


@dataclass(frozen=True)
class Delivery:
    """What a bank would send.

    Parameters
    ----------
    known
        Folder with the files up to the last night.
    later
        Folder with the transaction files after it.
    """

    known: Path
    later: Path


@dataclass(frozen=True)
class Prepared:
    """The embedded deployment, with models, after its nights.

    Parameters
    ----------
    deployment
        Its variables.
    scores
        What it scored in these nights.
    """

    deployment: Deployment
    scores: pd.DataFrame


@pytest.fixture(scope="session")
def folder(quick_disk: Path) -> Iterator[Path]:
    """Folder that servers of another account can get into."""
    with tempfile.TemporaryDirectory(dir=quick_disk, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def delivery(folder: Path) -> Delivery:
    """Simulated files of 40 days."""
    known, later = folder / "files", folder / "later"
    (folder / "none").mkdir()
    Deployment(folder / "none").command(
        "simulate", known, "--days", "40", "--users", "200", "--merchants", "80", "--label-days", "10"
    )
    later.mkdir()
    for day in LATER:
        shutil.move(known / "transactions" / f"transactions_{day}.csv", later)
    return Delivery(known, later)


@pytest.fixture(scope="session")
def prepared(folder: Path, delivery: Delivery) -> Iterator[Prepared]:
    """The embedded deployment after ingest, run, train and three nights."""
    port = str(free_ports(1)[0])
    variables = {
        "FRAUD_PIPELINE_UI_PORT": port,
        "FRAUD_PIPELINE_SENSOR_INTERVAL_SECONDS": "2",
        # Every minute, so that a night comes without waiting for it.
        "FRAUD_PIPELINE_NIGHTLY_CRON": "* * * * *",
    }
    deployment = Deployment(folder / "embedded", variables)
    try:
        deployment.train_and_score(delivery.known)
        nights = deployment.lake.read_days("anomaly_scores", NIGHTS)
        yield Prepared(deployment, pd.concat(nights.values(), ignore_index=True))
    finally:
        deployment.command("stop")


@pytest.fixture(scope="session")
def dagster(prepared: Prepared) -> Dagster:
    """Webserver and daemon of the embedded deployment, which end with it."""
    prepared.deployment.command("ui")
    return Dagster(f"http://127.0.0.1:{prepared.deployment.environment['FRAUD_PIPELINE_UI_PORT']}")
