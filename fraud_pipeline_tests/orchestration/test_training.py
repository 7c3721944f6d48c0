"""The training cycle: windows, detectors, threshold, promotion."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta

import dagster as dg
import pandas as pd
import pytest
from sqlalchemy import select

from fraud_pipeline.adapters.database.alert_repository import alerts_of_day
from fraud_pipeline.adapters.database.tables import anomaly_scores
from fraud_pipeline.adapters.model_registry import ModelRegistry
from fraud_pipeline.adapters.promotions import CHALLENGER, CHAMPION, FRAUD_MODEL
from fraud_pipeline.connections import open_model_store
from fraud_pipeline.core.errors import ConfigurationError, TrainingError
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.orchestration.jobs import PREPARE, SCORE, TRAIN
from fraud_pipeline_tests.orchestration.conftest import Deployment, day

Deploy = Callable[..., Deployment]
OVERRIDE = {"champion_model": {"config": {"override_reason": "no labels yet", "operator": "ada"}}}


def windows(**dates: int) -> dict[str, dict[str, dict[str, str]]]:
    return {"training_windows": {"config": {name: day(number).isoformat() for name, number in dates.items()}}}


def passed(deployment: Deployment, asset: str) -> dict[str, bool]:
    """Outcome of each check of the newest run, by name."""
    return {name: check.passed for name, check in deployment.checks(asset).items()}


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
    assert set(champion.model.ensemble.weights) <= set(champion.model.detectors)
    assert champion.model.ensemble.weights == {"isolation_forest": 0.6, "local_outlier_factor": 0.4}
    (promotion,) = open_model_store(prepared.settings).history()
    assert (promotion.version, promotion.previous, promotion.actor) == (1, None, "pipeline")
    assert promotion.reason == "there is no champion yet"


def test_a_classifier_for_each_mode_is_registered_in_its_own_format_with_its_digest(prepared: Deployment) -> None:
    versions = prepared.lake.read_json("feedback_classifier")
    assert set(versions) == {"feedback", "stacked"}
    registry = ModelRegistry(prepared.settings.tracking_uri, prepared.settings.artefacts)
    store = open_model_store(prepared.settings)
    for mode, stored in versions.items():
        found, files = registry.read("feedback_classifier", stored["version"])
        assert asdict(found) == stored
        assert set(files) == {"booster_00.ubj", "detector.json"}
        columns = store.detector("feedback_classifier", stored["version"], stored["sha256"]).detector.columns
        read_scores = [name for name in columns if name not in FEATURE_COLUMNS]
        assert read_scores == (["isolation_forest_score", "local_outlier_factor_score"] if mode == "stacked" else [])


def test_the_same_training_again_is_no_win_and_moves_only_the_challenger(prepared: Deployment) -> None:
    prepared.runner.run_once(TRAIN, {})
    store = open_model_store(prepared.settings)
    champion = store.champion()
    assert champion is not None
    assert champion.version.version == 1
    assert prepared.lake.read_json("champion_model") == {"version": 1, "challenger": 2}
    registry = ModelRegistry(prepared.settings.tracking_uri, prepared.settings.artefacts)
    aliases = {alias: registry.alias(FRAUD_MODEL, alias) for alias in (CHAMPION, CHALLENGER)}
    assert {alias: found and found.version for alias, found in aliases.items()} == {CHAMPION: 1, CHALLENGER: 2}
    first, second = store.model(1), store.model(2)
    assert first.model.mode == second.model.mode
    assert first.model.calibration.threshold == second.model.calibration.threshold
    check = prepared.checks("champion_model")["challenger_wins"]
    assert not check.passed
    figures = {name: value.value for name, value in check.metadata.items()}
    assert figures["challenger_average_precision"] == figures["champion_average_precision"]
    assert set(figures) == {
        "verdict",
        "alerts",
        "alert_jaccard",
        "alert_overlap",
        "average_precision_difference_high",
        "average_precision_difference_low",
        "average_precision_difference_value",
        "challenger_average_precision",
        "challenger_recall",
        "champion_average_precision",
        "champion_recall",
        "rank_correlation",
        "score_psi",
    }
    assert figures["alert_overlap"] == 1.0
    assert figures["rank_correlation"] == pytest.approx(1.0)


TRAINED = (
    "training_windows",
    "isolation_forest",
    "local_outlier_factor",
    "feedback_classifier",
    "calibrated_threshold",
    "champion_model",
)


def trained_versions(deployment: Deployment) -> dict[str, str]:
    """Data version of each asset of the newest training cycle; all come from content."""
    events = {name: deployment.instance.get_latest_materialization_event(dg.AssetKey(name)) for name in TRAINED}
    found = {name: event.asset_materialization for name, event in events.items() if event is not None}
    tags = {name: made.tags or {} for name, made in found.items() if made is not None}
    assert all(each["dagster/data_version_is_user_provided"] == "true" for each in tags.values())
    return {name: each["dagster/data_version"] for name, each in tags.items()}


def test_training_that_is_repeated_keeps_its_data_versions_and_another_seed_gives_others(
    prepared: Deployment,
) -> None:
    prepared.runner.run_once(TRAIN, {})
    first = trained_versions(prepared)
    assert set(first) == set(TRAINED)
    prepared.runner.run_once(TRAIN, {})
    assert trained_versions(prepared) == first
    prepared.changed(seed=7).runner.run_once(TRAIN, {})
    other = trained_versions(prepared)
    same = {name for name in TRAINED if other[name] == first[name]}
    assert same <= {"training_windows", "champion_model"}


def test_a_stacked_model_scores_with_its_classifier_and_every_column_is_filled(prepared: Deployment) -> None:
    stacked = prepared.changed(scoring_mode="stacked")
    stacked.runner.run_once(TRAIN, OVERRIDE)
    assert stacked.lake.read_json("calibrated_threshold")["scoring_mode"] == "stacked"
    card = open_model_store(stacked.settings).champion_card()
    assert card is not None
    assert (card.version.version, card.scoring_mode) == (2, "stacked")
    stacked.runner.run_day(SCORE, day(29))
    scores = stacked.lake.read("anomaly_scores", day(29))
    assert set(scores["model_version"]) == {"2"}
    assert (scores["anomaly_score"] == scores["feedback_classifier_score"]).all()
    for column in ("isolation_forest_score", "local_outlier_factor_score", "ensemble_score"):
        assert scores[column].notna().all()
        assert (scores["anomaly_score"] != scores[column]).any()
    with stacked.database.begin() as connection:
        table = pd.read_sql(select(anomaly_scores).order_by(anomaly_scores.c.transaction_id), connection)
    ordered = scores.sort_values("transaction_id", ignore_index=True)
    for column in ("feedback_classifier_score", "ensemble_score", "anomaly_score"):
        assert table[column].tolist() == pytest.approx(ordered[column].tolist())
    alerted = alerts_of_day(stacked.database, day(29)).query("selection == 'threshold'")
    assert len(alerted) == scores["is_alert"].sum() > 0
    assert alerted["reason_text"].str.len().min() > 0
    # The scores among the classifier's inputs are no features that drift is reported of.
    assert set(stacked.lake.read("drift_report", day(29))["name"]) == {"anomaly_score", *FEATURE_COLUMNS}


def test_without_a_known_fraud_the_ensemble_scores_by_budget_and_an_operator_may_promote_it(
    prepared: Deployment,
) -> None:
    for known in sorted(prepared.lake.days("fraud_labels")):
        rows = prepared.lake.read("fraud_labels", known)
        prepared.lake.write("fraud_labels", known, rows[~rows["is_fraud"]])
    prepared.runner.run_once(TRAIN, OVERRIDE)
    assert prepared.lake.read_json("feedback_classifier") == {}
    assert any("Too few known frauds" in each for each in prepared.warnings())
    store = open_model_store(prepared.settings)
    champion = store.champion()
    assert champion is not None
    assert (champion.version.version, champion.model.mode) == (2, "ensemble")
    assert champion.model.calibration.method == "alert_budget"
    assert passed(prepared, "calibrated_threshold")["target_recall_feasible"] is False
    # The comparison cannot tell the two apart; the operator decided.
    check = prepared.checks("champion_model")["challenger_wins"]
    assert not check.passed
    assert "no fraud" in str(check.metadata["verdict"].value)
    newest = store.history()[-1]
    assert (newest.version, newest.previous, newest.reason, newest.actor) == (2, 1, "no labels yet", "ada")
    prepared.runner.run_day(SCORE, day(29))
    scores = prepared.lake.read("anomaly_scores", day(29))
    assert scores["feedback_classifier_score"].isna().all()
    assert (scores["anomaly_score"] == scores["ensemble_score"]).all()


def test_the_threshold_reports_its_curve_and_the_candidates(prepared: Deployment) -> None:
    prepared.runner.run_once(TRAIN, {})
    metadata = prepared.runner.materialisation("calibrated_threshold")
    assert metadata["scoring_mode"] == prepared.lake.read_json("calibrated_threshold")["scoring_mode"]
    assert str(metadata["precision_recall_curve"]).startswith("![precision-recall curve](data:image/png;base64,")
    named = {name.removeprefix("average_precision/") for name in metadata if name.startswith("average_precision/")}
    blends = {f"ensemble_{how}_{weight}" for how in ("rank", "tail") for weight in ("0.25", "0.50", "0.60", "0.75")}
    detectors = {"isolation_forest", "local_outlier_factor", "ecod", "copod", "hbos"}
    assert named == detectors | blends | {"ensemble", "feedback", "stacked"}
    assert set(passed(prepared, "calibrated_threshold")) == {
        "target_recall_feasible",
        "calibration_window_matured",
        "blend_beats_its_members",
    }


def test_every_check_of_a_training_cycle_has_a_figure_and_warns(prepared: Deployment) -> None:
    prepared.runner.run_once(TRAIN, {})
    found = [*prepared.checks("calibrated_threshold").values(), *prepared.checks("champion_model").values()]
    assert len(found) == 4
    for each in found:
        assert each.severity is dg.AssetCheckSeverity.WARN
        assert not each.blocking
        assert any(isinstance(figure.value, int | float) for figure in each.metadata.values()), each.check_name


def test_a_window_calibrated_before_it_matured_is_warned_of(prepared: Deployment) -> None:
    prepared.runner.run_once(TRAIN, windows(train_from=5, train_to=18, calibrate_from=19, calibrate_to=28, as_of=29))
    assert passed(prepared, "calibrated_threshold")["calibration_window_matured"] is False


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
