"""Running jobs from a command: progress, errors, what is recorded."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.orchestration.jobs import PREPARE, SCORE
from fraud_pipeline.orchestration.runs import Runner, open_instance
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.orchestration.conftest import Deployment, day

Deploy = Callable[..., Deployment]
DAGSTER_YAML = Path(__file__).parents[2] / "dagster.yaml"


def test_progress_is_told_of_every_step_in_order(deploy: Deploy) -> None:
    deployment = deploy()
    told: list[tuple[str, int, int]] = []
    runner = Runner(deployment.definitions, deployment.instance, lambda *part: told.append(part))
    runner.run_day(PREPARE, day(0))
    # Six of assets, four of checks.
    assert [done for _, done, _ in told] == list(range(1, 11))
    assert {total for _, _, total in told} == {10}
    assert told[0][0] == "raw_transactions"


def test_a_range_of_one_day_is_recorded_as_that_day(deploy: Deploy) -> None:
    deployment = deploy()
    run_id = deployment.runner.run_range(PREPARE, day(1), day(1))
    run = deployment.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["dagster/partition"] == day(1).isoformat()
    # Whoever called sees an error; a daemon does not try again.
    assert run.tags["dagster/max_retries"] == "0"


def test_a_night_before_the_first_model_warns_of_no_check_without_a_result(
    deploy: Deploy, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = deploy()
    deployment.runner.run_day(SCORE, day(0))
    assert not deployment.lake.days("anomaly_scores")
    assert not [record for record in caplog.records if "emitted no result" in record.getMessage()]


def test_an_asset_that_was_never_made_is_named(deploy: Deploy) -> None:
    with pytest.raises(ConfigurationError, match="champion_model has not been materialised"):
        deploy().runner.materialisation("champion_model")


def test_an_error_of_dagster_itself_stays_what_it_is(deploy: Deploy) -> None:
    with pytest.raises(dg.DagsterError):
        deploy().runner.run_once("no_such_job", {})


def test_the_embedded_instance_takes_the_shipped_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = Settings.from_env(home=tmp_path / "home")
    with open_instance(settings, DAGSTER_YAML) as instance:
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
    assert (tmp_path / "home" / "dagster" / "dagster.yaml").read_bytes() == DAGSTER_YAML.read_bytes()


def test_a_home_that_cannot_be_made_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (tmp_path / "file").write_text("")
    settings = Settings.from_env(home=tmp_path / "file" / "home")
    with pytest.raises(ConfigurationError, match="FRAUD_PIPELINE_HOME"):
        open_instance(settings, DAGSTER_YAML)
