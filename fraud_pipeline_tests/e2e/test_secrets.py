"""Planted secrets are nowhere: not in logs, runs, answers, tables, objects, arguments or errors."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final
from urllib.parse import quote

import pandas as pd
import psutil
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.e2e.deployment import COMMAND, LOCATION, NIGHTS, Dagster, wait_for
from fraud_pipeline_tests.e2e.production import BUCKET, DATABASES, PLANTED, Production

pytestmark = pytest.mark.e2e

WRONG: Final = "Wr0ngButSecretAsWell"


def secrets_of(production: Production) -> dict[str, str]:
    """All secrets of the deployment, in all spellings."""
    password = make_url(production.postgres.url).password
    assert password is not None
    plain = {"database password": password, "S3 secret": production.store.secret, **PLANTED, "wrong password": WRONG}
    return plain | {f"{name}, quoted": quote(text, safe="") for name, text in plain.items()}


def found(secrets: Mapping[str, str], place: str, data: bytes) -> list[str]:
    return [f"{name} in {place}" for name, text in secrets.items() if text.encode() in data]


def test_every_secret_setting_is_planted(production: Production) -> None:
    """A new setting of type SecretStr has to be planted here as well."""
    secret = {
        f"FRAUD_PIPELINE_{name}".upper()
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    planted = {name for name, value in production.deployment.variables.items() if any_secret(production, value)}
    # The MLflow server is asked without a password here; its database has one.
    assert secret - planted <= {"FRAUD_PIPELINE_MLFLOW_TRACKING_URI"}


def any_secret(production: Production, value: str) -> bool:
    return any(text in value for text in secrets_of(production).values())


@dataclass(frozen=True)
class Failures:
    """What commands printed, and the arguments of all processes meanwhile."""

    printed: list[str]
    arguments: set[str]


@pytest.fixture(scope="module")
def failures(production: Production, production_dagster: Dagster) -> Failures:
    """Make everything fail that has a secret at hand."""
    deployment = production.deployment
    postgres = make_url(production.postgres.url)
    wrong_login = postgres.set(password=WRONG).render_as_string(hide_password=False)
    night = ("run", "--from", NIGHTS[0], "--to", NIGHTS[0])
    variants: list[dict[str, str]] = [
        {"FRAUD_PIPELINE_DATABASE_URL": f"{wrong_login}/fraud_pipeline"},
        {"FRAUD_PIPELINE_DATABASE_URL": f"postgres:/{WRONG}@nowhere"},
        {"FRAUD_PIPELINE_DATABASE_URL": f"postgresql://fraud:{WRONG}@127.0.0.1:1/fraud_pipeline"},
        {"FRAUD_PIPELINE_MLFLOW_TRACKING_URI": f"{wrong_login}/mlflow"},
        {"FRAUD_PIPELINE_MLFLOW_TRACKING_URI": f"http://fraud:{WRONG}@127.0.0.1:1"},
        {"FRAUD_PIPELINE_MLFLOW_TRACKING_URI": f"mlflow:{WRONG}"},
        {"FRAUD_PIPELINE_DAGSTER_URL": f"{wrong_login}/dagster"},
        {"AWS_SECRET_ACCESS_KEY": WRONG},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"},
        {"FRAUD_PIPELINE_NOTIFY_WEBHOOK_URL": f"ftp://hooks/{WRONG}"},
        {"FRAUD_PIPELINE_SMTP_URL": f"gopher://fraud:{WRONG}@mail"},
    ]
    printed = []
    for variables in variants:
        done = subprocess.run(  # noqa: S603 - our own command
            [COMMAND, *map(str, night)],
            env=deployment.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            assert variables.keys() & {"FRAUD_PIPELINE_NOTIFY_WEBHOOK_URL", "FRAUD_PIPELINE_SMTP_URL"}, variables
        printed.append(done.stdout + done.stderr)
    # A run of the daemon that fails, of which people are to be told where nobody listens.
    day = NIGHTS[0]
    key = f"landing/simulated/transactions/transactions_{day}.csv"
    client = production.store.client()
    kept = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    tags = {"dagster/partition": day.isoformat()}
    known, arguments = len(production_dagster.runs(tags)), set()

    def told() -> bool:
        for process in psutil.process_iter(["cmdline"]):
            arguments.add(" ".join(process.info["cmdline"] or ()))
        failed = [run for run in production_dagster.runs(tags)[:-known] if run["status"] == "FAILURE"]
        ticks = production_dagster.ticks("run_failed")
        return any(tick["timestamp"] > float(run["endTime"]) for tick in ticks for run in failed)

    client.put_object(Bucket=BUCKET, Key=key, Body=kept.replace(b"amount", b"betrag", 1))
    try:
        wait_for(told, "the broken file fails, and the sensor looks at the failure", seconds=240)
    finally:
        client.put_object(Bucket=BUCKET, Key=key, Body=kept)
    return Failures(printed, arguments)


def test_errors_and_output_of_commands_hold_no_secret(production: Production, failures: Failures) -> None:
    secrets = secrets_of(production)
    assert [
        hit for number, text in enumerate(failures.printed) for hit in found(secrets, f"output {number}", text.encode())
    ] == []
    assert sum("error:" in text for text in failures.printed) >= len(failures.printed) - 2
    commands = production.deployment.log.read_bytes()
    assert b"ingested" in commands
    assert found(secrets, "commands", commands) == []


@pytest.mark.usefixtures("failures")
def test_no_file_of_the_deployment_holds_a_secret(production: Production) -> None:
    secrets, hits, read = secrets_of(production), [], 0
    for path in [*production.deployment.home.rglob("*"), production.mlflow.log]:
        if path.is_file():
            data = path.read_bytes()
            read += len(data)
            hits += found(secrets, str(path), data)
    assert hits == []
    assert read > 10_000


@pytest.mark.usefixtures("failures")
@pytest.mark.parametrize("database", DATABASES)
def test_no_row_of_a_table_holds_a_secret(production: Production, database: str) -> None:
    """Runs, their configuration and tags, event logs, ticks and cursors; models and their runs; alerts."""
    secrets, hits, rows = secrets_of(production), [], 0
    with psycopg.connect(f"{production.postgres.url}/{database}") as session:
        tables = session.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (table,) in tables:
            texts = session.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(table))).fetchall()
            rows += len(texts)
            hits += found(secrets, f"table {table}", "\n".join(row[0] for row in texts).encode())
    assert hits == []
    assert rows > 50


@pytest.mark.usefixtures("failures")
def test_no_object_holds_a_secret(production: Production) -> None:
    secrets, hits = secrets_of(production), []
    client, keys = production.store.client(), production.store.keys(BUCKET, "")
    for key in keys:
        data = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        if key.endswith(".parquet"):
            data = pd.read_parquet(BytesIO(data)).to_csv().encode()
        hits += found(secrets, key, data)
    assert hits == []
    assert {key.split("/")[0] for key in keys} >= {"artefacts", "compute-logs", "lake", "landing"}


QUERIES: Final[Mapping[str, str]] = {
    "instance": "{instance {id info runLauncher {name} runQueuingSupported}}",
    "workspace": "{workspaceOrError {... on Workspace {locationEntries {name displayMetadata {key value} "
    "locationOrLoadError {__typename ... on PythonError {message stack}}}} ... on PythonError {message}}}",
    "resources": "query($selector: RepositorySelector!) {repositoryOrError(repositorySelector: $selector) {"
    "... on Repository {allTopLevelResourceDetails {name description configFields {name defaultValueAsJson} "
    "configuredValues {key value type}}}}}",
    "jobs": "query($selector: RepositorySelector!) {repositoryOrError(repositorySelector: $selector) {... on "
    "Repository {pipelines {name tags {key value} modes {resources {name configField {name defaultValueAsJson}}}}}}}",
    "assets": "{assetNodes {assetKey {path} description metadataEntries {label description "
    "... on TextMetadataEntry {text} ... on JsonMetadataEntry {jsonString}} assetMaterializations {metadataEntries "
    "{label ... on TextMetadataEntry {text} ... on JsonMetadataEntry {jsonString} "
    "... on MarkdownMetadataEntry {mdStr}}}}}",
    "sensors": "query($selector: RepositorySelector!) {repositoryOrError(repositorySelector: $selector) {... on "
    "Repository {sensors {name sensorState {ticks(limit: 50) {status runKeys cursor skipReason error {message stack}}}"
    "} "
    "schedules {name scheduleState {ticks(limit: 50) {status error {message stack}}}}}}}",
    "runs": "{runsOrError {... on Runs {results {runId runConfigYaml tags {key value} stepStats {stepKey status}}}}}",
}


@pytest.mark.usefixtures("failures")
def test_no_answer_of_the_ui_holds_a_secret(production: Production, production_dagster: Dagster) -> None:
    secrets, dagster = secrets_of(production), production_dagster
    for name, query in QUERIES.items():
        variables: dict[str, Any] = {"selector": LOCATION} if "$selector" in query else {}
        answer = str(dagster.query(query, **variables))
        assert len(answer) > 80, name
        assert found(secrets, name, answer.encode()) == []
    for run in dagster.runs({}):
        events = dagster.query(
            "query($id: ID!) {logsForRun(runId: $id) {... on EventConnection {events {__typename ... on MessageEvent "
            "{message stepKey} ... on ExecutionStepFailureEvent {error {message stack cause {message stack}}} "
            "... on RunFailureEvent {error {message stack}}}}}}",
            id=run["id"],
        )
        assert events["events"]
        assert found(secrets, f"events of {run['id']}", str(events).encode()) == []


def test_no_argument_of_a_process_holds_a_secret(production: Production, failures: Failures) -> None:
    """Every user of the machine can read them."""
    text = "\n".join(failures.arguments)
    assert found(secrets_of(production), "arguments", text.encode()) == []
    for program in ("dagster-webserver", "dagster-daemon", "mlflow", "postgres"):
        assert program in text
