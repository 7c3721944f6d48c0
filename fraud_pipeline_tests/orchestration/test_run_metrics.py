"""What Prometheus is given, from runs that are on record."""

from collections.abc import Callable

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat
from prometheus_client.parser import text_string_to_metric_families

from fraud_pipeline.adapters import clock
from fraud_pipeline.orchestration.instance_status import daemon, instigators, last_runs
from fraud_pipeline.orchestration.jobs import PREPARE
from fraud_pipeline_tests.orchestration.conftest import Deployment, day
from fraud_pipeline_tests.orchestration.ticks import tick

Deploy = Callable[..., Deployment]


def test_runs_rows_and_durations_are_counted_from_the_record(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.runner.run_day(PREPARE, day(0))
    with pytest.raises(Exception, match="No transaction file"):
        deployment.runner.run_day(PREPARE, day(40))
    assert "wrote" in tick(deployment, "metrics_written").skipped
    written = (deployment.settings.home / "metrics" / "fraud_pipeline.prom").read_text()
    values = {
        (sample.name.removeprefix("fraud_pipeline_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(written)
        for sample in family.samples
    }
    assert values["runs", PREPARE, "success"] == 1
    assert values["runs", PREPARE, "failure"] == 1
    assert values["last_success_duration_seconds", PREPARE] > 0
    rows = len(deployment.lake.read("validated_transactions", day(0)))
    assert values["newest_day_rows", "validated_transactions"] == rows
    assert values["newest_day_age_days", "validated_transactions"] > 100
    newest, oldest = last_runs(deployment.instance)
    assert (newest.status, oldest.status) == ("FAILURE", "SUCCESS")
    assert (oldest.job, oldest.days) == (PREPARE, day(0).isoformat())
    assert oldest.seconds is not None


def test_a_daemon_that_never_ran_is_no_fault_but_one_that_fell_silent_is() -> None:
    with dg.instance_for_test() as instance:
        assert daemon(instance).state == "warning"
        for name in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(clock.utc_now().timestamp(), name, "one", []))
        assert daemon(instance).state == "ok"
        for name in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(clock.utc_now().timestamp() - 86_400, name, "one", []))
        silent = daemon(instance)
        assert (silent.state, silent.detail) == ("failed", "it does not run")
        assert instigators(instance).state == "ok"
