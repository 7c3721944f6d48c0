"""Scoring mode and threshold of the training cycle, found on days that no detector was fitted on."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore, windows_from_json
from fraud_pipeline.core import training
from fraud_pipeline.core.calibration import Calibration
from fraud_pipeline.core.operating_point import Estimate
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.core.training import Choice
from fraud_pipeline.orchestration import plots
from fraud_pipeline.orchestration.assets.detectors import labelled_features, load_feedback, load_label_free
from fraud_pipeline.orchestration.assets.training import training_asset
from fraud_pipeline.orchestration.reports import version_of
from fraud_pipeline.orchestration.training_config import training_config
from fraud_pipeline.settings import Settings

MATURED_SHARE = 0.99
"""Below this share of labelled rows the figures of the window are biased towards fraud."""

LABEL_FREE_RIVALS = ("isolation_forest", "local_outlier_factor", "ecod", "copod", "hbos")
"""What the ensemble has to beat to be worth its upkeep."""

_CHECKS = {
    "target_recall_feasible": "The target recall is reached within the limits on false positives and alerts a day.",
    "calibration_window_matured": "Nearly every transaction of the window has a label; frauds get theirs first.",
    "blend_beats_its_members": "The ensemble's average precision is not below that of a detector or candidate alone.",
}


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``calibrated_threshold``."""
    config = training_config(settings)

    @training_asset(
        kinds={"scikitlearn"},
        check_specs=[
            dg.AssetCheckSpec(name, asset="calibrated_threshold", description=text) for name, text in _CHECKS.items()
        ],
    )
    def calibrated_threshold(
        training_windows: dict[str, str],
        isolation_forest: dict[str, Any],
        local_outlier_factor: dict[str, Any],
        feedback_classifier: dict[str, Any],
        lake: dg.ResourceParam[Lake],
        model_store: dg.ResourceParam[ModelStore],
    ) -> Iterator[dg.MaterializeResult[dict[str, Any]]]:
        """Scoring mode, threshold and risk cut-offs for the target recall, with what to expect of them."""
        windows = windows_from_json(training_windows)
        label_free = load_label_free(model_store, isolation_forest, local_outlier_factor)
        feedback = load_feedback(model_store, feedback_classifier)
        rows = labelled_features(lake, windows.calibrate_from, windows.calibrate_to, windows, FEATURE_COLUMNS)
        fitted_on = labelled_features(lake, windows.train_from, windows.train_to, windows, config.detector_features)
        champion = model_store.champion_card()
        choice = training.choose(
            rows,
            training.score_all(rows, label_free, feedback, config),
            label_free,
            config,
            previous=None if champion is None else champion.calibration,
            candidates_fitted_on=fitted_on,
        )
        value = {"scoring_mode": choice.mode, "calibration": choice.calibration.to_json()}
        yield dg.MaterializeResult(
            value=value,
            data_version=version_of(value),
            metadata=_metadata(choice),
            check_results=list(_check(choice, float(rows["is_fraud"].notna().mean()))),
        )

    return [calibrated_threshold]


def _check(choice: Choice, labelled_share: float) -> Iterator[dg.AssetCheckResult]:
    fitted, precisions = choice.calibration, choice.average_precisions
    rivals = {name: value for name, value in precisions.items() if name in LABEL_FREE_RIVALS}
    outcomes: dict[str, tuple[bool, dict[str, Any]]] = {
        "target_recall_feasible": (
            fitted.feasible and fitted.method == "precision_recall",
            {"method": fitted.method, "limit": fitted.limit or "none", **_value("recall", fitted.recall)},
        ),
        "calibration_window_matured": (
            labelled_share >= MATURED_SHARE,
            {"labelled_share": labelled_share, "limit": MATURED_SHARE},
        ),
        "blend_beats_its_members": (
            precisions.get("ensemble", 0.0) >= max(rivals.values(), default=0.0),
            {name: precisions[name] for name in ("ensemble", *rivals) if name in precisions},
        ),
    }
    for name, (passed, figures) in outcomes.items():
        yield dg.AssetCheckResult(check_name=name, passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata=figures)


def _metadata(choice: Choice) -> dict[str, Any]:
    fitted: Calibration = choice.calibration
    estimates = {
        name: getattr(fitted, name) for name in ("recall", "false_positive_rate", "precision", "alerts_per_day")
    }
    records = [
        dg.TableRecord({"figure": name, **{part: round(figure, 4) for part, figure in vars(estimate).items()}})
        for name, estimate in estimates.items()
        if estimate.known
    ]
    return {
        "scoring_mode": choice.mode,
        "threshold": fitted.threshold,
        "method": fitted.method,
        "binding": fitted.binding or "none",
        "limit": fitted.limit or "none",
        "adjustment": fitted.adjustment or "none",
        "alerts_per_day/fitted": fitted.fitted_alerts_per_day.value,
        "alerts_per_day/smoothed": fitted.smoothed_alerts_per_day,
        "expected": dg.MetadataValue.table(records),
        "days": fitted.days,
        "frauds": fitted.frauds,
        "transactions": fitted.transactions,
        "precision_recall_curve": plots.precision_recall(fitted),
        **{f"average_precision/{name}": value for name, value in choice.average_precisions.items()},
    }


def _value(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value} if estimate.known else {}
