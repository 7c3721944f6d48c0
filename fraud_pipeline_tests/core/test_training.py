"""A training cycle: what the detectors are fitted on, and what the calibration window decides."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core import scoring, training
from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.detectors.feedback_classifier import MINIMUM_FRAUDS
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.metrics import average_precisions
from fraud_pipeline.core.scoring import MODES
from fraud_pipeline.core.training import (
    LABEL_FREE,
    REFERENCE_ROWS,
    TrainingConfig,
    choose,
    fit_feedback,
    fit_label_free,
    score_all,
)
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features
from fraud_pipeline_tests.core.histories import QUICK

ROWS, FRAUDS = 600, 40


def window(rows: int = ROWS, frauds: int = FRAUDS, *, unlabelled: int = 0, seed: int = 0) -> pd.DataFrame:
    """Labelled features of ten days; the last rows are frauds and far out, the first may lack a label."""
    is_fraud = pd.array(np.arange(rows) >= rows - frauds, dtype="boolean")
    is_fraud[:unlabelled] = pd.NA
    days = [f"2026-03-{1 + position % 10:02}" for position in range(rows)]
    return random_features(rows, outliers=frauds, seed=seed).assign(day=days, is_fraud=is_fraud)


def without_labels(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(is_fraud=pd.array([pd.NA] * len(rows), dtype="boolean"))


TRAIN, CALIBRATE = window(seed=1), window(seed=2)
FITTED = {name: fit_label_free(name, TRAIN, QUICK) for name in LABEL_FREE}
FEEDBACK = fit_feedback(TRAIN, FITTED, QUICK)


def hand_made(rows: pd.DataFrame, **noise: float) -> dict[str, Floats]:
    """Score by mode, the frauds above the others but for so much noise."""
    rng = np.random.default_rng(0)
    is_fraud = rows["is_fraud"].fillna(False).to_numpy(dtype=float)
    return {mode: (is_fraud + share * rng.random(len(rows))) / (1 + share) for mode, share in noise.items()}


def reference_size(config: TrainingConfig, rows: pd.DataFrame) -> int:
    return int(fit_label_free("local_outlier_factor", rows, config).detector.estimator.n_samples_fit_)


EVERY_ROW = replace(QUICK, local_outlier_factor={"neighbours": 10})


def test_the_local_outlier_factor_compares_with_known_genuine_rows_only() -> None:
    rows = window(unlabelled=200)
    assert 200 < reference_size(EVERY_ROW, rows) <= ROWS - 200 - FRAUDS
    assert reference_size(replace(EVERY_ROW, genuine_reference=False), rows) == 480


@pytest.mark.parametrize("genuine", [0, 10])
def test_a_cold_start_compares_with_all_rows(genuine: int) -> None:
    rows = without_labels(TRAIN)
    rows.loc[: genuine - 1, "is_fraud"] = False
    assert reference_size(EVERY_ROW, rows) == 480


def test_frauds_of_one_kind_are_outliers_only_if_they_are_not_compared_with_each_other() -> None:
    def least_fraud_rank(config: TrainingConfig) -> float:
        fitted = fit_label_free("local_outlier_factor", TRAIN, config)
        scores = fitted.detector.score(CALIBRATE)
        return float(np.median(scores[-FRAUDS:])) - float(scores[:-FRAUDS].max())

    assert least_fraud_rank(EVERY_ROW) > 0 > least_fraud_rank(replace(EVERY_ROW, genuine_reference=False))


@pytest.mark.parametrize("name", LABEL_FREE)
def test_scores_are_ranked_against_a_fifth_of_the_rows_that_the_detector_has_not_seen(name: str) -> None:
    fitted = FITTED[name]
    assert len(fitted.held_out) == ROWS // 5
    np.testing.assert_array_equal(fitted.score_reference.scores, np.sort(fitted.held_out))
    np.testing.assert_array_equal(np.isin(fitted.held_out, fitted.detector.score(TRAIN)), True)
    assert set(fitted.feature_references) == set(DETECTOR_COLUMNS) == set(fitted.detector.columns)


def test_the_rows_held_out_have_an_upper_limit() -> None:
    many = window(5 * REFERENCE_ROWS + 1000)
    config = replace(QUICK, isolation_forest={"trees": 2})
    assert len(fit_label_free("isolation_forest", many, config).held_out) == REFERENCE_ROWS


def test_all_label_free_detectors_hold_out_the_same_rows() -> None:
    every, held_out = (
        set(zip(*scores, strict=True))
        for scores in (
            [FITTED[name].detector.score(TRAIN) for name in LABEL_FREE],
            [FITTED[name].held_out for name in LABEL_FREE],
        )
    )
    assert held_out < every


@pytest.mark.parametrize(
    ("frauds", "genuine"), [(0, 100), (MINIMUM_FRAUDS - 1, 100), (MINIMUM_FRAUDS, 0)], ids=["none", "few", "only"]
)
def test_without_enough_known_frauds_there_is_no_feedback_classifier(frauds: int, genuine: int) -> None:
    rows = window(frauds + genuine, frauds)
    assert fit_feedback(pd.concat([rows, without_labels(TRAIN)], ignore_index=True), FITTED, QUICK) == {}


def test_the_least_number_of_known_frauds_is_enough() -> None:
    assert set(fit_feedback(window(110, MINIMUM_FRAUDS), FITTED, QUICK)) == {"feedback", "stacked"}


@pytest.mark.parametrize(
    ("mode", "trained"),
    [
        ("auto", ["feedback", "stacked"]),
        ("ensemble", []),
        ("feedback", ["feedback"]),
        ("stacked", ["stacked"]),
    ],
)
def test_a_classifier_is_fitted_for_each_mode_that_is_asked_for(mode: str, trained: list[str]) -> None:
    assert list(fit_feedback(TRAIN, FITTED, replace(QUICK, scoring_mode=mode))) == trained


def test_rows_without_a_label_teach_nothing() -> None:
    both = pd.concat([without_labels(window(seed=9)), TRAIN], ignore_index=True)
    again = fit_feedback(both, FITTED, QUICK)
    for mode, scores in score_all(CALIBRATE, FITTED, FEEDBACK, QUICK).items():
        np.testing.assert_array_equal(score_all(CALIBRATE, FITTED, again, QUICK)[mode], scores)


def test_the_stacked_classifier_reads_the_scores_of_the_others() -> None:
    added = tuple(f"{name}_score" for name in LABEL_FREE)
    assert FEEDBACK["feedback"].detector.columns == QUICK.feedback_features
    assert FEEDBACK["stacked"].detector.columns == (*QUICK.feedback_features, *added)
    assert set(FEEDBACK["stacked"].feature_references) >= set(added)
    np.testing.assert_array_equal(
        FEEDBACK["stacked"].feature_references["isolation_forest_score"].scores,
        np.sort(FITTED["isolation_forest"].detector.score(TRAIN)),
    )


def test_a_classifiers_references_are_a_sample_of_many_rows() -> None:
    many = window(REFERENCE_ROWS + 1000)
    config = replace(QUICK, scoring_mode="feedback", feedback_classifier={"rounds": 1})
    fitted = fit_feedback(many, FITTED, config)["feedback"]
    sample = many.iloc[::2]
    np.testing.assert_array_equal(fitted.score_reference.scores, np.sort(fitted.detector.score(sample)))
    assert fitted.feature_references["amount"].scores.max() <= sample["amount"].max()


def test_every_detector_and_mode_that_was_trained_is_scored() -> None:
    assert set(score_all(CALIBRATE, FITTED, FEEDBACK, QUICK)) == {*LABEL_FREE, *MODES}
    assert set(score_all(CALIBRATE, FITTED, {}, QUICK)) == {*LABEL_FREE, "ensemble"}


@pytest.mark.parametrize("best", MODES)
def test_the_mode_with_the_best_average_precision_on_the_window_wins(best: str) -> None:
    scores = hand_made(CALIBRATE, **(dict.fromkeys(MODES, 5.0) | {best: 0.5}))
    choice = choose(CALIBRATE, scores, FITTED, QUICK)
    assert choice.mode == best
    assert choice.average_precisions == average_precisions(CALIBRATE["is_fraud"].to_numpy(dtype=bool), scores)
    assert choice.calibration.threshold in scores[best]
    assert choice.calibration.method == "precision_recall"
    assert choice.calibration.recall.value >= 0.8


def test_of_equal_modes_the_simplest_wins() -> None:
    scores = dict.fromkeys(reversed(MODES), hand_made(CALIBRATE, any=1.0)["any"])
    assert choose(CALIBRATE, scores, FITTED, QUICK).mode == "ensemble"


@pytest.mark.parametrize("forced", MODES)
def test_a_forced_mode_is_taken_though_another_is_better(forced: str) -> None:
    scores = hand_made(CALIBRATE, **(dict.fromkeys(MODES, 0.5) | {forced: 5.0}))
    choice = choose(CALIBRATE, scores, FITTED, replace(QUICK, scoring_mode=forced))
    assert choice.mode == forced
    assert choice.calibration.threshold in scores[forced]


def test_a_forced_mode_that_could_not_be_trained_falls_to_the_ensemble() -> None:
    scores = hand_made(CALIBRATE, ensemble=0.5, feedback=0.1)
    assert choose(CALIBRATE, scores, FITTED, replace(QUICK, scoring_mode="stacked")).mode == "ensemble"


@pytest.mark.parametrize("mode", ["auto", "feedback"])
def test_without_a_matured_fraud_the_ensemble_works_through_an_alert_budget(mode: str) -> None:
    rows = CALIBRATE.assign(is_fraud=CALIBRATE["is_fraud"].mask(CALIBRATE["is_fraud"]))
    scores = score_all(rows, FITTED, FEEDBACK, QUICK)
    choice = choose(rows, scores, FITTED, replace(QUICK, scoring_mode=mode))
    assert (choice.mode, choice.average_precisions) == ("ensemble", {})
    assert choice.calibration.method == "alert_budget"
    assert not choice.calibration.recall.known
    # Three alerts a day on ten days, whether their labels are known or not.
    assert 0 < (scores["ensemble"] >= choice.calibration.threshold).sum() <= 30
    assert choice.calibration.transactions == ROWS


def test_without_a_matured_fraud_conformal_p_values_compare_with_held_out_rows() -> None:
    config = replace(QUICK, label_free={"method": "conformal_fdr", "false_discovery_rate": 0.5, "resamples": 20})
    clean = without_labels(TRAIN.iloc[:-FRAUDS])
    fitted = {name: fit_label_free(name, clean, config) for name in LABEL_FREE}
    rows = without_labels(CALIBRATE)
    choice = choose(rows, score_all(rows, fitted, {}, config), fitted, config)
    assert choice.mode == "ensemble"
    assert choice.calibration.method == "conformal_fdr"
    alerts = score_all(rows, fitted, {}, config)["ensemble"] >= choice.calibration.threshold
    assert alerts[-FRAUDS:].all()


def test_the_threshold_in_use_holds_the_new_one_back() -> None:
    scores = hand_made(CALIBRATE, ensemble=0.5)
    first = choose(CALIBRATE, scores, FITTED, replace(QUICK, threshold={"target_recall": 0.2})).calibration
    alone = choose(CALIBRATE, scores, FITTED, QUICK).calibration
    second = choose(CALIBRATE, scores, FITTED, QUICK, previous=first).calibration
    assert first.alerts_per_day.value < second.alerts_per_day.value < alone.alerts_per_day.value
    assert f"the calibration before gave {first.alerts_per_day.value:,.1f}" in second.adjustment


def test_candidates_and_other_blends_are_measured_only_when_asked_for() -> None:
    scores = score_all(CALIBRATE, FITTED, FEEDBACK, QUICK)
    plain = choose(CALIBRATE, scores, FITTED, QUICK)
    assert set(plain.average_precisions) == {*LABEL_FREE, *MODES}
    wide = choose(CALIBRATE, scores, FITTED, QUICK, candidates_fitted_on=TRAIN)
    blends = {f"ensemble_{how}_{weight:.2f}" for how in ("rank", "tail") for weight in (0.25, 0.5, 0.6, 0.75)}
    assert set(wide.average_precisions) == {*LABEL_FREE, *MODES, *blends, "copod", "ecod", "hbos"}
    assert wide.average_precisions["ensemble_rank_0.60"] == wide.average_precisions["ensemble"]
    # They are shown and never chosen.
    assert (wide.mode, wide.calibration.threshold) == (plain.mode, plain.calibration.threshold)


def test_rows_without_a_label_do_not_count_once_a_fraud_is_known() -> None:
    some, seen = window(unlabelled=300, seed=2), slice(300, None)
    scores = hand_made(CALIBRATE, ensemble=1.0, feedback=2.0)
    changed = {mode: np.concatenate([np.ones(300), values[seen]]) for mode, values in scores.items()}
    only = choose(
        some.iloc[seen].reset_index(drop=True), {mode: values[seen] for mode, values in scores.items()}, FITTED, QUICK
    )
    for given in (scores, changed):
        choice = choose(some, given, FITTED, QUICK)
        assert choice.calibration.to_json() == only.calibration.to_json()
        assert choice.average_precisions == only.average_precisions


@pytest.mark.parametrize("mode", MODES)
def test_the_assembled_model_scores_as_the_mode_that_was_chosen(mode: str) -> None:
    config = replace(QUICK, scoring_mode=mode)
    scores = score_all(CALIBRATE, FITTED, FEEDBACK, config)
    choice = choose(CALIBRATE, scores, FITTED, config)
    model = training.assemble(FITTED, FEEDBACK, choice, config)
    assert (model.mode, model.calibration) == (mode, choice.calibration)
    assert set(model.detectors) == ({*LABEL_FREE} if mode == "ensemble" else {*LABEL_FREE, "feedback_classifier"})
    scored = scoring.score(CALIBRATE, model)
    np.testing.assert_array_equal(scored["anomaly_score"], scores[mode])
    np.testing.assert_array_equal(scored["ensemble_score"], scores["ensemble"])
    assert scored["is_alert"].sum() == round(choice.calibration.alerts_per_day.value * 10)


@pytest.mark.parametrize(
    "changes", [{"normalisation": "tail"}, {"weights": {"isolation_forest": 0.0, "local_outlier_factor": 1.0}}]
)
def test_the_ensemble_is_blended_as_configured(changes: Mapping[str, str]) -> None:
    config = replace(QUICK, **changes)  # type: ignore[arg-type]  # a mapping of fields of several types
    raw = {name: part.held_out for name, part in FITTED.items()}
    blended = score_all(CALIBRATE, FITTED, {}, config)["ensemble"]
    assert not np.array_equal(blended, score_all(CALIBRATE, FITTED, {}, QUICK)["ensemble"])
    assert training.ensemble_of(FITTED, config).blend(raw).max() <= 1


def test_an_unknown_scoring_mode_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'best' is not known; choose from auto, ensemble, feedback, stacked"):
        replace(QUICK, scoring_mode="best")


def test_every_mode_falls_back_on_the_ensemble() -> None:
    assert QUICK.modes == MODES
    assert replace(QUICK, scoring_mode="stacked").modes == ("ensemble", "stacked")
    assert replace(QUICK, scoring_mode="ensemble").modes == ("ensemble",)
