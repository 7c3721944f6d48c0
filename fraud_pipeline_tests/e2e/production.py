"""The second profile: PostgreSQL over TCP, S3 and an MLflow server, reached by environment variables alone."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import psycopg
from psycopg import sql

from fraud_pipeline_tests.e2e.deployment import NIGHTS, Deployment
from fraud_pipeline_tests.e2e.servers import (
    MlflowServer,
    ObjectStore,
    PostgresServer,
    free_ports,
    mlflow_server,
    object_store,
)

PROJECT: Final = Path(__file__).parents[2]
BUCKET: Final = "fraud"
PLANTED: Final = {
    "webhook URL": f"hook-{secrets.token_urlsafe(16)}",
    "mail password": f"mail-{secrets.token_urlsafe(16)}",
    "tokenisation key": f"token-{secrets.token_urlsafe(32)}",
}
"""Secrets of a deployment besides those of its servers."""
DATABASES: Final = ("fraud_pipeline", "dagster", "mlflow")


@dataclass(frozen=True)
class Production:
    """The deployment and the servers that it uses."""

    deployment: Deployment
    postgres: PostgresServer
    store: ObjectStore
    mlflow: MlflowServer

    def rows(self, database: str, query: str) -> pd.DataFrame:
        """Read rows past the pipeline."""
        with psycopg.connect(f"{self.postgres.url}/{database}") as session:
            cursor = session.execute(query.encode())
            return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()])

    def walk(self, files: Path) -> str:
        """Go from received files to measured alerts; returns the summary."""
        self.deployment.command("migrate")
        self.deployment.train_and_score(files)
        self.deployment.command("measure", "--from", NIGHTS[0], "--to", NIGHTS[-1])
        return self.deployment.command("summary", "--from", NIGHTS[0], "--to", NIGHTS[-1])


@contextmanager
def production_profile(folder: Path) -> Iterator[Production]:
    """Run the servers; yields a deployment on them with nothing in it."""
    with (
        PostgresServer.running(folder / "postgresql") as postgres,
        object_store(folder / "s3", BUCKET) as store,
    ):
        with psycopg.connect(f"{postgres.url}/postgres", autocommit=True) as session:
            for name in DATABASES:
                session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with mlflow_server(folder / "mlflow", f"{postgres.url}/mlflow") as mlflow:
            home = folder / "production"
            dagster_home = home / "dagster"
            dagster_home.mkdir(parents=True)
            shutil.copy(PROJECT / "deploy" / "dagster.yaml", dagster_home)
            deployment = Deployment(
                home,
                {
                    "FRAUD_PIPELINE_DATABASE_URL": f"{postgres.url}/fraud_pipeline",
                    "FRAUD_PIPELINE_MLFLOW_TRACKING_URI": mlflow.url,
                    "FRAUD_PIPELINE_DAGSTER_URL": f"{postgres.url}/dagster",
                    "FRAUD_PIPELINE_LANDING_ROOT": f"s3://{BUCKET}/landing",
                    "FRAUD_PIPELINE_LAKE_ROOT": f"s3://{BUCKET}/lake",
                    "FRAUD_PIPELINE_ARTEFACT_ROOT": f"s3://{BUCKET}/artefacts",
                    "FRAUD_PIPELINE_COMPUTE_LOGS_BUCKET": BUCKET,
                    "FRAUD_PIPELINE_TOKENISATION_KEY": PLANTED["tokenisation key"],
                    # Nobody listens there.
                    "FRAUD_PIPELINE_NOTIFY_WEBHOOK_URL": f"http://127.0.0.1:1/{PLANTED['webhook URL']}",
                    "FRAUD_PIPELINE_SMTP_URL": f"smtp://fraud:{PLANTED['mail password']}@127.0.0.1:1",
                    "FRAUD_PIPELINE_NOTIFY_EMAIL_TO": "watch@example.org",
                    "FRAUD_PIPELINE_UI_PORT": str(free_ports(1)[0]),
                    "FRAUD_PIPELINE_SENSOR_INTERVAL_SECONDS": "2",
                    "DAGSTER_HOME": str(dagster_home),
                    **store.variables,
                },
            )
            try:
                yield Production(deployment, postgres, store, mlflow)
            finally:
                deployment.command("stop")
