"""Detectors and models in a real registry: what is saved comes back, and nothing altered or foreign is loaded."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.adapters import model_store
from fraud_pipeline.adapters.model_registry import ModelRegistry, ModelVersion
from fraud_pipeline.adapters.model_store import (
    CHAMPION,
    FRAUD_MODEL,
    ModelStore,
    StoredDetector,
    windows_from_json,
    windows_to_json,
)
from fraud_pipeline.core import explanations
from fraud_pipeline.core.calibration import Calibration, fit_threshold
from fraud_pipeline.core.detectors.base import Detector
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector
from fraud_pipeline.core.errors import InvalidDataError, ModelArtefactError
from fraud_pipeline.core.schema import FEATURE_SET_VERSION, LINEAGE_COLUMNS
from fraud_pipeline.core.scoring import score
from fraud_pipeline.core.splits import TrainingWindows
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features, scored_window

WEIGHTS = {"isolation_forest": 0.6, "local_outlier_factor": 0.4}
WINDOWS = TrainingWindows(date(2026, 1, 1), date(2026, 1, 14), date(2026, 1, 15), date(2026, 1, 24), date(2026, 1, 30))


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return random_features(400, outliers=10)


@pytest.fixture(scope="module")
def detectors(rows: pd.DataFrame) -> dict[str, Detector]:
    return {
        "isolation_forest": IsolationForestDetector.fit(rows, columns=DETECTOR_COLUMNS, trees=10, seed=0),
        "local_outlier_factor": LocalOutlierFactorDetector.fit(
            rows, columns=DETECTOR_COLUMNS, neighbours=10, reference_rows=200, seed=0
        ),
    }


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return fit_threshold(scored_window(), resamples=20)


@pytest.fixture(scope="module")
def registry_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One registry for the module: MLflow takes seconds to make its tables."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture
def registry(registry_folder: Path) -> ModelRegistry:
    return ModelRegistry(f"sqlite:///{registry_folder}/mlflow.db", str(registry_folder / "artefacts"))


@pytest.fixture
def store(registry: ModelRegistry) -> ModelStore:
    return ModelStore(registry)


SaveDetectors = Callable[[], dict[str, ModelVersion]]


@pytest.fixture
def save_detectors(store: ModelStore, rows: pd.DataFrame, detectors: dict[str, Detector]) -> SaveDetectors:
    def save() -> dict[str, ModelVersion]:
        references = explanations.feature_reference(rows, DETECTOR_COLUMNS)
        return {
            name: store.save_detector(
                name,
                StoredDetector(detector, ScoreReference.of(detector.score(rows)), references),
                windows=WINDOWS,
                params={"seed": 0},
                metrics={"fitted_rows": len(rows)},
            )
            for name, detector in detectors.items()
        }

    return save


@pytest.fixture
def saved(store: ModelStore, save_detectors: SaveDetectors, calibration: Calibration) -> ModelVersion:
    return store.save_model(save_detectors(), WEIGHTS, calibration, windows=WINDOWS, metrics={"expected_recall": 0.9})


def again(registry: ModelRegistry) -> ModelStore:
    """Give a store that has loaded nothing yet, as in the next process."""
    return ModelStore(ModelRegistry(registry.tracking_uri, registry.artefact_root))


def test_a_detector_comes_back_with_the_same_scores_and_references(
    registry: ModelRegistry, save_detectors: SaveDetectors, rows: pd.DataFrame, detectors: dict[str, Detector]
) -> None:
    for name, version in save_detectors().items():
        found = again(registry).detector(name, version.version, version.sha256)
        assert found.detector.columns == DETECTOR_COLUMNS
        np.testing.assert_array_equal(found.detector.score(rows), detectors[name].score(rows))
        np.testing.assert_array_equal(found.score_reference.scores, np.sort(detectors[name].score(rows)))
        assert set(found.feature_references) == set(DETECTOR_COLUMNS)


def test_a_model_comes_back_whole_and_scores_as_before(
    registry: ModelRegistry,
    saved: ModelVersion,
    rows: pd.DataFrame,
    detectors: dict[str, Detector],
    calibration: Calibration,
) -> None:
    loaded = again(registry).model(saved.version)
    assert loaded.version == saved
    assert loaded.windows == WINDOWS
    assert loaded.model.calibration.to_json() == calibration.to_json()
    assert dict(loaded.model.ensemble.weights) == WEIGHTS
    ranks = {name: ScoreReference.of(part.score(rows)).rank(part.score(rows)) for name, part in detectors.items()}
    expected = sum(WEIGHTS[name] * ranks[name] for name in WEIGHTS)
    scored = score(rows, loaded.model)
    by_id = scored.set_index("transaction_id").loc[rows["transaction_id"], "anomaly_score"]
    np.testing.assert_allclose(by_id.to_numpy(), expected, rtol=1e-12)


def test_lineage_names_run_model_artefact_threshold_and_features(registry: ModelRegistry, saved: ModelVersion) -> None:
    loaded = again(registry).model(saved.version)
    lineage = loaded.lineage("run-1")
    assert tuple(lineage) == LINEAGE_COLUMNS
    assert lineage["run_id"] == "run-1"
    assert lineage["model_version"] == str(saved.version)
    assert lineage["artefact_sha256"] == saved.sha256
    assert lineage["feature_set_version"] == FEATURE_SET_VERSION
    assert lineage["threshold_version"] == loaded.threshold_version


def test_another_calibration_is_another_threshold_version(
    registry: ModelRegistry, store: ModelStore, save_detectors: SaveDetectors, saved: ModelVersion
) -> None:
    stricter = fit_threshold(scored_window(), target_recall=0.5, resamples=20)
    other = store.save_model(save_detectors(), WEIGHTS, stricter, windows=WINDOWS, metrics={})
    fresh = again(registry)
    assert fresh.model(saved.version).threshold_version != fresh.model(other.version).threshold_version


def test_a_version_is_loaded_once(store: ModelStore, saved: ModelVersion) -> None:
    assert store.model(saved.version) is store.model(saved.version)


def test_nobody_is_champion_before_the_first_promotion_and_the_promoted_model_after(
    tmp_path: Path, registry: ModelRegistry, store: ModelStore, saved: ModelVersion
) -> None:
    empty = ModelStore(ModelRegistry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path)))
    assert empty.champion() is None
    assert empty.champion_card() is None
    store.promote(saved)
    champion = again(registry).champion()
    assert champion is not None
    assert champion.version == saved


def test_a_saved_model_is_not_champion_until_it_is_promoted(
    registry: ModelRegistry, store: ModelStore, save_detectors: SaveDetectors, calibration: Calibration
) -> None:
    first = store.save_model(save_detectors(), WEIGHTS, calibration, windows=WINDOWS, metrics={})
    store.promote(first)
    store.save_model(save_detectors(), WEIGHTS, calibration, windows=WINDOWS, metrics={})
    assert registry.alias(FRAUD_MODEL, CHAMPION) == first


def test_the_card_of_the_champion_needs_none_of_its_detectors(
    registry: ModelRegistry, store: ModelStore, saved: ModelVersion, calibration: Calibration
) -> None:
    store.promote(saved)
    for folder in Path(registry.artefact_root).rglob("estimator.skops"):
        folder.rename(folder.with_name("moved"))
    try:
        card = again(registry).champion_card()
        with pytest.raises(ModelArtefactError, match="digest"):
            again(registry).champion()
    finally:
        for folder in Path(registry.artefact_root).rglob("moved"):
            folder.rename(folder.with_name("estimator.skops"))
    assert card is not None
    assert (card.version, card.windows) == (saved, WINDOWS)
    assert card.calibration.to_json() == calibration.to_json()


def test_a_detector_that_is_not_the_one_of_the_model_is_refused(
    registry: ModelRegistry, save_detectors: SaveDetectors
) -> None:
    version = save_detectors()["isolation_forest"]
    with pytest.raises(ModelArtefactError, match=r"digest .*, but 0{12}… was expected.*train a new model"):
        again(registry).detector("isolation_forest", version.version, "0" * 64)


@pytest.mark.parametrize(("name", "here"), [("feature_set_version", "99"), ("scikit_learn", "0.1")])
def test_a_model_of_another_feature_set_or_library_is_refused(
    registry: ModelRegistry, saved: ModelVersion, name: str, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "feature_set_version":
        monkeypatch.setattr(model_store, "FEATURE_SET_VERSION", here)
    else:
        monkeypatch.setattr(model_store, "installed_version", lambda _: here)
    with pytest.raises(ModelArtefactError, match=f"{name} .*, this process has {here}; train a new model"):
        again(registry).model(saved.version)


def register(registry: ModelRegistry, files: dict[str, bytes]) -> int:
    return registry.register(FRAUD_MODEL, files, params={}, metrics={}).version


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"other.json": b"{}"}, "has no model.json; train a new model"),
        ({"model.json": b"{}"}, "no 'feature_set_version'"),
        ({"model.json": b"{"}, "model.json .* is no JSON document"),
        ({"model.json": b"[]"}, "model.json .* is no JSON document"),
    ],
)
def test_a_model_of_another_program_is_refused(registry: ModelRegistry, files: dict[str, bytes], message: str) -> None:
    with pytest.raises((ModelArtefactError, InvalidDataError), match=message):
        again(registry).model(register(registry, files))


def test_the_document_of_a_model_names_its_detectors_with_their_digests(
    registry: ModelRegistry, store: ModelStore, save_detectors: SaveDetectors, calibration: Calibration
) -> None:
    detectors = save_detectors()
    model = store.save_model(detectors, WEIGHTS, calibration, windows=WINDOWS, metrics={})
    _, files = registry.read(FRAUD_MODEL, model.version)
    document: dict[str, Any] = json.loads(files["model.json"])
    assert {name: part["sha256"] for name, part in document["detectors"].items()} == {
        name: version.sha256 for name, version in detectors.items()
    }
    assert document["windows"] == windows_to_json(WINDOWS)


def test_windows_survive_as_json() -> None:
    assert windows_from_json(json.loads(json.dumps(windows_to_json(WINDOWS)))) == WINDOWS
