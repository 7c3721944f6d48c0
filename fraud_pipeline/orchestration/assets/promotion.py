"""The challenger of the training cycle, registered, and promoted only if it wins."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_registry import ModelVersion
from fraud_pipeline.adapters.model_store import ModelStore, windows_from_json
from fraud_pipeline.core import promotion
from fraud_pipeline.core.calibration import Calibration
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.core.scoring import FEEDBACK_CLASSIFIER, detector_scores
from fraud_pipeline.orchestration.assets.detectors import label_free_versions, labelled_features
from fraud_pipeline.orchestration.assets.training import training_asset
from fraud_pipeline.settings import Settings


class PromotionConfig(dg.Config):
    """An operator may override the verdict; who and why is kept with the promotion."""

    override_reason: str = ""
    operator: str = ""


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``champion_model``."""

    @training_asset(
        kinds={"mlflow"},
        check_specs=[
            dg.AssetCheckSpec(
                "challenger_wins",
                asset="champion_model",
                description="The newly trained model is better than the champion on the same matured window.",
            )
        ],
    )
    def champion_model(
        config: PromotionConfig,
        training_windows: dict[str, str],
        isolation_forest: dict[str, Any],
        local_outlier_factor: dict[str, Any],
        feedback_classifier: dict[str, Any],
        calibrated_threshold: dict[str, Any],
        lake: dg.ResourceParam[Lake],
        model_store: dg.ResourceParam[ModelStore],
    ) -> Iterator[dg.MaterializeResult[dict[str, Any]]]:
        """The model that scores from now on: this cycle's if it wins, else the one before."""
        windows = windows_from_json(training_windows)
        fitted, mode = Calibration.from_json(calibrated_threshold["calibration"]), calibrated_threshold["scoring_mode"]
        detectors = label_free_versions(isolation_forest, local_outlier_factor)
        if mode != "ensemble":
            detectors[FEEDBACK_CLASSIFIER] = ModelVersion(**feedback_classifier[mode])
        champion = model_store.champion()
        challenger = model_store.model(
            model_store.save_model(
                detectors,
                settings.ensemble_weights,
                fitted,
                windows=windows,
                metrics={"expected_recall": fitted.recall.value} if fitted.recall.known else {},
                scoring_mode=mode,
                normalisation=settings.score_normalisation,
            ).version
        )
        model_store.nominate(challenger.version)
        rows = labelled_features(lake, windows.calibrate_from, windows.calibrate_to, windows, FEATURE_COLUMNS)
        rows = rows[rows["is_fraud"].notna()]
        models = [part.model for part in (challenger, champion) if part is not None]
        scores = [model.anomaly_score(detector_scores(rows, model.detectors)) for model in models]
        verdict = promotion.compare(
            rows["is_fraud"].to_numpy(dtype=bool),
            scores[0],
            scores[1] if champion is not None else None,
            day=rows["day"],
            alerts_per_day=fitted.alerts_per_day.value,
            tolerance=settings.promotion_tolerance,
            recall_tolerance=settings.promotion_tolerance,
            seed=settings.seed,
        )
        if verdict.promoted:
            model_store.promote(challenger.version, reason=verdict.reason)
        elif config.override_reason:
            model_store.promote(challenger.version, reason=config.override_reason, actor=config.operator or "operator")
        promoted = verdict.promoted or bool(config.override_reason)
        serving = challenger if promoted or champion is None else champion
        figures: dict[str, Any] = {"verdict": verdict.reason, **verdict.figures}
        yield dg.MaterializeResult(
            value={"version": serving.version.version, "challenger": challenger.version.version},
            data_version=dg.DataVersion(serving.version.sha256),
            metadata={
                "champion_version": serving.version.version,
                "challenger_version": challenger.version.version,
                "scoring_mode": serving.model.mode,
                "override": config.override_reason or "none",
                **figures,
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name="challenger_wins",
                    passed=verdict.promoted,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata=figures,
                )
            ],
        )

    return [champion_model]
