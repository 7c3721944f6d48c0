"""State that the proofs share: simulated files, and an embedded deployment with trained models and its webserver."""

import math
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import psycopg
import pytest
from psycopg import sql

from fraud_pipeline_tests.e2e import fault_trials
from fraud_pipeline_tests.e2e.deployment import LATER, NIGHTS, Dagster, Deployment
from fraud_pipeline_tests.e2e.fault_trials import CORRECTED, NEW, WORK, Undisturbed
from fraud_pipeline_tests.e2e.faults import Lab, Prefix
from fraud_pipeline_tests.e2e.production import Production, production_profile
from fraud_pipeline_tests.e2e.servers import free_ports

ORDER: Final = ("test_production_profile", "test_faults", "test_fault_servers", "test_secrets")
"""While the production profile prepares, the embedded one does, too. Later proofs leave more behind."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what needs the production profile."""

    def place(item: pytest.Item) -> int:
        return ORDER.index(item.path.stem) if item.path.stem in ORDER else len(ORDER)

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what each fault did, for ``docs/reliability.md``."""
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    faults = [value for report in reports for name, value in report.user_properties if name == "fault"]
    if faults:
        terminalreporter.section("faults")
        terminalreporter.write_line("\n".join(map(str, faults)))


TEMPLATE: Final = "fault_base"


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
def production(folder: Path, delivery: Delivery, request: pytest.FixtureRequest) -> Iterator[Production]:
    """The production profile after the walk from files to measured alerts; `summary` holds what that printed."""
    with production_profile(folder) as production, ThreadPoolExecutor(1) as beside:
        summary = beside.submit(production.walk, delivery.known)
        if any("prepared" in getattr(item, "fixturenames", ()) for item in request.session.items):
            request.getfixturevalue("prepared")  # the other profile needs its time, too
        (production.deployment.home / "summary").write_text(summary.result())
        yield production


@pytest.fixture(scope="session")
def dagster(prepared: Prepared) -> Dagster:
    """Webserver and daemon of the embedded deployment, which end with it."""
    prepared.deployment.command("ui")
    return Dagster(f"http://127.0.0.1:{prepared.deployment.environment['FRAUD_PIPELINE_UI_PORT']}")


@pytest.fixture(scope="session")
def production_dagster(production: Production) -> Dagster:
    """Webserver and daemon of the production profile, which end with it."""
    production.deployment.command("ui")
    return Dagster(f"http://127.0.0.1:{production.deployment.environment['FRAUD_PIPELINE_UI_PORT']}")


@pytest.fixture(scope="session")
def lab(production: Production, delivery: Delivery, folder: Path) -> Lab:
    """Prepare what all trials begin with: the production profile, two nights of files, its lake in a folder."""
    base = folder / "faults" / "base"
    files = Prefix(production.store, "")
    for key, data in files.read().items():
        if key.startswith(("lake/", "landing/")) and not any(str(day) in key for day in LATER):
            path = base / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    landing = base / "landing" / "simulated" / "transactions"
    shutil.copy(delivery.later / f"transactions_{NEW}.csv", landing)
    corrected = landing / f"transactions_{CORRECTED}.csv"
    corrected.write_bytes(b"".join(corrected.read_bytes().splitlines(keepends=True)[:-20]))
    with psycopg.connect(f"{production.postgres.url}/postgres", autocommit=True) as session:
        create = "CREATE DATABASE {} TEMPLATE fraud_pipeline STRATEGY file_copy"
        session.execute(sql.SQL(create).format(sql.Identifier(TEMPLATE)))
    lab = Lab(folder / "faults", base, production, TEMPLATE)
    with lab.trial("first") as trial:  # makes Dagster's own tables, and the code that numba compiles
        fault_trials.run(trial, *WORK)
        shutil.copytree(trial.deployment.home / "dagster", base / "dagster")
    return lab


@pytest.fixture(scope="session")
def undisturbed(lab: Lab) -> Iterator[Undisturbed]:
    """Walk through the two nights without a fault."""
    with lab.trial("half_way") as trial:
        before = trial.snapshot()
        fault_trials.run(trial, "run", "--from", CORRECTED, "--to", CORRECTED)
        between = trial.snapshot()
    with lab.trial("undisturbed") as trial:
        process = trial.begin(*WORK)
        cpu_seconds = process.work_until(math.inf)
        assert process.wait() == 0
        yield Undisturbed((before, between, trial.snapshot()), cpu_seconds, trial.database_url)
