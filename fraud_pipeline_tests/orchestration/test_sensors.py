"""What the file sensors and the drift sensor ask for, tick by tick."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from fraud_pipeline.adapters.landing_zone import files_digest
from fraud_pipeline.orchestration import file_sensors
from fraud_pipeline.orchestration.assets.labels import LABEL_FILES
from fraud_pipeline.orchestration.file_sensors import ScoredTime
from fraud_pipeline.orchestration.jobs import MERGE_LABELS, PREPARE
from fraud_pipeline_tests.orchestration.conftest import DAYS, Deployment, day
from fraud_pipeline_tests.orchestration.ticks import put, tick, transactions_folder

Deploy = Callable[..., Deployment]

HEADER = "transaction_id,user_id,merchant_id,event_time,amount\n"
FILES, LABEL_SENSOR = "transaction_file_arrived", "label_file_arrived"


@pytest.fixture
def deploy(deploy: Deploy) -> Deploy:
    """Make a deployment whose files landed a while ago."""

    def make(**overrides: object) -> Deployment:
        deployment = deploy(**overrides)
        for file in transactions_folder(deployment).iterdir():
            put(file, file.read_text())
        return deployment

    return make


def change(deployment: Deployment, number: int, row: str = "x1,u1,m1,{day}T10:00:00Z,5") -> None:
    """Add a row to the file of a day."""
    file = transactions_folder(deployment) / f"transactions_{day(number)}.csv"
    put(file, file.read_text() + row.format(day=day(number)) + "\n")


def test_a_backlog_is_requested_day_by_day_and_only_once(deploy: Deploy) -> None:
    deployment = deploy()
    first = tick(deployment, FILES)
    assert first.partitions == [day(number).isoformat() for number in range(DAYS)]
    assert {request.job_name for request in first.requests} == {"prepare_transactions"}
    again = tick(deployment, FILES, first.cursor)
    assert (again.requests, again.cursor) == ([], first.cursor)


def test_a_large_backlog_is_taken_in_portions(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_sensors, "FILES_PER_TICK", 20)
    deployment = deploy()
    first = tick(deployment, FILES)
    second = tick(deployment, FILES, first.cursor)
    third = tick(deployment, FILES, second.cursor)
    assert [len(each.requests) for each in (first, second, third)] == [20, DAYS - 20, 0]
    assert len({request.run_key for request in first.requests + second.requests}) == DAYS


def test_a_changed_file_requests_exactly_its_day(deploy: Deploy) -> None:
    deployment = deploy()
    before = tick(deployment, FILES)
    change(deployment, 3)
    assert tick(deployment, FILES, before.cursor).partitions == [day(3).isoformat()]


def test_a_file_that_is_put_back_as_it_was_is_a_change_as_well(deploy: Deploy) -> None:
    deployment = deploy()
    file = transactions_folder(deployment) / f"transactions_{day(3)}.csv"
    text, keys, cursor = file.read_text(), [], tick(deployment, FILES).cursor
    for version in (text + "x1,u1,m1,2026-01-04T10:00:00Z,5\n", text):
        put(file, version)
        answer = tick(deployment, FILES, cursor)
        cursor = answer.cursor
        keys += [request.run_key for request in answer.requests]
    assert len(set(keys)) == 2


@pytest.mark.parametrize("cursor", [None, "stale"])
def test_a_tick_that_was_not_recorded_gives_the_same_run_keys_again(deploy: Deploy, cursor: str | None) -> None:
    # Killed between the evaluation and the launch, the daemon evaluates again from the cursor before,
    # and Dagster launches a run key once for ever: none is missed and none doubled.
    deployment = deploy()
    if cursor is not None:
        cursor = tick(deployment, FILES).cursor
        change(deployment, 3)
    first, second = tick(deployment, FILES, cursor), tick(deployment, FILES, cursor)
    assert first.requests
    assert [request.run_key for request in first.requests] == [request.run_key for request in second.requests]
    assert first.cursor == second.cursor


def test_a_lost_cursor_requests_only_what_the_lake_does_not_hold(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.runner.run_day(PREPARE, day(0))
    known = tick(deployment, FILES)
    assert min(known.partitions) == day(1).isoformat()
    assert tick(deployment, FILES, None).partitions == known.partitions


def test_a_cursor_of_the_version_before_is_understood(deploy: Deploy) -> None:
    deployment = deploy()
    taken = json.loads(tick(deployment, FILES).cursor or "")["taken"]
    assert tick(deployment, FILES, json.dumps(taken)).requests == []


def test_a_file_that_somebody_is_writing_waits_until_it_rests(deploy: Deploy) -> None:
    deployment = deploy()
    before = tick(deployment, FILES)
    file = transactions_folder(deployment) / f"transactions_{day(3)}.csv"
    put(file, file.read_text() + "x1,u1,m1,2026-01-04T10:00:00Z,5\n", seconds_ago=0)
    growing = tick(deployment, FILES, before.cursor)
    assert growing.requests == []
    put(file, file.read_text() + "x2,u1,m1,2026-01-04T11:00:00Z,5\n", seconds_ago=0)
    still = tick(deployment, FILES, growing.cursor)
    assert still.requests == []
    assert tick(deployment, FILES, still.cursor).partitions == [day(3).isoformat()]


def test_one_broken_file_is_told_once_and_stops_no_other(deploy: Deploy) -> None:
    deployment = deploy()
    put(transactions_folder(deployment) / "transactions_yesterday.csv", HEADER)
    first = tick(deployment, FILES)
    assert len(first.requests) == DAYS
    ((subject, _),) = first.told
    assert "transactions_yesterday.csv" in subject
    assert tick(deployment, FILES, first.cursor).told == []


def test_a_broken_description_stops_no_other_source(deploy: Deploy) -> None:
    deployment = deploy()
    other = transactions_folder(deployment).parents[1] / "other"
    (other / "transactions").mkdir(parents=True)
    (other / "source.yaml").write_text("name: [")
    first = tick(deployment, FILES)
    assert len(first.requests) == DAYS
    assert [subject for subject, _ in first.told] == ["other/source.yaml in the landing zone cannot be used"]


def test_a_late_file_of_a_scored_time_goes_through_to_alerts(deploy: Deploy) -> None:
    deployment = deploy()
    for number in (5, 8):
        deployment.lake.write("anomaly_scores", day(number), pd.DataFrame({"transaction_id": ["t"]}))
    by_day = {request.partition_key: request.job_name for request in tick(deployment, FILES).requests}
    # Day 6 was passed over; before day 5 there is only history, which must raise no alert.
    assert [by_day[day(number).isoformat()] for number in (4, 5, 6, 8)] == [
        "prepare_transactions",
        "score_nightly",
        "score_nightly",
        "score_nightly",
    ]


def scored_time(first: date | None, newest: date | None, zone: str = "UTC") -> ScoredTime:
    return ScoredTime(first, newest, "0 2 * * *", zone)


def test_a_file_that_comes_after_its_night_is_scored_at_once() -> None:
    time = scored_time(day(0), day(4))
    night = datetime(2026, 1, 7, 2, tzinfo=UTC)  # of day 5, the 6th of January
    assert time.night_of(day(5)) == night
    assert not time.holds(day(5), night.replace(hour=1))
    assert time.holds(day(5), night.replace(hour=5))


def test_days_before_the_first_that_was_scored_are_history() -> None:
    assert not scored_time(None, None).holds(day(0), datetime(2026, 3, 1, tzinfo=UTC))
    assert not scored_time(day(5), day(9)).holds(day(4), datetime(2026, 3, 1, tzinfo=UTC))
    assert scored_time(day(5), None).holds(day(5), datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("zone", "of", "night"),
    [
        # 02:00 does not exist in Berlin that night, and exists twice in autumn.
        ("Europe/Berlin", date(2026, 3, 28), datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("Europe/Berlin", date(2026, 10, 24), datetime(2026, 10, 25, 1, tzinfo=UTC)),
        ("America/New_York", date(2026, 3, 7), datetime(2026, 3, 8, 7, tzinfo=UTC)),
        ("America/New_York", date(2026, 10, 31), datetime(2026, 11, 1, 7, tzinfo=UTC)),
    ],
)
def test_the_night_of_a_clock_change_is_the_one_of_the_schedule(zone: str, of: date, night: datetime) -> None:
    assert abs(scored_time(None, None, zone).night_of(of) - night).total_seconds() <= 3600


def test_training_says_from_when_on_days_are_scored(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.lake.write_json("champion_model", {"version": 1})
    deployment.lake.write_json("training_windows", {"as_of": day(30).isoformat()})
    by_day = {request.partition_key: request.job_name for request in tick(deployment, FILES).requests}
    assert by_day[day(29).isoformat()] == "prepare_transactions"
    assert by_day[day(30).isoformat()] == "score_nightly"


def test_a_file_before_the_first_day_is_passed_over_for_good(deploy: Deploy) -> None:
    deployment = deploy()
    put(transactions_folder(deployment) / "transactions_2025-12-31.csv", HEADER)
    first = tick(deployment, FILES)
    assert len(first.requests) == DAYS
    ((subject, message),) = first.told
    assert subject == "files of closed days in the landing zone are not run: 1"
    assert message == (
        "simulated/transactions/transactions_2025-12-31.csv is of 2025-12-31, before the first day 2026-01-01 of this "
        "deployment: leave the file out, or set FRAUD_PIPELINE_FIRST_DAY to an earlier day."
    )
    again = tick(deployment, FILES, first.cursor)
    assert (again.requests, again.told) == ([], [])


def test_a_file_of_a_day_that_retention_has_closed_is_told_once_and_stops_no_other(deploy: Deploy) -> None:
    deployment = deploy(retention_days=30)
    first = tick(deployment, FILES)
    # The newest day is the 34th, so the first three are closed.
    assert first.partitions == [day(number).isoformat() for number in range(3, DAYS)]
    ((subject, message),) = first.told
    assert subject == "files of closed days in the landing zone are not run: 3"
    assert message.splitlines()[0] == (
        f"simulated/transactions/transactions_{day(0)}.csv is of {day(0)}, more than 30 days before the newest day "
        f"{day(33)}, so its month is closed: leave the file out, or set FRAUD_PIPELINE_RETENTION_DAYS to more days."
    )
    again = tick(deployment, FILES, first.cursor)
    assert (again.requests, again.told) == ([], [])
    change(deployment, 1)
    change(deployment, 5)
    corrected = tick(deployment, FILES, again.cursor)
    assert corrected.partitions == [day(5).isoformat()]
    assert [message.count(str(day(1))) for _, message in corrected.told] == [2]


def test_files_that_were_run_before_their_day_was_closed_are_not_told_of_when_the_cursor_is_lost(
    deploy: Deploy,
) -> None:
    deployment = deploy()
    deployment.runner.run_range(PREPARE, day(0), day(2))
    assert tick(deployment.changed(retention_days=30), FILES).told == []


def test_a_file_of_a_day_that_is_not_over_waits_for_its_day(deploy: Deploy) -> None:
    deployment = deploy()
    put(transactions_folder(deployment) / "transactions_2199-01-01.csv", HEADER)
    first = tick(deployment, FILES)
    assert len(first.requests) == DAYS
    assert "2199" not in str(first.cursor)


def test_nothing_landed_is_a_reason_to_skip(deploy: Deploy) -> None:
    deployment = deploy()
    for file in transactions_folder(deployment).iterdir():
        file.unlink()
    found = tick(deployment, FILES)
    assert (found.requests, found.cursor) == ([], None)
    assert "no new transaction file" in found.skipped


def label_file(deployment: Deployment, number: int) -> Path:
    """The label file of a day."""
    return sorted((transactions_folder(deployment).parent / "labels" / day(number).isoformat()).iterdir())[0]


def labelled(deploy: Deploy, days: int = 13) -> tuple[Deployment, str | None]:
    """A deployment whose first days have merged all their labels, and the cursor of a sensor that saw it."""
    deployment = deploy()
    for number in range(days):
        merged = {LABEL_FILES: files_digest(deployment.landing_zone.label_files(day(number)))}
        deployment.lake.write("fraud_labels", day(number), pd.DataFrame({"transaction_id": ["t"]}))
        deployment.instance.report_runless_asset_event(
            dg.AssetMaterialization("fraud_labels", partition=day(number).isoformat(), metadata=merged)
        )
    first = tick(deployment, LABEL_SENSOR)
    assert first.requests == []
    return deployment, first.cursor


def test_a_run_says_which_label_files_it_merged(deploy: Deploy) -> None:
    deployment = deploy()
    assert tick(deployment, LABEL_SENSOR).requests == []  # the days take their labels when they are run
    deployment.runner.run_range(PREPARE, day(0), day(1))
    first = tick(deployment, LABEL_SENSOR)
    assert first.requests == []
    assert tick(deployment, LABEL_SENSOR, first.cursor).cursor == first.cursor


def test_a_label_file_after_its_day_was_run_is_merged_to_the_end_of_what_it_takes_back(deploy: Deploy) -> None:
    deployment, cursor = labelled(deploy)
    label_file(deployment, 4).unlink()
    asked = tick(deployment, LABEL_SENSOR, cursor)
    maturity = deployment.settings.label_maturity_days
    assert asked.ranges == [(MERGE_LABELS, day(4).isoformat(), day(4 + maturity).isoformat())]
    assert asked.requests[0].run_key == tick(deployment, LABEL_SENSOR, cursor).requests[0].run_key
    assert tick(deployment, LABEL_SENSOR, asked.cursor).requests == []


def test_a_lost_cursor_merges_no_labels_again(deploy: Deploy) -> None:
    deployment, _ = labelled(deploy)
    assert tick(deployment, LABEL_SENSOR, None).requests == []


def test_a_stray_file_among_the_labels_hides_only_its_day(deploy: Deploy) -> None:
    deployment, cursor = labelled(deploy)
    put(label_file(deployment, 2).with_name("notes.txt"), "")
    label_file(deployment, 6).unlink()
    asked = tick(deployment, LABEL_SENSOR, cursor)
    assert asked.ranges == [(MERGE_LABELS, day(6).isoformat(), day(11).isoformat())]


def asked_by_drift(deployment: Deployment, of: date, metadata: dict[str, bool]) -> list[dg.RunRequest]:
    """Evaluate the drift sensor after a report of a day."""
    deployment.lake.write("drift_report", of, pd.DataFrame({"name": ["amount"]}))
    deployment.instance.report_runless_asset_event(
        dg.AssetMaterialization("drift_report", partition=of.isoformat(), metadata=metadata)
    )
    return tick(deployment, "drift_detected").requests


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


def test_a_past_day_that_is_run_again_asks_for_no_training(deploy: Deploy) -> None:
    deployment = deploy()
    assert asked_by_drift(deployment, day(9), {"retraining_requested": False}) == []
    assert asked_by_drift(deployment, day(1), {"retraining_requested": True}) == []
