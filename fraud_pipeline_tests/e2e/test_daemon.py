"""Webserver and daemon at work: files that arrive, a night that comes, a back-fill of thirty days."""

import os
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.database.alert_tables import alerts
from fraud_pipeline_tests.e2e.conftest import Delivery, Prepared
from fraud_pipeline_tests.e2e.deployment import DAILY, HISTORY, LATER, LOCATION, NIGHTS, Dagster, Deployment, wait_for

pytestmark = pytest.mark.e2e


def of(day: date) -> dict[str, str]:
    """Tags of the runs of a day."""
    return {"dagster/partition": day.isoformat()}


def land(deployment: Deployment, day: date, data: bytes) -> Path:
    """Put a file into the landing folder as a transfer would: complete at once."""
    folder = deployment.home / "landing" / "simulated" / "transactions"
    partial = folder / f".{day}.part"
    partial.write_bytes(data)
    return partial.replace(folder / f"transactions_{day}.csv")


def file_of(delivery: Delivery, day: date) -> bytes:
    name = f"transactions_{day}.csv"
    folder = delivery.later if day in LATER else delivery.known / "transactions"
    return (folder / name).read_bytes()


def test_schedules_and_sensors_are_on(dagster: Dagster) -> None:
    found = dagster.query(
        "query($selector: RepositorySelector!) {repositoryOrError(repositorySelector: $selector) {... on Repository {"
        "sensors {name sensorState {status}} schedules {name scheduleState {status}}}}}",
        selector=LOCATION,
    )
    states = {each["name"]: each["sensorState"]["status"] for each in found["sensors"]}
    states |= {each["name"]: each["scheduleState"]["status"] for each in found["schedules"]}
    assert states == dict.fromkeys(
        (
            "transaction_file_arrived",
            "label_file_arrived",
            "past_day_changed",
            "run_failed",
            "drift_detected",
            "alert_backlog",
            "metrics_written",
            "morning_checks",
            "score_nightly_schedule",
            "measure_alerts_schedule",
            "train_weekly",
        ),
        "RUNNING",
    )


def test_a_new_file_is_scored_and_files_beside_a_broken_one_go_on(
    dagster: Dagster, prepared: Prepared, delivery: Delivery
) -> None:
    deployment = prepared.deployment
    good, broken, other = LATER[:3]
    land(deployment, broken, file_of(delivery, broken).replace(b"amount", b"betrag", 1))
    land(deployment, good, file_of(delivery, good))
    land(deployment, other, file_of(delivery, other))

    for day in (good, other):
        (run,) = dagster.finished(of(day))
        # Its night is over, so nothing else would score it.
        assert (run["jobName"], run["status"]) == ("score_nightly", "SUCCESS")
        assert len(deployment.lake.read("anomaly_scores", day)) > 300

    attempts = dagster.finished(of(broken))
    assert {run["status"] for run in attempts} == {"FAILURE"}
    said = dagster.failure(attempts[0]["id"])
    assert f"transactions_{broken}.csv" in said
    assert "amount" in said
    told = wait_for(lambda: notifications(deployment), "the failed run is told of", seconds=60)
    (message,) = told
    assert str(broken) in message
    assert f"transactions_{broken}.csv" in message


def notifications(deployment: Deployment) -> list[str]:
    log = (deployment.home / "logs" / "daemon.log").read_text()
    return re.findall(r"run \S+ of score_nightly \(.*\) failed: .*", log)


def test_a_corrected_file_scores_its_day_again_and_the_same_bytes_do_nothing(
    dagster: Dagster, prepared: Prepared, delivery: Delivery
) -> None:
    deployment, day = prepared.deployment, NIGHTS[1]
    lines = file_of(delivery, day).splitlines(keepends=True)
    before = deployment.lake.read("anomaly_scores", day)
    (night,) = dagster.runs(of(day))
    path = land(deployment, day, b"".join(lines[:-1]))

    wait_for(lambda: len(dagster.runs(of(day))) > 1, "the day is requested", seconds=60)
    run, first = dagster.finished(of(day))
    assert first["id"] == night["id"]
    assert (run["jobName"], run["status"]) == ("score_nightly", "SUCCESS")
    assert run["tags"]["fraud_pipeline/file"] == f"simulated/transactions/transactions_{day}.csv"
    after = deployment.lake.read("anomaly_scores", day)
    assert len(after) == len(before) - 1
    assert set(after["run_id"]) == {run["id"]}

    # Not all runs: days that look back on this one are made again meanwhile.
    asked_for = {"fraud_pipeline/file": run["tags"]["fraud_pipeline/file"]}
    known = len(dagster.runs(asked_for))
    os.utime(path)  # delivered again: the same bytes, a new time
    seen = dagster.ticks("transaction_file_arrived")[0]["timestamp"]
    later = wait_for(
        lambda: [
            tick
            for tick in dagster.ticks("transaction_file_arrived")
            if tick["timestamp"] > seen and tick["status"] != "STARTED"
        ],
        "the sensor has looked",
        seconds=60,
    )
    assert {tick["status"] for tick in later} == {"SKIPPED"}
    assert len(dagster.runs(asked_for)) == known


def test_a_back_fill_of_thirty_days_is_one_run_with_the_figures_of_each_day(
    dagster: Dagster, prepared: Prepared, delivery: Delivery
) -> None:
    days, arriving = HISTORY[-30:], LATER[3]
    wanted = {"start": days[0].isoformat(), "end": days[-1].isoformat()}
    launched = dagster.query(
        "mutation($params: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $params) {"
        "... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}}}",
        params={
            "partitionsByAssets": [
                {"assetKey": {"path": [asset]}, "partitions": {"ranges": [wanted]}} for asset in DAILY
            ]
        },
    )
    tags = {"dagster/backfill": launched["backfillId"]}
    wait_for(lambda: [run for run in dagster.runs(tags) if run["startTime"]], "the run has started", seconds=60)
    land(prepared.deployment, arriving, file_of(delivery, arriving))
    (run,) = dagster.finished(tags)
    assert run["status"] == "SUCCESS", dagster.failure(run["id"])
    for asset in DAILY:
        figures = dagster.materialisations(asset, run["id"])
        assert sorted(figures) == [day.isoformat() for day in days], asset
        assert all(figures.values()), asset
    passed = dagster.check("validated_transactions", "reject_rate", run["id"])
    assert passed
    assert all(passed)
    rows = [
        day["dagster/partition_row_count"] for day in dagster.materialisations("anomaly_scores", run["id"]).values()
    ]
    assert len(set(rows)) > 10
    backfill = dagster.query(
        "query($id: String!) {partitionBackfillOrError(backfillId: $id) {... on PartitionBackfill {numPartitions}}}",
        id=launched["backfillId"],
    )
    assert backfill["numPartitions"] == len(days)
    # Meanwhile the queue kept other writers of daily assets waiting.
    (waited,) = dagster.finished(of(arriving))
    assert waited["status"] == "SUCCESS"
    assert waited["startTime"] >= run["endTime"]


def test_the_night_after_a_day_scores_it_to_alert_rows(
    dagster: Dagster, prepared: Prepared, delivery: Delivery
) -> None:
    deployment = prepared.deployment
    yesterday = clock.today("UTC") - timedelta(days=1)
    # A simulated day as if it had been yesterday; other ids, as its own day keeps the old ones.
    data = file_of(delivery, NIGHTS[0]).decode()
    data = data.replace(NIGHTS[0].isoformat(), yesterday.isoformat()).replace("\nt", "\ny")
    land(deployment, yesterday, data.encode())

    tags = of(yesterday) | {"dagster/schedule_name": "score_nightly_schedule"}
    wait_for(lambda: dagster.runs(tags), "the night has come", seconds=150)
    (run,) = dagster.finished(tags)
    assert (run["jobName"], run["status"]) == ("score_nightly", "SUCCESS")
    # The sensor may have been quicker: an alert keeps the run that raised it.
    raised = select(func.count()).where(alerts.c.event_day == yesterday, alerts.c.selection == "threshold")
    with deployment.database.begin() as connection:
        assert connection.execute(raised).scalar_one() > 0


def test_no_python_warning_is_in_the_logs(dagster: Dagster, prepared: Prepared) -> None:
    logs = {path.name: path.read_text() for path in (prepared.deployment.home / "logs").iterdir()}
    assert logs.keys() == {"webserver.log", "daemon.log"}
    assert dagster.url in logs["webserver.log"]
    for text in logs.values():
        assert re.findall(r".*\w+Warning: .*", text) == []
