"""A deployment as its operator sees it: environment variables, the command, and Dagster's GraphQL."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import ProxyHandler, Request, build_opener

from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.connections import EMBEDDED_DATABASE

Seen = TypeVar("Seen")

PROJECT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("fraud-pipeline")
LOCATION = {"repositoryLocationName": "fraud_pipeline", "repositoryName": "__repository__"}

FIRST_DAY = date(2026, 1, 1)
HISTORY = [FIRST_DAY + timedelta(days=n) for n in range(32)]
NIGHTS = [FIRST_DAY + timedelta(days=n) for n in range(32, 35)]
LATER = [FIRST_DAY + timedelta(days=n) for n in range(35, 40)]
SIZE = {
    "FRAUD_PIPELINE_FIRST_DAY": FIRST_DAY.isoformat(),
    "FRAUD_PIPELINE_LABEL_MATURITY_DAYS": "5",
    "FRAUD_PIPELINE_CALIBRATION_DAYS": "10",
    "FRAUD_PIPELINE_TRAINING_DAYS": "14",
    "FRAUD_PIPELINE_ISOLATION_FOREST_TREES": "20",
    "FRAUD_PIPELINE_LOF_NEIGHBOURS": "20",
    "FRAUD_PIPELINE_LOF_REFERENCE_ROWS": "500",
    "FRAUD_PIPELINE_FEEDBACK_ROUNDS": "30",
}
"""Models that train in seconds."""
DAILY = [
    "raw_transactions",
    "validated_transactions",
    "rejected_transactions",
    "fraud_labels",
    "user_daily_activity",
    "user_profiles",
    "transaction_features",
    "anomaly_scores",
    "alerts",
    "random_reviews",
    "alert_statistics",
    "model_metrics",
    "drift_report",
]


def wait_for(look: Callable[[], Seen], what: str, *, seconds: float) -> Seen:
    """Look again and again until what is seen is true; returns it."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {what}"
        time.sleep(0.5)
    return seen


@dataclass(frozen=True)
class Deployment:
    """One set of environment variables; nothing of the caller's environment reaches it.

    Parameters
    ----------
    home
        ``FRAUD_PIPELINE_HOME``.
    variables
        All other variables.
    """

    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of its processes."""
        basic = {
            "PATH": os.defpath,
            "HOME": str(Path.home()),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(PROJECT),
            "FRAUD_PIPELINE_HOME": str(self.home),
        }
        return basic | SIZE | dict(self.variables)

    def command(self, *arguments: object) -> str:
        """Run ``fraud-pipeline`` to its success; returns what it printed."""
        done = subprocess.run(  # noqa: S603 - our own command
            [COMMAND, *map(str, arguments)],
            env=self.environment,
            cwd=self.home.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        with self.log.open("a") as log:
            log.write(f"$ fraud-pipeline {' '.join(map(str, arguments))}\n{printed}\n")
        assert done.returncode == 0, printed
        return printed

    @property
    def log(self) -> Path:
        """File of what the commands printed."""
        return self.home.with_name(f"{self.home.name}.log")

    def train_and_score(self, files: Path) -> None:
        """Walk from received files to scored nights."""
        self.command("ingest", files, "--source", files / "source.yaml")
        self.command("run", "--from", HISTORY[0], "--to", HISTORY[-1])
        self.command("train")
        self.score_nights()

    def score_nights(self) -> None:
        """Score the last nights one by one."""
        self.command("run", "--nightly", "--from", NIGHTS[0], "--to", NIGHTS[-1])

    @property
    def lake(self) -> Lake:
        """Its lake, where that is in the home folder."""
        return Lake(str(self.home / "lake"))

    @cached_property
    def database(self) -> Database:
        """Its database, where that is the embedded one."""
        return Database(EmbeddedPostgres(self.home / "postgres").url(EMBEDDED_DATABASE))


class Dagster:
    """The webserver of a deployment.

    Parameters
    ----------
    url
        Its address.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, query: str, **variables: object) -> Any:  # noqa: ANN401 - JSON
        """Ask GraphQL; returns the only field of the answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310 - http
        with self._opener.open(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        (only,) = answer["data"].values()
        return only

    def runs(self, tags: Mapping[str, str]) -> list[dict[str, Any]]:
        """List the runs with all these tags, newest first: id, jobName, status, times, tags."""
        found = self.query(
            "query($filter: RunsFilter) {runsOrError(filter: $filter) {... on Runs {results {"
            "id jobName status startTime endTime tags {key value}}}}}",
            filter={"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        )
        return [run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found["results"]]

    def finished(self, tags: Mapping[str, str], *, seconds: float = 180) -> list[dict[str, Any]]:
        """Wait until there are runs with these tags and all have ended, without a retry to come; newest first."""

        def look() -> list[dict[str, Any]]:
            runs = self.runs(tags)
            ended = all(run["status"] in {"SUCCESS", "FAILURE", "CANCELED"} for run in runs)
            retried = {run["tags"].get("dagster/parent_run_id") for run in runs}
            awaited = [run for run in runs if run["tags"].get("dagster/will_retry") == "true"]
            return runs if ended and all(run["id"] in retried for run in awaited) else []

        return wait_for(look, f"runs with {tags} have ended", seconds=seconds)

    def materialisations(self, asset: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Figures that a run left for each partition of an asset."""
        (node,) = self.query(
            "query($keys: [AssetKeyInput!]) {assetNodes(assetKeys: $keys) {assetMaterializations {runId partition "
            "metadataEntries {label ... on IntMetadataEntry {intValue} ... on FloatMetadataEntry {floatValue}}}}}",
            keys=[{"path": [asset]}],
        )
        return {
            event["partition"]: {
                entry["label"]: entry.get("intValue", entry.get("floatValue")) for entry in event["metadataEntries"]
            }
            for event in node["assetMaterializations"]
            if event["runId"] == run_id
        }

    def check(self, asset: str, name: str, run_id: str) -> list[bool]:
        """Whether a check of an asset passed in a run, once for each time that it was evaluated."""
        executions = self.query(
            "query($key: AssetKeyInput!, $name: String!) {assetCheckExecutions(assetKey: $key, checkName: $name, "
            "limit: 200) {runId evaluation {success}}}",
            key={"path": [asset]},
            name=name,
        )
        return [each["evaluation"]["success"] for each in executions if each["runId"] == run_id and each["evaluation"]]

    def failure(self, run_id: str) -> str:
        """Messages of the errors of a run, causes included."""
        cause = "message cause {message cause {message cause {message}}}"
        found = self.query(
            f"query($id: ID!) {{logsForRun(runId: $id) {{... on EventConnection {{events {{"
            f"... on ExecutionStepFailureEvent {{error {{{cause}}}}}}}}}}}}}",
            id=run_id,
        )
        messages = []
        for event in found["events"]:
            error = event.get("error")
            while error:
                messages.append(error["message"])
                error = error.get("cause")
        return "".join(messages)

    def ticks(self, sensor: str) -> list[dict[str, Any]]:
        """List the ticks of a sensor, newest first: status, runKeys, timestamp."""
        found = self.query(
            "query($selector: SensorSelector!) {sensorOrError(sensorSelector: $selector) {... on Sensor {"
            "sensorState {ticks(limit: 20) {status runKeys timestamp}}}}}",
            selector=LOCATION | {"sensorName": sensor},
        )
        return list(found["sensorState"]["ticks"])

    @cached_property
    def _opener(self) -> Any:  # noqa: ANN401 - typeshed has no better
        return build_opener(ProxyHandler({}))  # our own server, never through a proxy
