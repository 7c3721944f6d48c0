"""Detectors and models in a real registry: what is saved comes back, and nothing altered or foreign is loaded."""

import json
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.adapters import model_store
from fraud_pipeline.adapters.model_registry import ModelRegistry, ModelVersion
from fraud_pipeline.adapters.model_store import ModelStore, windows_from_json, windows_to_json
from fraud_pipeline.adapters.promotions import CHALLENGER, CHAMPION, FRAUD_MODEL
from fraud_pipeline.core import explanations
from fraud_pipeline.core.calibration import Calibration, fit_threshold
from fraud_pipeline.core.detectors.base import Detector
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.detectors.feedback_classifier import FeedbackClassifier
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector
from fraud_pipeline.core.errors import InvalidDataError, ModelArtefactError
from fraud_pipeline.core.schema import FEATURE_SET_VERSION, LINEAGE_COLUMNS
from fraud_pipeline.core.scoring import score
from fraud_pipeline.core.splits import TrainingWindows
from fraud_pipeline.core.training import FittedDetector
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
        "feedback_classifier": FeedbackClassifier.fit(
            rows, DETECTOR_COLUMNS, np.arange(len(rows)) >= 390, rounds=5, members=2, seed=0
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
                FittedDetector(detector, ScoreReference.of(detector.score(rows)), references),
                windows=WINDOWS,
                params={"seed": 0},
                metrics={"fitted_rows": len(rows)},
            )
            for name, detector in detectors.items()
        }

    return save


@pytest.fixture
def label_free(save_detectors: SaveDetectors) -> dict[str, ModelVersion]:
    """The detectors of the ensemble alone."""
    return {name: version for name, version in save_detectors().items() if name in WEIGHTS}


@pytest.fixture
def saved(store: ModelStore, label_free: dict[str, ModelVersion], calibration: Calibration) -> ModelVersion:
    return store.save_model(label_free, WEIGHTS, calibration, windows=WINDOWS, metrics={"expected_recall": 0.9})


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
    assert (loaded.model.mode, loaded.model.ensemble.normalisation) == ("ensemble", "rank")
    assert set(loaded.model.detectors) == set(WEIGHTS)
    blended = {name: detectors[name].score(rows) for name in WEIGHTS}
    ranks = {name: ScoreReference.of(scores).rank(scores) for name, scores in blended.items()}
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


@pytest.mark.parametrize("mode", ["feedback", "stacked"])
def test_a_model_with_a_classifier_comes_back_with_its_mode_and_normalisation(
    registry: ModelRegistry,
    store: ModelStore,
    save_detectors: SaveDetectors,
    detectors: dict[str, Detector],
    rows: pd.DataFrame,
    calibration: Calibration,
    mode: str,
) -> None:
    version = store.save_model(
        save_detectors(), WEIGHTS, calibration, windows=WINDOWS, metrics={}, scoring_mode=mode, normalisation="tail"
    )
    store.promote(version)
    loaded = again(registry).model(version.version).model
    assert (loaded.mode, loaded.ensemble.normalisation) == (mode, "tail")
    assert set(loaded.ensemble.references) == set(WEIGHTS)
    classifier = loaded.detectors["feedback_classifier"]
    np.testing.assert_array_equal(classifier.score(rows), detectors["feedback_classifier"].score(rows))
    card = again(registry).champion_card()
    assert card is not None
    assert card.scoring_mode == mode


def test_a_classifier_is_stored_in_the_format_of_xgboost_and_nothing_else(
    registry: ModelRegistry, save_detectors: SaveDetectors
) -> None:
    version = save_detectors()["feedback_classifier"]
    _, files = registry.read("feedback_classifier", version.version)
    assert set(files) == {"booster_00.ubj", "booster_01.ubj", "detector.json"}


def test_a_detector_without_its_estimator_or_of_an_unknown_kind_is_refused(
    registry: ModelRegistry, save_detectors: SaveDetectors
) -> None:
    version = save_detectors()["isolation_forest"]
    _, files = registry.read("isolation_forest", version.version)
    for name, message in (
        ("isolation_forest", "has no estimator.skops; train"),
        ("feedback_classifier", "no 'xgboost'"),
        ("lucky_guess", "'lucky_guess' is no detector that this version stores; choose from isolation_forest"),
    ):
        other = registry.register(name, {"detector.json": files["detector.json"]}, params={}, metrics={})
        with pytest.raises((ModelArtefactError, InvalidDataError), match=message):
            again(registry).detector(name, other.version, other.sha256)


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
    registry: ModelRegistry, store: ModelStore, label_free: dict[str, ModelVersion], calibration: Calibration
) -> None:
    first, second = (store.save_model(label_free, WEIGHTS, calibration, windows=WINDOWS, metrics={}) for _ in range(2))
    store.promote(first)
    store.nominate(second)
    assert registry.alias(FRAUD_MODEL, CHAMPION) == first
    assert registry.alias(FRAUD_MODEL, CHALLENGER) == second


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


@pytest.mark.parametrize(("name", "here"), [("feature_set_version", "99"), ("sklearn", "0.1"), ("xgboost", "0.1")])
def test_a_model_of_another_feature_set_or_library_is_refused(
    registry: ModelRegistry,
    store: ModelStore,
    save_detectors: SaveDetectors,
    saved: ModelVersion,
    calibration: Calibration,
    name: str,
    here: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = store.save_model(
        save_detectors(), WEIGHTS, calibration, windows=WINDOWS, metrics={}, scoring_mode="stacked"
    )
    versions = {"sklearn": "", "xgboost": ""} | {name: here}
    if name == "feature_set_version":
        monkeypatch.setattr(model_store, "FEATURE_SET_VERSION", here)
    else:
        real = model_store._library_version
        monkeypatch.setattr(model_store, "_library_version", lambda library: versions[library] or real(library))
    message = f"{name} .*, this process has {here}; train a new model"
    with pytest.raises(ModelArtefactError, match=message):
        again(registry).model(whole.version)
    if name == "xgboost":
        # The other detectors do not need it.
        assert again(registry).model(saved.version).version == saved
    else:
        with pytest.raises(ModelArtefactError, match=message):
            again(registry).model(saved.version)


def register(registry: ModelRegistry, files: dict[str, bytes]) -> int:
    return registry.register(FRAUD_MODEL, files, params={}, metrics={}).version


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"other.json": b"{}"}, "has no model.json; train a new model"),
        ({"model.json": b"{}"}, "no 'detectors'"),
        ({"model.json": b'{"detectors": {}}'}, "no 'feature_set_version'"),
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


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("empty") / "mlflow.db"
    assert ModelRegistry(f"sqlite:///{database}", str(database.parent)).tags(FRAUD_MODEL) == {}
    return database


@pytest.fixture
def empty_registry(empty_database: Path, tmp_path: Path) -> ModelRegistry:
    """Give a registry of its own: promotions are tags of the whole model."""
    return ModelRegistry(f"sqlite:///{shutil.copy(empty_database, tmp_path / 'mlflow.db')}", str(tmp_path / "files"))


@pytest.fixture
def three(
    empty_registry: ModelRegistry,
    rows: pd.DataFrame,
    detectors: dict[str, Detector],
    calibration: Calibration,
) -> tuple[ModelStore, list[ModelVersion]]:
    """A store of its own with three models and no promotion yet."""
    store = ModelStore(empty_registry)
    forest = detectors["isolation_forest"]
    stored = FittedDetector(forest, ScoreReference.of(forest.score(rows)), {})
    parts = {
        "isolation_forest": store.save_detector("isolation_forest", stored, windows=WINDOWS, params={}, metrics={})
    }
    weights = {"isolation_forest": 1.0}
    return store, [store.save_model(parts, weights, calibration, windows=WINDOWS, metrics={}) for _ in range(3)]


def champion_of(store: ModelStore) -> int:
    card = store.champion_card()
    assert card is not None
    return card.version.version


def test_promotions_are_recorded_with_who_why_and_what_was_before(three: tuple[ModelStore, list[ModelVersion]]) -> None:
    store, (first, second, _) = three
    assert store.history() == []
    store.promote(first)
    store.promote(second, reason="more recall", actor="ada")
    store.roll_back("too many alerts", "bob")
    moves = [(m.version, m.previous, m.reason, m.actor, m.is_roll_back) for m in store.history()]
    assert moves == [
        (1, None, "won", "pipeline", False),
        (2, 1, "more recall", "ada", False),
        (1, 2, "too many alerts", "bob", True),
    ]
    times = [move.at for move in store.history()]
    assert times == sorted(times)
    assert all(time.utcoffset() == timedelta(0) for time in times)


def test_roll_backs_go_ever_further_back_until_there_is_no_earlier_champion(
    three: tuple[ModelStore, list[ModelVersion]],
) -> None:
    store, versions = three
    with pytest.raises(ModelArtefactError, match="no earlier champion to go back to; promote a version"):
        store.roll_back("nothing yet", "ada")
    for version in (*versions, versions[2]):
        store.promote(version)
    assert [store.roll_back("worse", "ada").version for _ in range(2)] == [2, 1]
    with pytest.raises(ModelArtefactError, match="no earlier champion"):
        store.roll_back("worse still", "ada")
    store.promote(versions[2])
    assert store.roll_back("worse", "ada").version == champion_of(store) == 1


def test_a_roll_back_of_an_alias_that_was_moved_by_hand_goes_to_the_last_recorded_champion(
    three: tuple[ModelStore, list[ModelVersion]], empty_registry: ModelRegistry
) -> None:
    store, (first, second, third) = three
    store.promote(first)
    store.promote(second)
    empty_registry.set_alias(FRAUD_MODEL, CHAMPION, third.version)
    moved = store.roll_back("not by hand", "ada")
    assert (moved.previous, moved.version) == (3, 2)


def test_no_roll_back_to_a_champion_that_can_no_longer_be_loaded(
    three: tuple[ModelStore, list[ModelVersion]], empty_registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, (first, second, _) = three
    store.promote(first)
    store.promote(second)
    monkeypatch.setattr(model_store, "FEATURE_SET_VERSION", "99")
    with pytest.raises(ModelArtefactError, match="version 1 was made with feature_set_version"):
        again(empty_registry).roll_back("worse", "ada")
    assert champion_of(store) == 2
    assert len(store.history()) == 2


@pytest.mark.parametrize("record", ["", "{}", '{"at": "yesterday"}', '{"at": "2026-01-01", "by": "ada"}', "[1]"])
def test_an_altered_record_of_a_promotion_is_named(
    three: tuple[ModelStore, list[ModelVersion]], empty_registry: ModelRegistry, record: str
) -> None:
    store, (first, *_) = three
    store.promote(first)
    empty_registry.set_tag(FRAUD_MODEL, "promotion_000001", record)
    with pytest.raises(ModelArtefactError, match="Tag 'promotion_000001' of model fraud_model is no record of a promo"):
        store.history()


def test_windows_survive_as_json() -> None:
    assert windows_from_json(json.loads(json.dumps(windows_to_json(WINDOWS)))) == WINDOWS
