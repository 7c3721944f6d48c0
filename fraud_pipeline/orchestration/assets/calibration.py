"""The threshold of the training cycle, found on days that no detector was fitted on."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_registry import ModelVersion
from fraud_pipeline.adapters.model_store import ModelStore, windows_from_json
from fraud_pipeline.core import calibration
from fraud_pipeline.core.detectors.candidates import score_candidates
from fraud_pipeline.core.detectors.ensemble import Ensemble
from fraud_pipeline.core.metrics import average_precisions
from fraud_pipeline.core.scoring import detector_scores
from fraud_pipeline.orchestration import plots
from fraud_pipeline.orchestration.assets.daily import OWNERS
from fraud_pipeline.orchestration.assets.detectors import labelled_features
from fraud_pipeline.settings import Settings

MATURED_SHARE = 0.99
"""Below this share of labelled rows the figures of the window are biased towards fraud."""

CANDIDATE_ROWS = 20_000
"""Training rows that the candidates of the comparison are fitted on."""


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``calibrated_threshold``."""

    @dg.asset(
        group_name="training",
        kinds={"scikitlearn"},
        owners=OWNERS,
        pool="training",
        check_specs=[
            dg.AssetCheckSpec(
                "target_recall_feasible",
                asset="calibrated_threshold",
                description="The target recall is reached under the ceiling on false positives.",
            ),
            dg.AssetCheckSpec(
                "calibration_window_matured",
                asset="calibrated_threshold",
                description="Nearly every transaction of the window has a label; frauds get theirs first.",
            ),
            dg.AssetCheckSpec(
                "blend_beats_its_members",
                asset="calibrated_threshold",
                description="The ensemble's average precision is not below that of a detector or candidate alone.",
            ),
        ],
    )
    def calibrated_threshold(
        training_windows: dict[str, str],
        isolation_forest: dict[str, Any],
        local_outlier_factor: dict[str, Any],
        lake: dg.ResourceParam[Lake],
        model_store: dg.ResourceParam[ModelStore],
    ) -> Iterator[dg.MaterializeResult[dict[str, Any]]]:
        """Threshold and risk cut-offs for the target recall, with what to expect of them."""
        windows = windows_from_json(training_windows)
        columns = settings.detector_features
        window = labelled_features(lake, windows.calibrate_from, windows.calibrate_to, windows, columns)
        rows = window[window["is_fraud"].notna()].astype({"is_fraud": bool}).reset_index(drop=True)
        labelled_share = len(rows) / len(window)
        stored = {
            name: model_store.detector(name, version.version, version.sha256)
            for name, version in detector_versions(isolation_forest, local_outlier_factor).items()
        }
        ensemble = Ensemble({name: part.score_reference for name, part in stored.items()}, settings.ensemble_weights)
        raw = detector_scores(rows, {name: part.detector for name, part in stored.items()})
        scored = rows.assign(anomaly_score=ensemble.blend(raw))
        fitted = calibration.fit_threshold(
            scored,
            target_recall=settings.target_recall,
            max_false_positive_rate=settings.max_false_positive_rate,
            seed=settings.seed,
        )
        training = labelled_features(lake, windows.train_from, windows.train_to, windows, columns)
        sample = training.sample(min(CANDIDATE_ROWS, len(training)), random_state=settings.seed)
        precisions = average_precisions(
            rows["is_fraud"].to_numpy(),
            {"ensemble": scored["anomaly_score"].to_numpy(), **raw, **score_candidates(sample, rows, columns)},
        )
        yield dg.MaterializeResult(
            value=fitted.to_json(),
            metadata=_figures(fitted) | {f"average_precision/{name}": value for name, value in precisions.items()},
            check_results=[
                dg.AssetCheckResult(
                    check_name="target_recall_feasible",
                    passed=fitted.feasible,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"recall": fitted.recall.value, "limit": fitted.limit or "none"},
                ),
                dg.AssetCheckResult(
                    check_name="calibration_window_matured",
                    passed=labelled_share >= MATURED_SHARE,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"labelled_share": labelled_share, "limit": MATURED_SHARE},
                ),
                dg.AssetCheckResult(
                    check_name="blend_beats_its_members",
                    passed=precisions["ensemble"] >= max(precisions.values()),
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata=dict(precisions),
                ),
            ],
        )

    return [calibrated_threshold]


def detector_versions(
    isolation_forest: dict[str, Any], local_outlier_factor: dict[str, Any]
) -> dict[str, ModelVersion]:
    """Registry entries of this cycle's detectors, by name."""
    return {
        "isolation_forest": ModelVersion(**isolation_forest),
        "local_outlier_factor": ModelVersion(**local_outlier_factor),
    }


def _figures(fitted: calibration.Calibration) -> dict[str, Any]:
    estimates = ("recall", "false_positive_rate", "precision", "alerts_per_day")
    records = []
    for name in estimates:
        estimate: calibration.Estimate = getattr(fitted, name)
        figures = (estimate.value, estimate.low, estimate.high)
        value, low, high = (round(figure, 4) for figure in figures)
        records.append(dg.TableRecord({"figure": name, "value": value, "low": low, "high": high}))
    return {
        "threshold": fitted.threshold,
        "expected": dg.MetadataValue.table(records),
        "days": fitted.days,
        "frauds": fitted.frauds,
        "transactions": fitted.transactions,
        "precision_recall_curve": plots.precision_recall(fitted),
    }
