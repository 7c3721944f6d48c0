"""What the sensors ask for and tell, tick by tick."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from fraud_pipeline.orchestration import sensors
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.jobs import PREPARE
from fraud_pipeline_tests.orchestration.conftest import DAYS, Deployment, day

Deploy = Callable[..., Deployment]


class RecordingNotifier:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []

    def notify(self, subject: str, message: str) -> None:
        self.messages.append((subject, message))


def tick(deployment: Deployment, cursor: str | None = None) -> tuple[list[dg.RunRequest], str | None]:
    """Evaluate the file sensor; gives its requests and the cursor after it."""
    repository = deployment.definitions.get_repository_def()
    with dg.build_sensor_context(
        instance=deployment.instance, cursor=cursor, repository_def=repository, resources=deployment.stores
    ) as context:
        data = repository.get_sensor_def("transaction_file_arrived").evaluate_tick(context)
    return list(data.run_requests or []), data.cursor or cursor


def transactions_folder(deployment: Deployment) -> Path:
    return Path(deployment.settings.landing) / "simulated" / "transactions"


def test_a_backlog_is_requested_day_by_day_and_only_once(deploy: Deploy) -> None:
    deployment = deploy()
    requests, cursor = tick(deployment)
    assert [request.partition_key for request in requests] == [day(number).isoformat() for number in range(DAYS)]
    assert {request.job_name for request in requests} == {"prepare_transactions"}
    assert tick(deployment, cursor)[0] == []


def test_a_large_backlog_is_taken_in_portions(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "FILES_PER_TICK", 20)
    deployment = deploy()
    first, cursor = tick(deployment)
    second, cursor = tick(deployment, cursor)
    third, _ = tick(deployment, cursor)
    assert (len(first), len(second), len(third)) == (20, DAYS - 20, 0)
    assert len({request.run_key for request in first + second}) == DAYS


def test_a_changed_file_requests_exactly_its_day(deploy: Deploy) -> None:
    deployment = deploy()
    _, cursor = tick(deployment)
    file = transactions_folder(deployment) / f"transactions_{day(3)}.csv"
    file.write_text(file.read_text() + "x1,u1,m1,2026-01-04T10:00:00Z,5\n")
    requests, _ = tick(deployment, cursor)
    assert [request.partition_key for request in requests] == [day(3).isoformat()]


def test_a_late_file_of_a_scored_time_goes_through_to_alerts(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.lake.write("anomaly_scores", day(5), pd.DataFrame({"transaction_id": ["t"]}))
    by_day = {request.partition_key: request.job_name for request in tick(deployment)[0]}
    assert by_day[day(5).isoformat()] == "score_nightly"
    assert by_day[day(6).isoformat()] == "prepare_transactions"


def test_bytes_that_were_processed_from_the_command_line_are_not_requested(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.runner.run_range(PREPARE, day(0), day(2))
    assert min(str(request.partition_key) for request in tick(deployment)[0]) == day(3).isoformat()


def test_a_file_before_the_first_day_is_passed_over_for_good(deploy: Deploy) -> None:
    deployment = deploy()
    old = transactions_folder(deployment) / "transactions_2025-12-31.csv"
    old.write_text("transaction_id,user_id,merchant_id,event_time,amount\n")
    requests, cursor = tick(deployment)
    assert len(requests) == DAYS
    assert cursor is not None
    assert old.name in cursor


def test_a_file_of_a_day_that_is_not_over_waits_for_its_day(deploy: Deploy) -> None:
    deployment = deploy()
    early = transactions_folder(deployment) / "transactions_2199-01-01.csv"
    early.write_text("transaction_id,user_id,merchant_id,event_time,amount\n")
    requests, cursor = tick(deployment)
    assert len(requests) == DAYS
    assert cursor is not None
    assert early.name not in cursor


def test_nothing_landed_is_a_reason_to_skip(deploy: Deploy) -> None:
    deployment = deploy()
    for file in transactions_folder(deployment).iterdir():
        file.unlink()
    assert tick(deployment) == ([], None)


def told_of_a_failure(deployment: Deployment, tags: dict[str, str]) -> list[tuple[str, str]]:
    """Let a day without a file fail; gives what people are told of the run, as if it had these tags."""
    job = deployment.definitions.resolve_job_def(PREPARE)
    result = job.execute_in_process(
        partition_key=day(40).isoformat(), instance=deployment.instance, raise_on_error=False
    )
    notifier = RecordingNotifier()
    repository = build_definitions(deployment.settings, resource_overrides={"notifier": notifier}).get_repository_def()
    failure = next(event for event in result.all_events if event.event_type_value == "PIPELINE_FAILURE")
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failed",
        dagster_instance=deployment.instance,
        dagster_run=result.dagster_run.with_tags({**result.dagster_run.tags, **tags}),
        dagster_event=failure,
        resources={"notifier": notifier},
    ).for_run_failure()
    repository.get_sensor_def("run_failed")(context)
    return notifier.messages


def test_a_failed_run_is_told_with_its_day_and_cause(deploy: Deploy) -> None:
    ((subject, message),) = told_of_a_failure(deploy(), {"dagster/will_retry": "false"})
    assert PREPARE in subject
    assert day(40).isoformat() in subject
    assert "no transaction file" in message.lower()


def test_a_run_that_will_be_tried_again_is_not_told(deploy: Deploy) -> None:
    assert told_of_a_failure(deploy(), {"dagster/will_retry": "true"}) == []


def asked_by_drift(deployment: Deployment, of: date, metadata: dict[str, bool]) -> list[dg.RunRequest]:
    """Evaluate the drift sensor after a report of a day."""
    deployment.instance.report_runless_asset_event(
        dg.AssetMaterialization("drift_report", partition=of.isoformat(), metadata=metadata)
    )
    repository = deployment.definitions.get_repository_def()
    with dg.build_sensor_context(instance=deployment.instance, repository_def=repository) as context:
        return list(repository.get_sensor_def("drift_detected").evaluate_tick(context).run_requests or [])


def test_drift_asks_for_training_once_a_week(deploy: Deploy) -> None:
    deployment = deploy()
    # A Friday, the Sunday after it, and the Monday after that.
    asked = [asked_by_drift(deployment, day(number), {"retraining_requested": True}) for number in (1, 3, 4)]
    assert [[request.run_key for request in requests] for requests in asked] == [
        ["train_models:drift:2026-W01"],
        ["train_models:drift:2026-W01"],
        ["train_models:drift:2026-W02"],
    ]
    assert asked[0][0].tags["fraud_pipeline/drift"] == day(1).isoformat()


def test_a_report_that_requests_nothing_or_compared_nothing_asks_for_no_training(deploy: Deploy) -> None:
    deployment = deploy()
    assert asked_by_drift(deployment, day(1), {"retraining_requested": False}) == []
    assert asked_by_drift(deployment, day(2), {}) == []
