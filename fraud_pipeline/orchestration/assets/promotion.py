"""The challenger of the training cycle, registered, and promoted only if it wins."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore, windows_from_json
from fraud_pipeline.core import promotion
from fraud_pipeline.core.calibration import Calibration
from fraud_pipeline.core.scoring import ScoringModel, detector_scores
from fraud_pipeline.orchestration.assets.calibration import detector_versions
from fraud_pipeline.orchestration.assets.daily import OWNERS
from fraud_pipeline.orchestration.assets.detectors import labelled_features
from fraud_pipeline.settings import Settings


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``champion_model``."""

    @dg.asset(
        group_name="training",
        kinds={"mlflow"},
        owners=OWNERS,
        pool="training",
        check_specs=[
            dg.AssetCheckSpec(
                "challenger_wins",
                asset="champion_model",
                description="The newly trained model is better than the champion on the same matured window.",
            )
        ],
    )
    def champion_model(
        training_windows: dict[str, str],
        isolation_forest: dict[str, Any],
        local_outlier_factor: dict[str, Any],
        calibrated_threshold: dict[str, Any],
        lake: dg.ResourceParam[Lake],
        model_store: dg.ResourceParam[ModelStore],
    ) -> Iterator[dg.MaterializeResult[dict[str, Any]]]:
        """The model that scores from now on: this cycle's if it wins, else the one before."""
        windows = windows_from_json(training_windows)
        fitted = Calibration.from_json(calibrated_threshold)
        champion = model_store.champion()
        challenger = model_store.model(
            model_store.save_model(
                detector_versions(isolation_forest, local_outlier_factor),
                settings.ensemble_weights,
                fitted,
                windows=windows,
                metrics={"expected_recall": fitted.recall.value, "expected_precision": fitted.precision.value},
            ).version
        )
        models = [part.model for part in (challenger, champion) if part is not None]
        columns = {column for model in models for part in model.detectors.values() for column in part.columns}
        rows = labelled_features(lake, windows.calibrate_from, windows.calibrate_to, windows, tuple(sorted(columns)))
        rows = rows[rows["is_fraud"].notna()]

        def scores(model: ScoringModel) -> Any:  # noqa: ANN401 - array
            return model.ensemble.blend(detector_scores(rows, model.detectors))

        verdict = promotion.compare(
            rows["is_fraud"].to_numpy(dtype=bool),
            scores(challenger.model),
            None if champion is None else scores(champion.model),
        )
        if verdict.promoted:
            model_store.promote(challenger.version)
        serving = challenger if verdict.promoted or champion is None else champion
        yield dg.MaterializeResult(
            value={"version": serving.version.version, "challenger": challenger.version.version},
            metadata={"champion_version": serving.version.version, "verdict": verdict.reason},
            check_results=[
                dg.AssetCheckResult(
                    check_name="challenger_wins",
                    passed=verdict.promoted,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"verdict": verdict.reason},
                )
            ],
        )

    return [champion_model]
