"""What the API says of the model that scores."""

import math

from fraud_pipeline.adapters.model_store import StoredModel, windows_to_json
from fraud_pipeline.api.models import CalibrationInfo, Figure, ModelInfo, WindowsInfo
from fraud_pipeline.core.operating_point import Estimate
from fraud_pipeline.core.schema import FEATURE_COLUMNS, FEATURE_SET_VERSION


def describe(stored: StoredModel) -> ModelInfo:
    """Describe a registered scoring model."""
    calibration = stored.model.calibration
    cutoffs = calibration.cutoffs
    return ModelInfo(
        model_version=str(stored.version.version),
        artefact_sha256=stored.version.sha256,
        scoring_mode=stored.model.mode,  # type: ignore[arg-type]  # ScoringModel checks it
        detectors=list(stored.model.detectors),
        threshold=calibration.threshold,
        threshold_version=stored.threshold_version,
        risk_cutoffs={"MEDIUM": cutoffs.medium, "HIGH": cutoffs.high, "CRITICAL": cutoffs.critical},
        calibration=CalibrationInfo(
            method=calibration.method,
            aim=calibration.aim,
            feasible=calibration.feasible,
            limit=calibration.limit,
            recall=_figure(calibration.recall),
            false_positive_rate=_figure(calibration.false_positive_rate),
            precision=_figure(calibration.precision),
            alerts_per_day=_figure(calibration.alerts_per_day),
            days=calibration.days,
            transactions=calibration.transactions,
            frauds=calibration.frauds,
        ),
        windows=WindowsInfo.model_validate(windows_to_json(stored.windows)),
        feature_set_version=FEATURE_SET_VERSION,
        feature_columns=list(FEATURE_COLUMNS),
    )


def _figure(estimate: Estimate) -> Figure:
    known = {name: getattr(estimate, name) for name in ("value", "low", "high")}
    return Figure(**{name: None if math.isnan(value) else value for name, value in known.items()})
