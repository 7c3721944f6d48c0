"""What is run again after a past day changed, on the event log alone and on real runs."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import pandas as pd
import pytest

from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.features import LABEL_CALENDAR_DAYS
from fraud_pipeline.orchestration.file_sensors import CHANGED, FEATURES, LABELS, TRANSACTIONS
from fraud_pipeline.orchestration.follow_ups import look_backs
from fraud_pipeline.orchestration.jobs import MEASURE, MERGE_LABELS, PREPARE, REFRESH_FEATURES, REFRESH_SCORES, SCORE
from fraud_pipeline_tests.orchestration.conftest import Deployment, day
from fraud_pipeline_tests.orchestration.ticks import Tick, launch, put, tick, transactions_folder

Deploy = Callable[..., Deployment]

SENSOR = "past_day_changed"
SUCCESS, FAILURE, STARTED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED


def made(deployment: Deployment, asset: str, days: Iterable[int]) -> None:
    """Let an asset be written for days, one after the other."""
    for number in days:
        deployment.lake.write(asset, day(number), pd.DataFrame({"transaction_id": ["t"]}))
        event = dg.AssetMaterialization(asset, partition=day(number).isoformat())
        deployment.instance.report_runless_asset_event(event)


def changed(
    deployment: Deployment, kind: str, number: int, status: dg.DagsterRunStatus = SUCCESS, job: str = PREPARE
) -> dg.DagsterRun:
    """Let a run that changed a day be there."""
    tags: Mapping[str, str] = {CHANGED: kind, "dagster/partition": day(number).isoformat()}
    run = dg.DagsterRun(job_name=job, status=status, tags=tags)
    return deployment.instance.add_run(run)


def iso(*numbers: int) -> tuple[str, ...]:
    return tuple(day(number).isoformat() for number in numbers)


def ask(deployment: Deployment, cursor: str | None = None) -> Tick:
    return tick(deployment, SENSOR, cursor)


def test_the_days_that_look_back_on_a_changed_day_are_one_range(deploy: Deploy) -> None:
    deployment = deploy(baseline_days=7, label_maturity_days=1)
    made(deployment, "transaction_features", range(200))
    made(deployment, "validated_transactions", [10])
    changed(deployment, TRANSACTIONS, 10)
    asked = ask(deployment)
    # Labels of what matured are read for longer than the baseline.
    last = 10 + 1 + LABEL_CALENDAR_DAYS - 1
    assert asked.ranges == [(REFRESH_FEATURES, *iso(11, last))]
    assert asked.requests[0].tags[CHANGED] == FEATURES
    assert ask(deployment, asked.cursor).requests == []


def test_the_longest_look_back_decides(deploy: Deploy) -> None:
    settings = deploy(baseline_days=200).settings
    (own,) = look_backs(settings)[TRANSACTIONS]
    assert (own.first, own.last) == (1, 200)


def test_days_that_were_made_after_the_change_are_left_alone(deploy: Deploy) -> None:
    # As in a backlog that is run oldest day first.
    deployment = deploy()
    for number in range(5):
        made(deployment, "validated_transactions", [number])
        made(deployment, "transaction_features", [number])
        changed(deployment, TRANSACTIONS, number)
    assert ask(deployment).requests == []


def test_days_that_are_not_there_are_neither_run_nor_bridged(deploy: Deploy) -> None:
    deployment = deploy()
    made(deployment, "transaction_features", [3, 4, 6, 7, 8])
    made(deployment, "validated_transactions", [3])
    changed(deployment, TRANSACTIONS, 3)
    assert ask(deployment).ranges == [(REFRESH_FEATURES, *iso(4, 4)), (REFRESH_FEATURES, *iso(6, 8))]


def test_several_changes_are_followed_up_together_once_all_have_ended(deploy: Deploy) -> None:
    deployment = deploy()
    made(deployment, "transaction_features", range(10))
    made(deployment, "validated_transactions", [2, 5])
    changed(deployment, TRANSACTIONS, 2)
    unfinished = changed(deployment, TRANSACTIONS, 5, STARTED)
    waiting = ask(deployment)
    assert (waiting.requests, waiting.cursor) == ([], None)
    assert "1 runs" in waiting.skipped
    deployment.instance.report_run_failed(unfinished)
    assert ask(deployment).ranges == [(REFRESH_FEATURES, *iso(3, 9))]


def test_a_run_that_failed_changed_nothing_until_its_retry_succeeds(deploy: Deploy) -> None:
    deployment = deploy()
    made(deployment, "transaction_features", range(10))
    made(deployment, "validated_transactions", [5])
    changed(deployment, TRANSACTIONS, 5, FAILURE)
    first = ask(deployment)
    assert first.requests == []
    changed(deployment, TRANSACTIONS, 5)
    assert ask(deployment, first.cursor).ranges == [(REFRESH_FEATURES, *iso(6, 9))]


def test_labels_change_features_from_their_day_on_and_the_figures_of_days_before(deploy: Deploy) -> None:
    deployment = deploy(label_maturity_days=5)
    made(deployment, "transaction_features", range(20))
    made(deployment, "anomaly_scores", range(12, 20))
    made(deployment, "model_metrics", range(12, 20))
    made(deployment, "fraud_labels", [15])
    changed(deployment, LABELS, 15)
    assert ask(deployment).ranges == [(REFRESH_FEATURES, *iso(15, 19)), (MEASURE, *iso(12, 15))]


def test_only_days_that_had_scores_are_scored_again_and_after_their_features(deploy: Deploy) -> None:
    deployment = deploy()
    made(deployment, "anomaly_scores", range(7, 10))
    made(deployment, "transaction_features", range(4, 9))
    run = dg.DagsterRun(
        job_name=REFRESH_FEATURES,
        status=SUCCESS,
        tags={
            CHANGED: FEATURES,
            "dagster/asset_partition_range_start": day(4).isoformat(),
            "dagster/asset_partition_range_end": day(8).isoformat(),
        },
    )
    deployment.instance.add_run(run)
    asked = ask(deployment)
    assert asked.ranges == [(REFRESH_SCORES, *iso(7, 8))]
    assert CHANGED not in asked.requests[0].tags


def failed_check(deployment: Deployment, asset: str, check: str, number: int) -> None:
    """Let a blocking check of a day have failed in some run."""
    deployment.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            dg.AssetKey(asset), check, passed=False, metadata={}, partition=day(number).isoformat(), blocking=True
        )
    )


def test_a_blocking_check_that_failed_in_one_run_keeps_later_runs_from_what_depends_on_its_day(deploy: Deploy) -> None:
    deployment = deploy()
    made(deployment, "transaction_features", range(10))
    made(deployment, "anomaly_scores", range(10))
    made(deployment, "fraud_labels", [4])
    failed_check(deployment, "validated_transactions", "reject_rate", 6)
    failed_check(deployment, "transaction_features", "reconciliation", 8)
    changed(deployment, LABELS, 4)
    asked = ask(deployment)
    # Day 8 failed in what is made anew, which may mend it.
    assert [each for each in asked.ranges if each[0] == REFRESH_FEATURES] == [
        (REFRESH_FEATURES, *iso(4, 5)),
        (REFRESH_FEATURES, *iso(7, 9)),
    ]
    made(deployment, "transaction_features", [5, 6, 7, 8])
    changed(deployment, FEATURES, 5, job=REFRESH_FEATURES)
    for number in (6, 7, 8):
        changed(deployment, FEATURES, number, job=REFRESH_FEATURES)
    scored = ask(deployment, asked.cursor)
    assert scored.ranges == [(REFRESH_SCORES, *iso(5, 5)), (REFRESH_SCORES, *iso(7, 7))]


def test_a_spoilt_delivery_of_a_scored_day_reaches_no_score_through_the_labels_of_days_before(
    prepared: Deployment,
) -> None:
    """The whole story on real runs: a correction is refused, then labels ask for its day's features again."""
    prepared.runner.run_day(SCORE, day(29))
    before = prepared.lake.read("transaction_features", day(29))
    with pytest.raises(InvalidDataError, match="reject_rate"):
        prepared.changed(max_reject_rate=-1.0).runner.run_day(SCORE, day(29))
    merge = dg.RunRequest(job_name=MERGE_LABELS, partition_key=day(28).isoformat(), tags={CHANGED: LABELS})
    assert launch(prepared, merge).success
    asked = ask(prepared)
    assert asked.ranges
    assert day(29).isoformat() not in {end for _, first, last in asked.ranges for end in (first, last)}
    for request in asked.requests:
        assert launch(prepared, request).success
    pd.testing.assert_frame_equal(prepared.lake.read("transaction_features", day(29)), before)


def test_automation_conditions_start_no_asset_so_none_goes_on_after_a_failed_check(deploy: Deploy) -> None:
    deployment = deploy()
    with pytest.raises(InvalidDataError, match="reject_rate"):
        deployment.changed(max_reject_rate=-1.0).runner.run_day(PREPARE, day(0))
    cursor = None
    for hour in (11, 12):
        result = dg.evaluate_automation_conditions(
            defs=deployment.definitions,
            instance=deployment.instance,
            asset_selection=dg.AssetSelection.all() | dg.AssetSelection.all_asset_checks(),
            evaluation_time=datetime(2026, 3, 1, hour, tzinfo=UTC),
            cursor=cursor,
        )
        cursor = result.cursor
        assert result.total_requested == 0


def test_a_lost_cursor_follows_up_nothing_twice(deploy: Deploy) -> None:
    deployment = deploy()
    made(deployment, "transaction_features", range(10))
    made(deployment, "validated_transactions", [5])
    changed(deployment, TRANSACTIONS, 5)
    first, second = ask(deployment), ask(deployment)
    # Not yet run: the same run key, which Dagster launches once.
    assert [each.run_key for each in first.requests] == [each.run_key for each in second.requests]
    made(deployment, "transaction_features", range(6, 10))
    assert ask(deployment).requests == []


def test_no_run_changed_anything(deploy: Deploy) -> None:
    assert ask(deploy()).skipped == "no run has changed a past day"


@pytest.mark.e2e
def test_a_corrected_file_ends_in_the_rows_of_a_run_that_had_it_from_the_start(
    prepared: Deployment,
) -> None:
    """Thirty prepared days, four scored; day 20 is corrected: everything after it comes out as from scratch."""
    deployment = prepared
    deployment.runner.run_range(SCORE, day(26), day(29))
    before = deployment.rows("alerts")
    file = transactions_folder(deployment) / f"transactions_{day(20)}.csv"
    lines = file.read_text().splitlines()
    put(
        file, "\n".join([*lines, *(f"late{n},{lines[9].split(',')[1]},m1,{day(20)}T12:0{n}:00Z,999" for n in range(5))])
    )
    cursors: dict[str, str | None] = {}
    ran = []
    for _ in range(4):
        for sensor in ("transaction_file_arrived", SENSOR):
            asked = tick(deployment, sensor, cursors.get(sensor))
            cursors[sensor] = asked.cursor
            for request in sorted(asked.requests, key=lambda request: str(request.partition_key)):
                if request.partition_key and request.partition_key > day(29).isoformat():
                    continue  # landed, but of no concern to this story
                assert launch(deployment, request).success
                ran.append((request.job_name, *iso(20)) if request.partition_key == iso(20)[0] else request.job_name)
    assert ran == [(PREPARE, *iso(20)), REFRESH_FEATURES, REFRESH_SCORES]
    assert len(deployment.rows("alerts")) >= len(before)
    features = {each: deployment.lake.read("transaction_features", day(each)) for each in range(21, 30)}
    scores = deployment.lake_rows("anomaly_scores")
    assert deployment.lake.days("anomaly_scores") == {day(26) + timedelta(days=n) for n in range(4)}
    deployment.runner.run_range(PREPARE, day(0), day(29))
    for number, built in features.items():
        pd.testing.assert_frame_equal(built, deployment.lake.read("transaction_features", day(number)))
    deployment.runner.run_range(SCORE, day(26), day(29))
    pd.testing.assert_frame_equal(scores, deployment.lake_rows("anomaly_scores"))
