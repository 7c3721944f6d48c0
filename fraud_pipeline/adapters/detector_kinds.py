"""The kinds of detector that can be stored: each with the format of its estimator and the library behind it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fraud_pipeline.adapters.booster_artefacts import dump_boosters, load_boosters
from fraud_pipeline.adapters.model_artefacts import dump_estimator, load_estimator
from fraud_pipeline.core.detectors.feedback_classifier import FeedbackClassifier
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector
from fraud_pipeline.core.errors import ModelArtefactError

_SKOPS_FILE: Final = "estimator.skops"


@dataclass(frozen=True)
class DetectorKind:
    """How a detector is taken apart and put together again.

    Parameters
    ----------
    detector : class of the detector
    dump : callable
        Its estimator to contents by file name.
    load : callable
        The other way round, from checked files.
    library : str
        Module whose version must be the same at both times.
    """

    detector: type[IsolationForestDetector] | type[LocalOutlierFactorDetector] | type[FeedbackClassifier]
    dump: Callable[[Any], dict[str, bytes]]
    load: Callable[[Mapping[str, bytes]], object]
    library: str


def _dump_skops(estimator: object) -> dict[str, bytes]:
    return {_SKOPS_FILE: dump_estimator(estimator)}


def _load_skops(files: Mapping[str, bytes]) -> object:
    if _SKOPS_FILE not in files:
        raise ModelArtefactError(f"The model artefact has no {_SKOPS_FILE}; train and register the model again.")
    return load_estimator(files[_SKOPS_FILE])


DETECTORS: Final[Mapping[str, DetectorKind]] = {
    "isolation_forest": DetectorKind(IsolationForestDetector, _dump_skops, _load_skops, "sklearn"),
    "local_outlier_factor": DetectorKind(LocalOutlierFactorDetector, _dump_skops, _load_skops, "sklearn"),
    "feedback_classifier": DetectorKind(FeedbackClassifier, dump_boosters, load_boosters, "xgboost"),
}
