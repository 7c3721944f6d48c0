"""Detectors and scoring models in the registry: what is stored of each, and how it comes back.

A detector version holds its estimator and one JSON document; a model version is one
JSON document that names detector versions with their digests. An alias points at a model, so
moving it moves everything at once.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import import_module
from typing import Any

import numpy as np

from fraud_pipeline.adapters import promotions
from fraud_pipeline.adapters.detector_kinds import DETECTORS, DetectorKind
from fraud_pipeline.adapters.model_registry import ModelRegistry, ModelVersion
from fraud_pipeline.adapters.promotions import CHALLENGER, CHAMPION, FRAUD_MODEL, Promotion
from fraud_pipeline.core.calibration import Calibration
from fraud_pipeline.core.detectors.base import setting
from fraud_pipeline.core.detectors.ensemble import Ensemble, ScoreReference
from fraud_pipeline.core.errors import ModelArtefactError
from fraud_pipeline.core.schema import FEATURE_SET_VERSION
from fraud_pipeline.core.scoring import ScoringModel
from fraud_pipeline.core.splits import TrainingWindows
from fraud_pipeline.core.training import FittedDetector

_DETECTOR_FILE, _MODEL_FILE = "detector.json", "model.json"


@dataclass(frozen=True)
class ModelCard:
    """What a registered scoring model says of itself, without its detectors."""

    version: ModelVersion
    calibration: Calibration
    windows: TrainingWindows
    scoring_mode: str


@dataclass(frozen=True)
class StoredModel:
    """A registered scoring model and where it came from."""

    version: ModelVersion
    model: ScoringModel
    windows: TrainingWindows
    threshold_version: str
    feature_references: Mapping[str, ScoreReference]

    def lineage(self, run_id: str) -> dict[str, str]:
        """``LINEAGE_COLUMNS`` of what this model scores in the run ``run_id``."""
        return {
            "run_id": run_id,
            "model_version": str(self.version.version),
            "artefact_sha256": self.version.sha256,
            "threshold_version": self.threshold_version,
            "feature_set_version": FEATURE_SET_VERSION,
        }


class ModelStore:
    """Saves and loads detectors and models, digest-checked, each version at most once a process.

    Parameters
    ----------
    registry : ModelRegistry
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._models: dict[int, StoredModel] = {}

    def save_detector(
        self,
        name: str,
        stored: FittedDetector,
        *,
        windows: TrainingWindows,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
    ) -> ModelVersion:
        """Register a new version of a detector."""
        document = {
            "state": stored.detector.state(),
            "score_reference": stored.score_reference.scores.tolist(),
            "feature_references": {k: v.scores.tolist() for k, v in stored.feature_references.items()},
            "windows": windows_to_json(windows),
            "params": dict(params),
            **_environment([name]),
        }
        files = {**_kind(name).dump(stored.detector.estimator), _DETECTOR_FILE: _encode(document)}
        return self._registry.register(name, files, params=params, metrics=metrics)

    def detector(self, name: str, version: int, sha256: str) -> FittedDetector:
        """Load one detector version.

        Raises
        ------
        ModelArtefactError
            If it is not the artefact with that digest, or was made by another feature set or library.
        """
        found, files = self._registry.read(name, version)
        if found.sha256 != sha256:
            raise ModelArtefactError(
                f"{name} version {version} has digest {found.sha256[:12]}…, but {sha256[:12]}… was expected; "
                "the registry was altered: restore it or train a new model."
            )
        document = _decode(files, _DETECTOR_FILE, name, version)
        _require_same_environment(document, [name], f"{name} version {version}")
        kind = _kind(name)
        return FittedDetector(
            kind.detector.restore(kind.load(files), setting(document, "state")),
            _reference(setting(document, "score_reference")),
            {k: _reference(v) for k, v in setting(document, "feature_references").items()},
        )

    def save_model(
        self,
        detectors: Mapping[str, ModelVersion],
        weights: Mapping[str, float],
        calibration: Calibration,
        *,
        windows: TrainingWindows,
        metrics: Mapping[str, float],
        scoring_mode: str = "ensemble",
        normalisation: str = "rank",
    ) -> ModelVersion:
        """Register a new version of the scoring model; no alias moves.

        Parameters
        ----------
        detectors : mapping of name to ModelVersion
            Their registry entries.
        weights : mapping of name to float
            Of those detectors that the ensemble blends.
        calibration : Calibration
        windows : TrainingWindows
        metrics : mapping of name to float
        scoring_mode : {"ensemble", "feedback", "stacked"}
            What ``anomaly_score`` is made of.
        normalisation : {"rank", "tail"}
            How the ensemble brings its detectors to one scale.
        """
        method = {"scoring_mode": scoring_mode, "normalisation": normalisation, "weights": dict(weights)}
        document = {
            "detectors": {name: asdict(version) for name, version in detectors.items()},
            **method,
            "calibration": calibration.to_json(),
            "windows": windows_to_json(windows),
            **_environment(detectors),
        }
        params = {**method, "threshold": calibration.threshold, **windows_to_json(windows)}
        return self._registry.register(FRAUD_MODEL, {_MODEL_FILE: _encode(document)}, params=params, metrics=metrics)

    def model(self, version: int) -> StoredModel:
        """Load one version of the scoring model with its detectors.

        Raises
        ------
        ModelArtefactError
            If any part of it is missing, altered, or of another feature set or library.
        """
        if version not in self._models:
            found, document = self._document(version)
            parts = setting(document, "detectors")
            _require_same_environment(document, parts, f"{FRAUD_MODEL} version {version}")
            stored = {name: self.detector(name, int(part["version"]), part["sha256"]) for name, part in parts.items()}
            weights = setting(document, "weights")
            blended = {name: part.score_reference for name, part in stored.items() if name in weights}
            ensemble = Ensemble(blended, weights, setting(document, "normalisation"))
            references: dict[str, ScoreReference] = {}
            for part in stored.values():
                references |= part.feature_references
            card = _card(found, document)
            self._models[version] = StoredModel(
                found,
                ScoringModel({k: v.detector for k, v in stored.items()}, ensemble, card.calibration, card.scoring_mode),
                card.windows,
                _threshold_version(document),
                references,
            )
        return self._models[version]

    def champion(self) -> StoredModel | None:
        """Load the model that the champion alias points at; None before the first promotion."""
        version = self._registry.alias(FRAUD_MODEL, CHAMPION)
        return None if version is None else self.model(version.version)

    def champion_card(self) -> ModelCard | None:
        """Describe the champion; unlike :meth:`champion`, this loads no detector, which takes seconds."""
        version = self._registry.alias(FRAUD_MODEL, CHAMPION)
        return None if version is None else _card(*self._document(version.version))

    def nominate(self, version: ModelVersion) -> None:
        """Move the challenger alias, before or without a promotion."""
        self._registry.set_alias(FRAUD_MODEL, CHALLENGER, version.version)

    def promote(self, version: ModelVersion, *, reason: str = "won", actor: str = "pipeline") -> Promotion:
        """Move the champion alias and record why and by whom."""
        return promotions.move_champion(self._registry, version.version, reason=reason, actor=actor)

    def history(self) -> list[Promotion]:
        """List all promotions and roll-backs, oldest first."""
        return promotions.history(self._registry)

    def champion_since(self, version: int) -> datetime | None:
        """When a version last became champion; None if that is not on record."""
        return next((move.at for move in reversed(self.history()) if move.version == version), None)

    def roll_back(self, reason: str, actor: str) -> Promotion:
        """Make the previous champion champion again; once more goes to the one before it.

        Raises
        ------
        ModelArtefactError
            If there was no champion before, or it can no longer be loaded: then no alias moves.
        """
        current = self._registry.alias(FRAUD_MODEL, CHAMPION)
        target = None if current is None else promotions.champion_before(current.version, self.history())
        if target is None:
            raise ModelArtefactError("there is no earlier champion to go back to; promote a version or train a model.")
        self.model(target)
        return promotions.move_champion(self._registry, target, reason=reason, actor=actor, is_roll_back=True)

    def _document(self, version: int) -> tuple[ModelVersion, dict[str, Any]]:
        found, files = self._registry.read(FRAUD_MODEL, version)
        return found, _decode(files, _MODEL_FILE, FRAUD_MODEL, version)


def windows_to_json(windows: TrainingWindows) -> dict[str, str]:
    """Render training windows as ISO dates."""
    return {name: day.isoformat() for name, day in asdict(windows).items()}


def windows_from_json(stored: Mapping[str, str]) -> TrainingWindows:
    """Restore training windows from ISO dates."""
    return TrainingWindows.of(stored)


def _card(version: ModelVersion, document: Mapping[str, Any]) -> ModelCard:
    return ModelCard(
        version,
        Calibration.from_json(setting(document, "calibration")),
        windows_from_json(setting(document, "windows")),
        str(setting(document, "scoring_mode")),
    )


def _environment(detectors: Collection[str]) -> dict[str, str]:
    """Return what has to be the same when the detectors, by name, are loaded."""
    libraries = sorted({_kind(name).library for name in detectors})
    return {"feature_set_version": FEATURE_SET_VERSION} | {name: _library_version(name) for name in libraries}


def _kind(name: str) -> DetectorKind:
    if name not in DETECTORS:
        raise ModelArtefactError(
            f"{name!r} is no detector that this version stores; choose from {', '.join(DETECTORS)}."
        )
    return DETECTORS[name]


def _library_version(library: str) -> str:
    # Asked of the module: the same one comes in distributions of several names.
    return str(import_module(library).__version__)


def _require_same_environment(document: Mapping[str, Any], detectors: Collection[str], what: str) -> None:
    for name, here in _environment(detectors).items():
        if setting(document, name) != here:
            raise ModelArtefactError(
                f"{what} was made with {name} {document[name]}, this process has {here}; "
                "train a new model with `fraud-pipeline train` or install the version it was made with."
            )


def _threshold_version(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(_encode(document["calibration"])).hexdigest()[:12]


def _reference(values: list[float]) -> ScoreReference:
    return ScoreReference(np.array(values, dtype=np.float64))


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False, sort_keys=True).encode()


def _decode(files: Mapping[str, bytes], file: str, name: str, version: int) -> dict[str, Any]:
    if file not in files:
        raise ModelArtefactError(f"{name} version {version} has no {file}; train a new model.")
    try:
        document = json.loads(files[file])
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ModelArtefactError(f"{file} of {name} version {version} is no JSON document; train a new model.")
    return document
