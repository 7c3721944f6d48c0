"""Training: the windows of one cycle, and a detector each fitted on them."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore, StoredDetector, windows_from_json, windows_to_json
from fraud_pipeline.core import explanations, labels, splits
from fraud_pipeline.core.detectors.base import Detector
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector
from fraud_pipeline.core.errors import TrainingError
from fraud_pipeline.core.schema import EVENT_KEYS, LABEL_COLUMNS
from fraud_pipeline.orchestration.assets.daily import OWNERS
from fraud_pipeline.orchestration.partitions import days_between
from fraud_pipeline.settings import Settings

HELD_OUT_SHARE = 0.2
"""Share of the training rows that no detector sees, against which scores are ranked."""


class WindowConfig(dg.Config):
    """Dates of a training cycle (ISO, both ends included); all five, or none for the newest matured days."""

    train_from: str = ""
    train_to: str = ""
    calibrate_from: str = ""
    calibrate_to: str = ""
    as_of: str = ""


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``training_windows``, ``isolation_forest`` and ``local_outlier_factor``."""

    @dg.asset(group_name="training", kinds={"json"}, owners=OWNERS, deps=["transaction_features", "fraud_labels"])
    def training_windows(
        context: dg.AssetExecutionContext, config: WindowConfig, lake: dg.ResourceParam[Lake]
    ) -> dict[str, str]:
        """Which days train and calibrate this cycle, and when its labels must have been known."""
        given = {name: day for name, day in config.model_dump().items() if day}
        if given:
            windows = splits.TrainingWindows.of(given)
        else:
            known = lake.days("transaction_features")
            if not known:
                raise TrainingError("no day has features yet; run `fraud-pipeline run` over some history first.")
            windows = splits.TrainingWindows.ending(
                max(known) + splits.ONE_DAY,
                first_day=min(known),
                maturity_days=settings.label_maturity_days,
                calibration_days=settings.calibration_days,
                training_days=settings.training_days,
            )
        stored = windows_to_json(windows)
        context.add_output_metadata(stored)
        return stored

    def fit(
        name: str,
        fit_detector: Callable[[pd.DataFrame], Detector],
        params: dict[str, Any],
        context: dg.AssetExecutionContext,
        stored_windows: dict[str, str],
        lake: Lake,
        model_store: ModelStore,
    ) -> dict[str, Any]:
        windows = windows_from_json(stored_windows)
        rows = labelled_features(lake, windows.train_from, windows.train_to, windows, settings.detector_features)
        shuffled = np.random.default_rng(settings.seed).permutation(len(rows))
        is_held_out = np.isin(np.arange(len(rows)), shuffled[: max(1, int(len(rows) * HELD_OUT_SHARE))])
        fitted = rows[~is_held_out].reset_index(drop=True)
        detector = fit_detector(fitted)
        stored = StoredDetector(
            detector,
            ScoreReference.of(detector.score(rows[is_held_out])),
            explanations.feature_reference(fitted, settings.detector_features),
        )
        version = model_store.save_detector(
            name,
            stored,
            windows=windows,
            params=params | {"seed": settings.seed},
            metrics={"fitted_rows": len(fitted), "known_genuine_rows": int((fitted["is_fraud"] == False).sum())},  # noqa: E712
        )
        context.add_output_metadata({"rows": len(rows), "version": version.version, "sha256": version.sha256, **params})
        return asdict(version)

    @dg.asset(group_name="training", kinds={"scikitlearn", "mlflow"}, owners=OWNERS, pool="training")
    def isolation_forest(
        context: dg.AssetExecutionContext,
        training_windows: dict[str, str],
        lake: dg.ResourceParam[Lake],
        model_store: dg.ResourceParam[ModelStore],
    ) -> dict[str, Any]:
        """A forest fitted on the training window, registered in MLflow."""
        params: dict[str, Any] = {"trees": settings.isolation_forest_trees, "columns": list(settings.detector_features)}

        def fit_forest(rows: pd.DataFrame) -> Detector:
            return IsolationForestDetector.fit(rows, **params, seed=settings.seed)

        return fit("isolation_forest", fit_forest, params, context, training_windows, lake, model_store)

    @dg.asset(group_name="training", kinds={"scikitlearn", "mlflow"}, owners=OWNERS, pool="training")
    def local_outlier_factor(
        context: dg.AssetExecutionContext,
        training_windows: dict[str, str],
        lake: dg.ResourceParam[Lake],
        model_store: dg.ResourceParam[ModelStore],
    ) -> dict[str, Any]:
        """A reference set of known-genuine rows of the training window, registered in MLflow."""
        params: dict[str, Any] = {
            "neighbours": settings.lof_neighbours,
            "reference_rows": settings.lof_reference_rows,
            "columns": list(settings.detector_features),
        }

        def fit_reference(rows: pd.DataFrame) -> Detector:
            genuine = (rows["is_fraud"] == False).to_numpy(dtype=bool)  # noqa: E712 - the label may be missing
            # A cold start has no labels: then all rows serve.
            enough = genuine.sum() > settings.lof_neighbours
            return LocalOutlierFactorDetector.fit(
                rows, **params, is_genuine=genuine if enough else None, seed=settings.seed
            )

        return fit("local_outlier_factor", fit_reference, params, context, training_windows, lake, model_store)

    return [training_windows, isolation_forest, local_outlier_factor]


def labelled_features(
    lake: Lake, first: date, last: date, windows: splits.TrainingWindows, columns: tuple[str, ...]
) -> pd.DataFrame:
    """Load the features of a window with the labels in force as of the cycle.

    Returns
    -------
    DataFrame
        ``EVENT_KEYS``, ``amount``, ``columns``, ``day`` and ``is_fraud``, missing where no label was known.

    Raises
    ------
    TrainingError
        If no day of the window has features.
    """
    wanted = list(dict.fromkeys([*EVENT_KEYS, "amount", *columns]))
    frames = lake.read_days("transaction_features", days_between(first, last), wanted)
    if not frames:
        raise TrainingError(f"no day from {first} to {last} has features; run `fraud-pipeline run` over them first.")
    features = pd.concat([frame.assign(day=day.isoformat()) for day, frame in frames.items()], ignore_index=True)
    known = lake.read_days("fraud_labels", days_between(first, windows.as_of), LABEL_COLUMNS)
    labelled = pd.concat([labels.no_labels(), *known.values()], ignore_index=True)
    truth = labels.current(labelled, windows.known_before)[["transaction_id", "is_fraud"]]
    return features.merge(truth.astype({"is_fraud": "boolean"}), on="transaction_id", how="left", validate="1:1")
