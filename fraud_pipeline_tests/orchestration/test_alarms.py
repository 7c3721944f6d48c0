"""What people are told, and how often."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from fraud_pipeline.adapters.database.status_repository import Waiting
from fraud_pipeline.orchestration.alarms import backlog_text, is_news
from fraud_pipeline.orchestration.jobs import PREPARE
from fraud_pipeline_tests.orchestration.conftest import Deployment, day
from fraud_pipeline_tests.orchestration.ticks import RecordingNotifier, tick

Deploy = Callable[..., Deployment]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def told_of_a_failure(deployment: Deployment, tags: dict[str, str], number: int = 40) -> list[tuple[str, str]]:
    """Let a day fail, by default one without a file; gives what people are told of the run, as if it had these tags."""
    job = deployment.definitions.resolve_job_def(PREPARE)
    result = job.execute_in_process(
        partition_key=day(number).isoformat(), instance=deployment.instance, raise_on_error=False
    )
    notifier = RecordingNotifier()
    failure = next(event for event in result.all_events if event.event_type_value == "PIPELINE_FAILURE")
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failed",
        dagster_instance=deployment.instance,
        dagster_run=result.dagster_run.with_tags({**result.dagster_run.tags, **tags}),
        dagster_event=failure,
        resources={"notifier": notifier},
    ).for_run_failure()
    deployment.definitions.get_repository_def().get_sensor_def("run_failed")(context)
    return notifier.messages


def test_a_failed_run_is_told_with_its_day_and_cause(deploy: Deploy) -> None:
    ((subject, message),) = told_of_a_failure(deploy(), {"dagster/will_retry": "false"})
    assert PREPARE in subject
    assert day(40).isoformat() in subject
    assert "no transaction file" in message.lower()


def test_of_a_broken_file_the_file_and_the_remedy_are_told_not_what_the_library_said(deploy: Deploy) -> None:
    deployment = deploy()
    file = Path(deployment.settings.landing) / "simulated" / "transactions" / f"transactions_{day(40)}.csv"
    file.write_bytes(b"transaction_id,user_id,merchant_id,event_time,amount\nt,\xff,m,2026-02-10T10:00:00Z,5\n")
    ((_, message),) = told_of_a_failure(deployment, {})
    assert message.startswith(f"simulated/transactions/{file.name}, line 2: byte 55 of the file is not utf-8")
    assert "have the file delivered again" in message
    assert "Error" not in message


def test_of_a_check_that_ended_a_run_its_figure_and_the_remedy_are_told(deploy: Deploy) -> None:
    ((_, message),) = told_of_a_failure(deploy(max_reject_rate=-1.0), {}, 0)
    assert message.startswith("the check reject_rate of validated_transactions failed on 2026-01-01 (limit")
    assert message.endswith("or have its files delivered again. See docs/checks.md.")


def test_a_failed_range_is_told_with_both_ends(deploy: Deploy) -> None:
    tags = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-31"}
    ((subject, _),) = told_of_a_failure(deploy(), tags)
    assert "2026-01-01 to 2026-01-31" in subject


def test_a_run_that_will_be_tried_again_is_not_told(deploy: Deploy) -> None:
    assert told_of_a_failure(deploy(), {"dagster/will_retry": "true"}) == []


def raise_alert(
    deployment: Deployment, number: int, priority: int, due: str, *, snoozed: str = "null", selection: str = "threshold"
) -> None:
    """Put an open alert into the table; due and snoozed are SQL."""
    database = deployment.database
    statement = f"""
        insert into alerts (transaction_id, user_id, merchant_id, event_time, event_day, amount, anomaly_score,
            score_percentile, confidence, risk_level, priority, reasons, reason_text, run_id, model_version,
            artefact_sha256, threshold_version, feature_set_version, current_priority, due_at, snoozed_until, selection)
        values ('t{number}', 'u{number}', 'm', now(), current_date, 1, 0.9, 0.9, 0.9, 'HIGH', {priority}, '[]', 'why',
            'run', '1', 'sha', '1', '2', {priority}, {due}, {snoozed}, '{selection}')
    """  # noqa: S608 - constants of the tests
    with database.begin(actor="pipeline") as connection:
        connection.execute(text(statement))
        # Due times are set when an alert is raised, from its priority; these are those of the test.
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(
            text(
                f"update alerts set due_at = {due}, snoozed_until = {snoozed} "  # noqa: S608 - constants of the tests
                f"where transaction_id = 't{number}'"
            )
        )
    database.dispose()


PAST, FUTURE = "now() - interval '1 hour'", "now() + interval '1 hour'"


def test_overdue_alerts_are_told_by_priority(deploy: Deploy) -> None:
    deployment = deploy()
    raise_alert(deployment, 1, 1, PAST)
    raise_alert(deployment, 2, 1, FUTURE)
    raise_alert(deployment, 3, 4, PAST)
    raise_alert(deployment, 4, 2, PAST, snoozed=FUTURE)
    raise_alert(deployment, 5, 5, PAST, selection="random_sample")
    first = tick(deployment, "alert_backlog")
    ((subject, message),) = first.told
    assert subject == "2 alerts are overdue"
    assert "priority 1: 1 of 2 open alerts overdue" in message
    assert "priority 2: 0 of 1 open alerts overdue" in message
    assert "priority 5" not in message
    again = tick(deployment, "alert_backlog", first.cursor)
    assert (again.told, again.cursor) == ([], first.cursor)


def test_a_backlog_that_is_worked_off_is_forgotten(deploy: Deploy) -> None:
    nothing = tick(deploy(), "alert_backlog", json.dumps({"at": NOW.isoformat(), "overdue": {"1": 3}}))
    assert (nothing.told, nothing.cursor) == ([], "{}")


@pytest.mark.parametrize(
    ("overdue", "minutes", "expected"),
    [
        ({2: 10}, 5, False),
        ({2: 19}, 5, False),
        ({2: 20}, 5, True),  # twice as many
        ({1: 1, 2: 9}, 5, True),  # more urgent ones
        ({3: 10}, 5, False),
        ({2: 1}, 60, True),  # an hour later
    ],
)
def test_people_are_told_hourly_or_when_it_gets_worse(overdue: dict[int, int], minutes: int, expected: bool) -> None:
    told = json.dumps({"at": NOW.isoformat(), "overdue": {2: 10}})
    assert is_news(overdue, told, NOW + timedelta(minutes=minutes)) is expected


def test_the_first_backlog_is_news() -> None:
    assert is_news({5: 1}, None, NOW)
    assert is_news({5: 1}, "{}", NOW)


def test_the_text_says_where_to_look() -> None:
    assert "fraud-pipeline review queue" in backlog_text([Waiting(1, 2, 1)])
