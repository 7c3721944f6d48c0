"""The training cycle: windows, detectors, threshold, promotion."""

from collections.abc import Callable
from datetime import timedelta

import dagster as dg
import pytest

from fraud_pipeline.core.errors import ConfigurationError, TrainingError
from fraud_pipeline.orchestration.jobs import PREPARE, TRAIN
from fraud_pipeline.orchestration.resources import open_model_store
from fraud_pipeline_tests.orchestration.conftest import Deployment, day

Deploy = Callable[..., Deployment]


def windows(**dates: int) -> dict[str, dict[str, dict[str, str]]]:
    return {"training_windows": {"config": {name: day(number).isoformat() for name, number in dates.items()}}}


def checks(deployment: Deployment, asset: str) -> dict[str, bool]:
    """Outcome of each check of the newest run, by name."""
    run = deployment.instance.get_runs(limit=1)[0]
    logs = deployment.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    evaluations = [log.dagster_event.event_specific_data for log in logs if log.dagster_event]
    return {e.check_name: e.passed for e in evaluations if e.asset_key == dg.AssetKey(asset)}  # type: ignore[union-attr]


def test_without_dates_every_calibrated_day_has_matured(prepared: Deployment) -> None:
    stored = prepared.lake.read_json("training_windows")
    assert stored["as_of"] == day(30).isoformat()
    assert stored["calibrate_to"] == (day(30) - timedelta(days=6)).isoformat()
    assert stored["train_to"] < stored["calibrate_from"]


def test_the_first_model_becomes_champion_and_comes_back_with_its_digest(prepared: Deployment) -> None:
    champion = open_model_store(prepared.settings).champion()
    assert champion is not None
    assert champion.version.version == 1
    assert len(champion.version.sha256) == 64
    assert set(champion.model.detectors) == {"isolation_forest", "local_outlier_factor"}
    assert champion.model.ensemble.weights == {"isolation_forest": 0.6, "local_outlier_factor": 0.4}


def test_the_same_training_again_is_no_win_and_moves_no_alias(prepared: Deployment) -> None:
    prepared.runner.run_once(TRAIN, {})
    store = open_model_store(prepared.settings)
    champion = store.champion()
    assert champion is not None
    assert champion.version.version == 1
    assert prepared.lake.read_json("champion_model") == {"version": 1, "challenger": 2}
    assert checks(prepared, "champion_model") == {"challenger_wins": False}
    first, second = store.model(1), store.model(2)
    assert first.model.calibration.to_json() == second.model.calibration.to_json()


def test_the_threshold_reports_its_curve_and_the_candidates(prepared: Deployment) -> None:
    prepared.runner.run_once(TRAIN, {})
    metadata = prepared.runner.materialisation("calibrated_threshold")
    assert str(metadata["precision_recall_curve"]).startswith("![precision-recall curve](data:image/png;base64,")
    named = {name.removeprefix("average_precision/") for name in metadata if name.startswith("average_precision/")}
    assert named == {"ensemble", "isolation_forest", "local_outlier_factor", "ecod", "hbos"}
    assert set(checks(prepared, "calibrated_threshold")) == {
        "target_recall_feasible",
        "calibration_window_matured",
        "blend_beats_its_members",
    }


def test_a_window_calibrated_before_it_matured_is_warned_of(prepared: Deployment) -> None:
    prepared.runner.run_once(TRAIN, windows(train_from=5, train_to=18, calibrate_from=19, calibrate_to=28, as_of=29))
    assert checks(prepared, "calibrated_threshold")["calibration_window_matured"] is False


def test_windows_that_overlap_are_refused_and_nothing_is_registered(prepared: Deployment) -> None:
    with pytest.raises(ConfigurationError, match="follow one another"):
        prepared.runner.run_once(
            TRAIN, windows(train_from=5, train_to=20, calibrate_from=19, calibrate_to=24, as_of=30)
        )
    assert prepared.lake.read_json("champion_model")["challenger"] == 1


def test_only_some_dates_are_refused(prepared: Deployment) -> None:
    with pytest.raises(ConfigurationError, match="calibrate_from"):
        prepared.runner.run_once(TRAIN, windows(train_from=5, train_to=20))


def test_training_without_history_says_what_to_run(deploy: Deploy) -> None:
    with pytest.raises(TrainingError, match="fraud-pipeline run"):
        deploy().runner.run_once(TRAIN, {})


def test_a_window_without_features_says_which_days(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.runner.run_range(PREPARE, day(0), day(1))
    with pytest.raises(TrainingError, match=f"{day(20)} to {day(22)}"):
        deployment.runner.run_once(
            TRAIN, windows(train_from=20, train_to=22, calibrate_from=23, calibrate_to=24, as_of=30)
        )
