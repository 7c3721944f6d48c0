"""What each schedule asks for at a given tick."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from fraud_pipeline.orchestration.schedules import build_schedules, ended_day
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.orchestration.conftest import Deployment, day

Deploy = Callable[..., Deployment]


def tick(deployment: Deployment, schedule: str, at: datetime) -> dg.RunRequest | str:
    """Evaluate a schedule; gives its one run request, or why it skips."""
    repository = deployment.definitions.get_repository_def()
    with dg.build_schedule_context(
        instance=deployment.instance,
        scheduled_execution_time=at,
        repository_def=repository,
        resources=deployment.stores,
    ) as context:
        data = repository.get_schedule_def(schedule).evaluate_tick(context)
    if not data.run_requests:
        return str(data.skip_message)
    (request,) = data.run_requests
    return request


def at_night(number: int, zone: str = "UTC") -> datetime:
    return datetime.combine(day(number), datetime.min.time(), ZoneInfo(zone)).replace(hour=2)


def test_the_night_scores_the_day_that_ended(deploy: Deploy) -> None:
    request = tick(deploy(), "score_nightly_schedule", at_night(5))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == day(4).isoformat()


def test_the_day_that_ended_is_that_of_the_configured_zone(deploy: Deploy) -> None:
    # 02:00 in Auckland is the afternoon before in UTC.
    request = tick(deploy(time_zone="Pacific/Auckland"), "score_nightly_schedule", at_night(5, "Pacific/Auckland"))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == day(4).isoformat()


def test_the_night_after_a_clock_change_scores_the_short_day_once(deploy: Deploy) -> None:
    deployment = deploy(time_zone="Europe/Paris")
    source = deployment.landing_zone.root / "simulated" / "transactions"
    (source / "transactions_2026-03-29.csv").write_text("transaction_id,user_id,merchant_id,event_time,amount\n")
    tick_time = datetime(2026, 3, 30, 2, tzinfo=ZoneInfo("Europe/Paris"))
    request = tick(deployment, "score_nightly_schedule", tick_time)
    assert isinstance(request, dg.RunRequest)
    assert (request.partition_key, request.run_key) == ("2026-03-29", "score_nightly:2026-03-29")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("month", [3, 10])
@pytest.mark.parametrize("cron", ["0 2 * * *", "30 2 * * *", "30 1 * * *", "0 3 * * *"])
def test_every_day_around_a_clock_change_is_asked_for_once(zone: str, month: int, cron: str) -> None:
    """An hour that does not exist, or exists twice, loses no day and doubles none."""
    settings = Settings.from_env(time_zone=zone, nightly_cron=cron)
    (schedule,) = [each for each in build_schedules(settings) if each.name == "score_nightly_schedule"]
    assert schedule.cron_schedule == cron
    start = datetime(2026, month, 1, tzinfo=ZoneInfo(zone))
    # The daemon's own iterator; 45 days hold the changes of both continents.
    ticks = islice(schedule_execution_time_iterator(start.timestamp(), cron, schedule.execution_timezone), 45)
    days = [ended_day(each, zone) for each in ticks]
    assert days == [start.date() + timedelta(days=number - 1) for number in range(45)]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("month", [3, 10])
@pytest.mark.parametrize("cron", ["0 4 * * 0", "30 2 * * 0", "0 2 * * 0"])
def test_every_week_around_a_clock_change_is_trained_once(zone: str, month: int, cron: str, deploy: Deploy) -> None:
    """Clocks change on Sundays, the days on which training is due."""
    deployment = deploy(time_zone=zone, training_cron=cron)
    for number in range(23):
        deployment.lake.write("transaction_features", day(number), pd.DataFrame({"transaction_id": ["t"]}))
    (schedule,) = [each for each in build_schedules(deployment.settings) if each.name == "train_weekly"]
    start = datetime(2026, month, 1, 12, tzinfo=ZoneInfo(zone))
    ticks = list(islice(schedule_execution_time_iterator(start.timestamp(), cron, schedule.execution_timezone), 6))
    assert [each.astimezone(ZoneInfo(zone)).date().isoweekday() for each in ticks] == [7] * 6
    requests = [tick(deployment, "train_weekly", each) for each in ticks]
    keys = [request.run_key for request in requests if isinstance(request, dg.RunRequest)]
    first = start.date() + timedelta(days=7 - start.date().isoweekday() or 7)
    assert keys == [f"train_models:{first + timedelta(days=7 * week - 1)}" for week in range(6)]


def test_a_night_without_a_file_skips_and_says_what_happens_next(deploy: Deploy) -> None:
    skipped = tick(deploy(), "score_nightly_schedule", at_night(60))
    assert isinstance(skipped, str)
    assert "transaction_file_arrived" in skipped


def test_the_day_whose_labels_matured_is_measured_if_it_was_scored(deploy: Deploy) -> None:
    deployment = deploy()
    assert tick(deployment, "measure_alerts_schedule", at_night(20)) == f"{day(13)} was not scored"
    deployment.lake.write("anomaly_scores", day(13), pd.DataFrame({"transaction_id": ["t"]}))
    request = tick(deployment, "measure_alerts_schedule", at_night(20))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == day(13).isoformat()


def test_training_waits_for_enough_history(deploy: Deploy) -> None:
    deployment = deploy()
    for number in range(22):
        deployment.lake.write("transaction_features", day(number), pd.DataFrame({"transaction_id": ["t"]}))
    assert tick(deployment, "train_weekly", at_night(22)) == "22 days have features; training needs more than 22"
    deployment.lake.write("transaction_features", day(22), pd.DataFrame({"transaction_id": ["t"]}))
    assert isinstance(tick(deployment, "train_weekly", at_night(23)), dg.RunRequest)
