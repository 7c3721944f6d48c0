"""A small deployment with real parts: landing folder, lake, PostgreSQL, MLflow on SQLite, Dagster."""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import LiteralString

import dagster as dg
import pandas as pd
import psycopg
import pytest
from psycopg import sql

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.statistics_repository import ALERT_METRICS
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.cli.data import ingest_path, write_simulation
from fraud_pipeline.core.simulation import SimulationConfig
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.jobs import PREPARE, SCORE, TRAIN
from fraud_pipeline.orchestration.runs import Runner
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.conftest import libpq_url

FIRST_DAY = date(2026, 1, 1)
DAYS = 34
LAKE_DATASETS = (
    "raw_transactions",
    "validated_transactions",
    "rejected_transactions",
    "fraud_labels",
    "user_daily_activity",
    "transaction_features",
    "anomaly_scores",
    "random_reviews",
    "drift_report",
)
TABLES = (
    "transactions",
    "transaction_features",
    "anomaly_scores",
    "alerts",
    "cases",
    "model_metrics",
    "user_profiles",
    "fraud_labels",
    "rejected_transactions",
)

UNLIKE = {"run_id", "alert_id", "raised_at", "created_at", "updated_at", "opened_at"}
"""Two deployments that do the same have other run ids, numbers from a sequence, and times of the clock."""
AS_FAR_AS_ALIKE: dict[tuple[str, str], LiteralString] = {
    # A number of a sequence as well, so a case is named by the first transaction in it.
    ("alerts", "case_id"): "case when {0} is not null then min(transaction_id) over (partition by {0}) end",
    ("cases", "case_id"): "(select min(transaction_id) from alerts where alerts.case_id = cases.{0})",
    # A fixed time after the alert was raised, which is when the run got to it.
    ("alerts", "due_at"): "{} - raised_at",
    # The newest label that was counted; figures of the alerts' workflow have the time of the clock.
    ("model_metrics", "computed_as_of"): "case when metric = any({workflow}) then null else {0} end",
}
"""What of other columns is the same all the same."""


def day(number: int) -> date:
    """Give the n-th day of the deployment, from 0."""
    return FIRST_DAY + timedelta(days=number)


@dataclass
class Deployment:
    """Settings, definitions and an instance of one test's deployment."""

    settings: Settings
    definitions: dg.Definitions
    instance: dg.DagsterInstance

    @property
    def runner(self) -> Runner:
        return Runner(self.definitions, self.instance)

    def changed(self, **overrides: object) -> "Deployment":
        """The same deployment with other settings."""
        settings = self.settings.model_copy(update=overrides)
        return replace(self, settings=settings, definitions=build_definitions(settings))

    def run_asset(self, asset: str, day: date) -> dg.ExecuteInProcessResult:
        """Materialise one asset alone for one day."""
        job = self.definitions.resolve_job_def(SCORE)
        return job.execute_in_process(
            asset_selection=[dg.AssetKey(asset)], partition_key=day.isoformat(), instance=self.instance
        )

    def checks(self, asset: str) -> dict[str, dg.AssetCheckEvaluation]:
        """Newest evaluation of each check of the newest run, by name."""
        run = self.instance.get_runs(limit=1)[0]
        logs = self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        found = [log.get_dagster_event().asset_check_evaluation_data for log in logs]
        return {each.check_name: each for each in found if each.asset_key == dg.AssetKey(asset)}

    def warnings(self) -> list[str]:
        """What the newest run warned of."""
        run = self.instance.get_runs(limit=1)[0]
        return [log.user_message for log in self.instance.all_logs(run.run_id) if log.level == logging.WARNING]

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    @property
    def landing_zone(self) -> LandingZone:
        return LandingZone(self.settings.landing)

    @property
    def stores(self) -> dict[str, object]:
        return {"lake": self.lake, "landing_zone": self.landing_zone}

    @property
    def database(self) -> Database:
        assert self.settings.database_url is not None
        return Database(self.settings.database_url.get_secret_value())

    def rows(self, table: str) -> list[tuple[object, ...]]:
        """All rows of a table, without what names the run that wrote them, counts up or tells the time (`UNLIKE`)."""
        assert self.settings.database_url is not None
        with psycopg.connect(libpq_url(self.settings.database_url.get_secret_value())) as session:
            columns = session.execute(
                "select column_name::text from information_schema.columns where table_name = %s"
                " and table_schema = 'public' and column_name <> all(%s) order by ordinal_position",
                [table, sorted(UNLIKE)],
            ).fetchall()
            workflow = sql.Literal(list(ALERT_METRICS))
            told = [
                sql.SQL(AS_FAR_AS_ALIKE.get((table, name), "{}")).format(sql.Identifier(name), workflow=workflow)
                for (name,) in columns
            ]
            found = session.execute(
                sql.SQL("select {} from {}").format(sql.SQL(", ").join(told), sql.Identifier(table))
            )
            return sorted(found, key=repr)

    def lake_rows(self, dataset: str) -> pd.DataFrame:
        """All rows of a dataset, without the run that wrote them."""
        days = sorted(self.lake.days(dataset))
        frames = self.lake.read_days(dataset, days).values()
        return pd.concat(frames, ignore_index=True).drop(columns=["run_id"], errors="ignore")


def settings_for(home: Path, database_url: str) -> Settings:
    return Settings.from_env(
        home=home,
        database_url=database_url,
        first_day=FIRST_DAY,
        label_maturity_days=5,
        calibration_days=10,
        training_days=14,
        isolation_forest_trees=25,
        lof_reference_rows=500,
        lof_neighbours=20,
        feedback_rounds=30,
    )


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Landing folder with 34 days of a small simulated export."""
    home = tmp_path_factory.mktemp("landed")
    settings = settings_for(home, "postgresql://nobody@localhost/none")
    config = SimulationConfig(users=150, merchants=60, first_day=FIRST_DAY, seed=3, fraud_rate=0.03)
    write_simulation(home / "export", config, DAYS, 10, settings.currency)
    ingest_path(settings, home / "export", home / "export" / "source.yaml")
    return home / "landing"


Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(tmp_path: Path, landed: Path, database_url: str) -> Iterator[Deploy]:
    """Make a deployment with the landed files and nothing else; settings may be overridden."""
    with dg.DagsterInstance.ephemeral() as instance:

        def make(**overrides: object) -> Deployment:
            settings = settings_for(tmp_path / "deployed", database_url).model_copy(update=overrides)
            shutil.copytree(landed, settings.landing, dirs_exist_ok=True)
            return Deployment(settings, build_definitions(settings), instance)

        yield make


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory, landed: Path, postgres_server_url: str) -> tuple[Path, str]:
    """Home folder and database name of a deployment with 30 prepared days and a champion."""
    home = tmp_path_factory.mktemp("prepared")
    name = "prepared_template"
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE migrated_template").format(sql.Identifier(name)))
    settings = settings_for(home, postgres_server_url.replace("/postgres?", f"/{name}?"))
    shutil.copytree(landed, settings.landing)
    with dg.DagsterInstance.ephemeral() as instance:
        runner = Runner(build_definitions(settings), instance)
        runner.run_range(PREPARE, day(0), day(29))
        runner.run_once(TRAIN, {})
    return home, name


@pytest.fixture
def prepared(tmp_path: Path, prepared_home: tuple[Path, str], postgres_server_url: str) -> Iterator[Deployment]:
    """Give a copy of the prepared deployment: 30 days of features, a champion, nothing scored."""
    home, template = prepared_home
    name = f"prepared_{tmp_path.name}".lower().replace("-", "_")[:60]
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        session.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    shutil.copytree(home, tmp_path / "home")
    settings = settings_for(tmp_path / "home", postgres_server_url.replace("/postgres?", f"/{name}?")).model_copy(
        # Artefact locations are absolute in MLflow: the registry is shared, read by most, written by some.
        update={"mlflow_tracking_uri": None, "artefact_root": str(home / "artefacts")}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Deployment(settings, build_definitions(settings), instance)
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
