import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import FunctionTransformer
from skops.io import dumps, get_untrusted_types

from fraud_pipeline.adapters.model_artefacts import _TRUSTED_TYPES, dump_estimator, load_estimator
from fraud_pipeline.core.errors import ModelArtefactError

RNG = np.random.default_rng(7)
TRAINING = RNG.normal(size=(600, 6))
UNSEEN = RNG.normal(size=(200, 6)) * 3


def local_outlier_factor(**arguments: object) -> LocalOutlierFactor:
    return LocalOutlierFactor(novelty=True, **{"n_neighbors": 100} | arguments).fit(TRAINING)


def isolation_forest(n_estimators: int = 20) -> IsolationForest:
    return IsolationForest(n_estimators=n_estimators, random_state=3).fit(TRAINING)


def scores(estimator: object) -> npt.NDArray[np.float64]:
    assert isinstance(estimator, IsolationForest | LocalOutlierFactor)
    return np.asarray(estimator.score_samples(UNSEEN))


def archive(schema: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("schema.json", json.dumps({"protocol": 2, "_skops_version": "0.13"} | schema))
    return buffer.getvalue()


def text(value: str) -> dict[str, Any]:
    return {
        "__class__": "str", "__module__": "builtins", "__loader__": "JsonNode",
        "content": json.dumps(value), "is_json": True,
    }  # fmt: skip


def sequence(kind: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {
        "__class__": kind, "__module__": "builtins", "__loader__": f"{kind.capitalize()}Node", "content": list(items),
    }  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: isolation_forest(100),
        lambda: local_outlier_factor(algorithm="brute"),
        lambda: local_outlier_factor(algorithm="kd_tree"),
        lambda: local_outlier_factor(algorithm="auto"),
    ],
    ids=["isolation_forest", "lof_brute", "lof_kd_tree", "lof_auto"],
)
def test_a_loaded_estimator_gives_the_very_same_scores(make: Callable[[], Any]) -> None:
    estimator = make()
    np.testing.assert_array_equal(scores(load_estimator(dump_estimator(estimator))), scores(estimator))


def test_every_trusted_type_is_needed_by_a_detector() -> None:
    needed = {
        name
        for estimator in (isolation_forest(), local_outlier_factor(algorithm="kd_tree"))
        for name in get_untrusted_types(data=dumps(estimator))
    }
    assert needed == set(_TRUSTED_TYPES)


def test_dumping_an_estimator_that_could_not_be_loaded_again_names_the_type() -> None:
    with pytest.raises(ModelArtefactError, match=r"sklearn\.metrics\._dist_metrics\.ManhattanDistance64"):
        dump_estimator(local_outlier_factor(algorithm="kd_tree", metric="manhattan"))


def test_dumping_an_object_that_skops_cannot_write_names_its_type() -> None:
    with pytest.raises(ModelArtefactError, match="generator cannot be stored as a model artefact"):
        dump_estimator(number for number in range(3))


class WritesAFileWhenUnpickled:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_and_never_runs(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    payload = pickle.dumps(WritesAFileWhenUnpickled(trap))
    with pytest.raises(ModelArtefactError, match="not a readable skops archive"):
        load_estimator(payload)
    assert not trap.exists()
    pickle.loads(payload)  # noqa: S301 -- proves that the trap works
    assert trap.exists()


def test_a_pickled_array_inside_an_archive_never_runs(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    array_file = io.BytesIO()
    np.save(array_file, np.array([WritesAFileWhenUnpickled(trap)], dtype=object), allow_pickle=True)
    buffer = io.BytesIO()
    payload = io.BytesIO(dump_estimator(local_outlier_factor()))
    with zipfile.ZipFile(payload) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            target.writestr(name, array_file.getvalue() if name.endswith(".npy") else source.read(name))
    with pytest.raises(ModelArtefactError, match="not a readable skops archive"):
        load_estimator(buffer.getvalue())
    assert not trap.exists()


@pytest.mark.parametrize("loader", ["FunctionNode", "TypeNode"])
def test_an_archive_that_names_a_function_is_refused(loader: str) -> None:
    schema = {"__class__": "system", "__module__": "os", "__loader__": loader, "content": "system"}
    with pytest.raises(ModelArtefactError, match=r"not trusted: os\.system"):
        load_estimator(archive(schema))


def test_a_reduce_gadget_never_calls_its_function(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    gadget = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "LossNode",
        "__reduce__": {"args": sequence("tuple", text(f"touch {trap}"))},
        "content": sequence("tuple"),
    }
    with pytest.raises(ModelArtefactError, match=r"not trusted: os\.system"):
        load_estimator(archive(gadget))
    assert not trap.exists()


def test_an_object_of_an_unknown_module_is_refused_before_the_module_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "ran"
    (tmp_path / "evil_module.py").write_text(f"open({str(trap)!r}, 'w').close()\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    schema = {"__class__": "Evil", "__module__": "evil_module", "__loader__": "ObjectNode", "content": text("x")}
    with pytest.raises(ModelArtefactError, match=r"not trusted: evil_module\.Evil"):
        load_estimator(archive(schema))
    assert not trap.exists()


def test_a_trusted_estimator_that_holds_a_foreign_function_is_refused() -> None:
    with pytest.raises(ModelArtefactError, match=r"not trusted: posix\.getcwd|not trusted: os\.getcwd"):
        load_estimator(dumps(FunctionTransformer(func=__import__("os").getcwd)))


@pytest.mark.parametrize("payload", [b"", b"not a zip", archive({}), archive({"protocol": 10**6})])
def test_bytes_that_are_no_estimator_are_refused(payload: bytes) -> None:
    with pytest.raises(ModelArtefactError, match="not a readable skops archive"):
        load_estimator(payload)


def test_a_truncated_archive_is_refused() -> None:
    payload = dump_estimator(isolation_forest())
    with pytest.raises(ModelArtefactError, match="not a readable skops archive"):
        load_estimator(payload[: len(payload) // 2])


def test_garbled_bytes_give_the_same_scores_or_a_clear_error() -> None:
    estimator = isolation_forest(5)
    payload = dump_estimator(estimator)
    positions = RNG.choice(len(payload), size=200, replace=False)
    refused = 0
    for position in positions:
        garbled = bytearray(payload)
        garbled[position] ^= 0xFF
        try:
            loaded = load_estimator(bytes(garbled))
        except ModelArtefactError:
            refused += 1
        else:
            np.testing.assert_array_equal(scores(loaded), scores(estimator))
    assert refused > 100
