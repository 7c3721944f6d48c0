"""Sensors of a deployment, evaluated as the daemon does."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from fraud_pipeline_tests.orchestration.conftest import Deployment


class RecordingNotifier:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []

    def notify(self, subject: str, message: str) -> None:
        self.messages.append((subject, message))


@dataclass(frozen=True)
class Tick:
    """What came of one evaluation."""

    requests: list[dg.RunRequest]
    cursor: str | None
    skipped: str
    told: list[tuple[str, str]]

    @property
    def partitions(self) -> list[str]:
        """Partition keys of the requests, in their order."""
        return [str(request.partition_key) for request in self.requests]

    @property
    def ranges(self) -> list[tuple[str, str, str]]:
        """Job, first and last day of each request."""
        return [(str(request.job_name), *span(request)) for request in self.requests]


def span(request: dg.RunRequest) -> tuple[str, str]:
    """First and last day of a request."""
    if request.partition_key:
        return request.partition_key, request.partition_key
    return tuple(request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))  # type: ignore[return-value]


def tick(deployment: Deployment, sensor: str, cursor: str | None = None) -> Tick:
    """Evaluate a sensor once."""
    repository, notifier = deployment.definitions.get_repository_def(), RecordingNotifier()
    resources = {**deployment.stores, "database": deployment.database, "notifier": notifier}
    definition = repository.get_sensor_def(sensor)
    wanted = {key: each for key, each in resources.items() if key in definition.required_resource_keys}
    with dg.build_sensor_context(
        instance=deployment.instance, cursor=cursor, repository_def=repository, resources=wanted
    ) as context:
        data = definition.evaluate_tick(context)
    after = cursor if data.cursor is None else data.cursor
    return Tick(list(data.run_requests or []), after, data.skip_message or "", notifier.messages)


def launch(deployment: Deployment, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """Run what was requested, as the daemon does."""
    assert request.job_name is not None
    return deployment.definitions.resolve_job_def(request.job_name).execute_in_process(
        partition_key=request.partition_key, tags=request.tags, instance=deployment.instance, raise_on_error=False
    )


def transactions_folder(deployment: Deployment) -> Path:
    """Landing folder of the simulated source's transactions."""
    return Path(deployment.settings.landing) / "simulated" / "transactions"


def put(file: Path, text: str, *, seconds_ago: float = 60) -> None:
    """Write a file that nobody has touched for a while."""
    file.write_text(text)
    written = file.stat().st_mtime_ns - int(seconds_ago * 1e9)
    os.utime(file, ns=(written, written))


def metadata_of(deployment: Deployment, asset: str, day: str) -> Mapping[str, object]:
    """Metadata of the newest materialisation of a day."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[day])
    (record,) = deployment.instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    return {label: value.value for label, value in record.asset_materialization.metadata.items()}
