"""Training: the windows of one cycle, and the detectors fitted on them."""

from dataclasses import asdict
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_registry import ModelVersion
from fraud_pipeline.adapters.model_store import ModelStore, windows_from_json, windows_to_json
from fraud_pipeline.core import labels, splits, training
from fraud_pipeline.core.errors import TrainingError
from fraud_pipeline.core.schema import EVENT_KEYS, FEATURE_COLUMNS, LABEL_COLUMNS
from fraud_pipeline.core.scoring import FEEDBACK_CLASSIFIER
from fraud_pipeline.core.training import FittedDetector
from fraud_pipeline.orchestration.assets.training import training_asset
from fraud_pipeline.orchestration.partitions import days_between
from fraud_pipeline.orchestration.reports import version_of
from fraud_pipeline.orchestration.training_config import training_config
from fraud_pipeline.settings import Settings


class WindowConfig(dg.Config):
    """Dates of a training cycle (ISO, both ends included); all five, or none for the newest matured days."""

    train_from: str = ""
    train_to: str = ""
    calibrate_from: str = ""
    calibrate_to: str = ""
    as_of: str = ""


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``training_windows``, ``isolation_forest``, ``local_outlier_factor`` and ``feedback_classifier``."""
    config = training_config(settings)

    @training_asset(kinds={"json"}, deps=["transaction_features", "fraud_labels"])
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
        context.set_data_version(context.asset_key, version_of(stored))
        return stored

    def fit_label_free(
        name: str, context: dg.AssetExecutionContext, stored: dict[str, str], lake: Lake, model_store: ModelStore
    ) -> dict[str, Any]:
        windows = windows_from_json(stored)
        rows = labelled_features(lake, windows.train_from, windows.train_to, windows, config.detector_features)
        fitted = training.fit_label_free(name, rows, config)
        params = {**getattr(config, name), "columns": list(config.detector_features), "seed": config.seed}
        metrics = {"rows": len(rows), "known_frauds": int(rows["is_fraud"].eq(True).sum())}
        version = model_store.save_detector(name, fitted, windows=windows, params=params, metrics=metrics)
        context.add_output_metadata({"version": version.version, "sha256": version.sha256, **metrics, **params})
        context.set_data_version(context.asset_key, version_of([params, content_of(fitted)]))
        return asdict(version)

    @training_asset(kinds={"scikitlearn", "mlflow"})
    def isolation_forest(
        context: dg.AssetExecutionContext,
        training_windows: dict[str, str],
        lake: dg.ResourceParam[Lake],
        model_store: dg.ResourceParam[ModelStore],
    ) -> dict[str, Any]:
        """A forest fitted on the training window, registered in MLflow."""
        return fit_label_free("isolation_forest", context, training_windows, lake, model_store)

    @training_asset(kinds={"scikitlearn", "mlflow"})
    def local_outlier_factor(
        context: dg.AssetExecutionContext,
        training_windows: dict[str, str],
        lake: dg.ResourceParam[Lake],
        model_store: dg.ResourceParam[ModelStore],
    ) -> dict[str, Any]:
        """A reference set of known-genuine rows of the training window, registered in MLflow."""
        return fit_label_free("local_outlier_factor", context, training_windows, lake, model_store)

    @training_asset(kinds={"xgboost", "mlflow"})
    def feedback_classifier(
        context: dg.AssetExecutionContext,
        training_windows: dict[str, str],
        isolation_forest: dict[str, Any],
        local_outlier_factor: dict[str, Any],
        lake: dg.ResourceParam[Lake],
        model_store: dg.ResourceParam[ModelStore],
    ) -> dict[str, dict[str, Any]]:
        """Boosted trees on matured labels, one for each scoring mode that reads them; none on a cold start."""
        windows = windows_from_json(training_windows)
        label_free = load_label_free(model_store, isolation_forest, local_outlier_factor)
        rows = labelled_features(lake, windows.train_from, windows.train_to, windows, FEATURE_COLUMNS)
        versions, contents = {}, {}
        for mode, fitted in training.fit_feedback(rows, label_free, config).items():
            params = {**config.feedback_classifier, "mode": mode, "seed": config.seed}
            metrics = {
                "rows": int(rows["is_fraud"].notna().sum()),
                "known_frauds": int(rows["is_fraud"].eq(True).sum()),
            }
            version = model_store.save_detector(
                FEEDBACK_CLASSIFIER, fitted, windows=windows, params=params, metrics=metrics
            )
            versions[mode], contents[mode] = asdict(version), [params, content_of(fitted)]
            context.add_output_metadata({f"{mode}/version": version.version, f"{mode}/sha256": version.sha256})
        if not versions:
            context.log.warning("Too few known frauds in the training window: the ensemble scores alone.")
        context.set_data_version(context.asset_key, version_of(contents))
        return versions

    return [training_windows, isolation_forest, local_outlier_factor, feedback_classifier]


def content_of(fitted: FittedDetector) -> list[float]:
    """Tell a fitted detector by what it makes of the held-out rows: its artefact's bytes have the time in them."""
    return [float(score) for score in fitted.score_reference.scores]


def load_label_free(
    model_store: ModelStore, isolation_forest: dict[str, Any], local_outlier_factor: dict[str, Any]
) -> dict[str, FittedDetector]:
    """Load this cycle's label-free detectors, by name."""
    versions = label_free_versions(isolation_forest, local_outlier_factor)
    return {name: model_store.detector(name, each.version, each.sha256) for name, each in versions.items()}


def load_feedback(model_store: ModelStore, feedback_classifier: dict[str, Any]) -> dict[str, FittedDetector]:
    """Load this cycle's feedback classifiers, by scoring mode."""
    versions = {mode: ModelVersion(**stored) for mode, stored in feedback_classifier.items()}
    return {
        mode: model_store.detector(FEEDBACK_CLASSIFIER, each.version, each.sha256) for mode, each in versions.items()
    }


def label_free_versions(
    isolation_forest: dict[str, Any], local_outlier_factor: dict[str, Any]
) -> dict[str, ModelVersion]:
    """Registry entries of this cycle's label-free detectors, by name."""
    return {
        "isolation_forest": ModelVersion(**isolation_forest),
        "local_outlier_factor": ModelVersion(**local_outlier_factor),
    }


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
