"""Whoever can write to registry and artefact store still cannot make the pipeline run code.

What is refused of single artefacts is tested in ``adapters/test_model_artefacts.py`` (pickles, functions, gadgets,
foreign types, garbled bytes), ``test_booster_artefacts.py`` (hostile trees) and ``test_model_registry.py`` (digests).
"""

import ast
import json
import pickle
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from fraud_pipeline.adapters.detector_kinds import DETECTORS
from fraud_pipeline.adapters.model_registry import ModelRegistry, artefact_sha256
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.core.errors import ModelArtefactError
from fraud_pipeline.core.schema import FEATURE_SET_VERSION

PACKAGE = Path(__file__).parents[2] / "fraud_pipeline"
FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "pandas.read_pickle"}
FORBIDDEN_CALLS = {"eval", "exec", "read_pickle", "to_pickle", "pyfunc", "load_module"}


class TouchesAFile:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def registry_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture
def registry(registry_folder: Path) -> ModelRegistry:
    return ModelRegistry(f"sqlite:///{registry_folder}/mlflow.db", str(registry_folder / "artefacts"))


@pytest.mark.parametrize("detector", ["isolation_forest", "local_outlier_factor", "feedback_classifier"])
def test_a_detector_forged_together_with_its_digest_never_runs_code(
    registry: ModelRegistry, tmp_path: Path, detector: str
) -> None:
    trap = tmp_path / "ran"
    payload = pickle.dumps(TouchesAFile(trap))
    document = {
        "state": {},
        "score_reference": [0.0, 1.0],
        "feature_references": {},
        "windows": {},
        "params": {},
        "feature_set_version": FEATURE_SET_VERSION,
        DETECTORS[detector].library: import_module(DETECTORS[detector].library).__version__,
    }
    name = "booster_00.ubj" if detector == "feedback_classifier" else "estimator.skops"
    files = {name: payload, "detector.json": json.dumps(document).encode()}
    forged = registry.register(detector, files, params={}, metrics={})
    assert forged.sha256 == artefact_sha256(files)
    with pytest.raises(ModelArtefactError, match=r"not a readable skops archive|not a sound XGBoost model"):
        ModelStore(registry).detector(detector, forged.version, forged.sha256)
    assert not trap.exists()
    pickle.loads(payload)  # noqa: S301 - proves that the trap works
    assert trap.exists()


def imports_and_calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def forbidden_in(text: str) -> set[str]:
    found = set(imports_and_calls(ast.parse(text)))
    return (found & FORBIDDEN) | (found & FORBIDDEN_CALLS) | {name for name in found if name.split(".")[0] in FORBIDDEN}


def test_nothing_in_the_package_can_load_what_runs_code() -> None:
    found = {str(path.relative_to(PACKAGE)): forbidden_in(path.read_text()) for path in PACKAGE.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "text", ["import joblib", "from pickle import loads", "import mlflow\nmlflow.pyfunc.load_model('x')", "eval('1')"]
)
def test_what_could_would_be_found(text: str) -> None:
    assert forbidden_in(text)
