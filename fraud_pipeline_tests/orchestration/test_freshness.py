"""The check on the newest day, and when it is launched."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pytest

from fraud_pipeline.adapters import clock
from fraud_pipeline.orchestration.freshness import NEWEST_DAY, SCORES, freshness_policy, newest_day
from fraud_pipeline_tests.orchestration.conftest import Deployment
from fraud_pipeline_tests.orchestration.ticks import RecordingNotifier

Deploy = Callable[..., Deployment]

DUE = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("newest", "has_file", "passed", "reason"),
    [
        (None, True, True, "no day was ever scored"),
        (DUE, True, True, "2026-03-01 is scored"),
        (DUE - timedelta(days=1), False, False, "1 day behind: no transaction file for 2026-03-01 has landed"),
        (DUE - timedelta(days=3), True, False, "3 days behind: its run failed or waits"),
    ],
)
def test_the_newest_day_has_to_be_the_one_that_is_due(
    newest: date | None, has_file: bool, passed: bool, reason: str
) -> None:
    found, text = newest_day(newest, DUE, has_file=has_file)
    assert found is passed
    assert reason in text


def test_the_nightly_job_leaves_the_check_to_the_clock(deploy: Deploy) -> None:
    definitions = deploy().definitions
    for job in ("score_nightly", "refresh_scores"):
        steps = {node.name for node in definitions.resolve_job_def(job).nodes}
        assert not any(NEWEST_DAY in step for step in steps)
        assert "anomaly_scores" in steps


def test_an_old_newest_day_fails_the_check_and_is_told(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.lake.write(SCORES, date(2026, 1, 5), pd.DataFrame({"transaction_id": ["t"]}))
    notifier = RecordingNotifier()
    (made,) = [
        each
        for each in deployment.definitions.asset_checks or ()
        if isinstance(each, dg.AssetChecksDefinition) and {key.name for key in each.check_keys} == {NEWEST_DAY}
    ]
    result = made(lake=deployment.lake, landing_zone=deployment.landing_zone, notifier=notifier)
    assert isinstance(result, dg.AssetCheckResult)
    assert result.passed is False
    due = clock.today("UTC") - timedelta(days=1)
    assert [subject for subject, _ in notifier.messages] == [f"{due} is not scored"]


def test_the_check_is_due_every_morning_even_if_nothing_ran(deploy: Deploy) -> None:
    deployment = deploy(time_zone="Europe/Berlin", scored_by_hour=6)
    morning = datetime(2026, 3, 30, 6, 5, tzinfo=ZoneInfo("Europe/Berlin"))
    requested = []
    cursor = None
    for minutes in (-10, -1, 1, 2):
        result = dg.evaluate_automation_conditions(
            defs=deployment.definitions,
            instance=deployment.instance,
            asset_selection=dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(SCORES), NEWEST_DAY)),
            evaluation_time=morning + timedelta(minutes=minutes),
            cursor=cursor,
        )
        cursor = result.cursor
        requested.append(result.total_requested)
    assert requested == [0, 0, 1, 0]


def test_what_is_needed_every_day_and_the_model_have_a_freshness_policy(deploy: Deploy) -> None:
    settings = deploy(scored_by_hour=7).settings
    policy = freshness_policy(settings, "alerts")
    assert isinstance(policy, dg.FreshnessPolicy)
    assert policy.deadline_cron == "0 7 * * *"  # type: ignore[attr-defined]  # of the cron kind
    assert freshness_policy(settings, "champion_model") is not None
    assert freshness_policy(settings, "backtest_report") is None
