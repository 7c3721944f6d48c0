"""Isolation Forest and Local Outlier Factor against the ways one would otherwise run them.

Run with ``python -m benchmarks.detectors``. In every comparison all ways get the same fitted
model and the same rows, run in turns so that a busy machine slows all alike, and their outputs are
compared in that very run. Times are CPU seconds of the whole process, the least of some runs.
``scikit-learn-intelex`` takes part where it is installed.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.detectors.base import Floats, matrix, signed_log
from fraud_pipeline.core.detectors.candidates import score_candidates
from fraud_pipeline.core.detectors.isolation_forest import IsolationForestDetector
from fraud_pipeline.core.detectors.local_outlier_factor import LocalOutlierFactorDetector

TRAINING_ROWS: Final = 20_000
RUNS: Final = 5
CONTAMINATION: Final = 0.01

Ways = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True)
class Comparison:
    """One way to do a task.

    Parameters
    ----------
    task, way : str
    seconds : float
        CPU seconds, the least of the runs.
    ratio : float
        CPU seconds of the first way of the task over these: above 1 is faster than it.
    deviation : float
        Largest absolute difference to the output of the first way; NaN if there is nothing to compare.
    """

    task: str
    way: str
    seconds: float
    ratio: float
    deviation: float


def compare() -> list[Comparison]:
    """Run every comparison; takes about two minutes."""
    return [
        *_forest(columns=6, trees=200, rows=50_000),
        *_forest(columns=18, trees=100, rows=50_000),
        *_one_row(),
        *_contributions(),
        *_factor(columns=6, reference=10_000, neighbours=100, rows=3_000),
        *_factor(columns=18, reference=20_000, neighbours=20, rows=3_000),
        *_fits(),
        *_candidates(),
    ]


def as_markdown(comparisons: list[Comparison]) -> str:
    """Render a table, one row a way."""
    lines = ["| task | way | CPU | times as fast | largest difference |", "|---|---|---:|---:|---:|"]
    for each in comparisons:
        deviation = "" if np.isnan(each.deviation) else f"{each.deviation:.0e}" if each.deviation else "none"
        lines.append(f"| {each.task} | {each.way} | {_duration(each.seconds)} | {each.ratio:.2f} | {deviation} |")
    return "\n".join(lines)


def random_features(rows: int, columns: int, *, seed: int = 0) -> pd.DataFrame:
    """Heavy-tailed columns, some of them counts, in random mixtures."""
    rng = np.random.default_rng(seed)
    values = rng.standard_t(4, size=(rows, columns)) @ rng.standard_normal((columns, columns))
    values[:, ::3] = np.round(np.exp(values[:, ::3] / 4), 2)
    return pd.DataFrame(values, columns=[f"x{column}" for column in range(columns)])


def _forest(*, columns: int, trees: int, rows: int) -> Iterator[Comparison]:
    from pyod.models.iforest import IForest

    features, names = _split(columns, rows)
    detector = IsolationForestDetector.fit(features[0], names, trees=trees)
    values = matrix(features[1], names)
    pyod = IForest(n_estimators=trees, max_samples=256, random_state=0).fit(matrix(features[0], names))
    ways: Ways = {
        "scikit-learn": lambda: -detector.estimator.score_samples(values),
        # PyOD's zero is a cut-off that contamination moves; taken away again, the scores are the same.
        "PyOD": lambda: pyod.decision_function(values) - pyod.detector_.offset_,
        "this package": lambda: detector.score_matrix(values),
    }
    yield from _alternate(f"Isolation Forest, {trees} trees, {columns} columns: score {rows:,} rows", ways)


def _one_row() -> Iterator[Comparison]:
    features, names = _split(6, 1)
    detector = IsolationForestDetector.fit(features[0], names, trees=200)
    row, values = features[1], matrix(features[1], names)
    ways: Ways = {
        "scikit-learn, matrix": lambda: -detector.estimator.score_samples(values),
        "this package, matrix": lambda: detector.score_matrix(values),
        "this package, frame": lambda: detector.score(row),
    }
    yield from _alternate("Isolation Forest, 200 trees, 6 columns: score one row", ways, repeats=200)


def _contributions() -> Iterator[Comparison]:
    features, names = _split(6, 1_000)
    detector = IsolationForestDetector.fit(features[0], names, trees=200)
    ways: Ways = {"this package": lambda: detector.contributions(features[1]).values}  # noqa: PD011 - a field
    yield from _alternate("Isolation Forest, 200 trees, 6 columns: contributions of 1,000 rows", ways)


def _factor(*, columns: int, reference: int, neighbours: int, rows: int) -> Iterator[Comparison]:
    features, names = _split(columns, rows)
    detector = LocalOutlierFactorDetector.fit(features[0], names, neighbours=neighbours, reference_rows=reference)
    estimator, new = detector.estimator, features[1]

    def scaled() -> Floats:
        values: Floats = (signed_log(matrix(new, names)) - np.array(detector.center)) / np.array(detector.scale)
        return values

    ways: dict[str, Callable[[], Any]] = {
        "scikit-learn, brute force": lambda: -estimator.score_samples(scaled()),
        "this package": lambda: detector.score(new),
        "numpy: matrix product, argpartition": lambda: _by_numpy(estimator, scaled()),
    }
    if find_spec("sklearnex"):
        search = import_module("sklearnex.neighbors").NearestNeighbors(n_neighbors=neighbours, algorithm="brute")
        search.fit(estimator._fit_X)
        ways["scikit-learn-intelex"] = lambda: _factors(estimator, *search.kneighbors(scaled()))
    task = (
        f"Local Outlier Factor, k = {neighbours}, {reference:,} reference rows, {columns} columns: score {rows:,} rows"
    )
    yield from _alternate(task, ways)


def _by_numpy(estimator: Any, rows: Floats) -> Floats:  # noqa: ANN401 - scikit-learn ships no types
    """Neighbours by a matrix of distances, a batch of rows at a time."""
    known, k = estimator._fit_X, estimator.n_neighbors_
    norms, factors = (known**2).sum(axis=1), []
    for start in range(0, len(rows), 256):
        batch = rows[start : start + 256]
        nearest = np.argpartition(norms - 2.0 * batch @ known.T, k - 1, axis=1)[:, :k]
        distances = np.sqrt(((batch[:, None] - known[nearest]) ** 2).sum(axis=2))
        factors.append(_factors(estimator, distances, nearest))
    return np.concatenate(factors)


def _factors(estimator: Any, distances: Floats, nearest: np.ndarray) -> Floats:  # noqa: ANN401 - as above
    reach, density = estimator._distances_fit_X_[:, -1], estimator._lrd
    reached = np.maximum(distances, reach[nearest]).mean(axis=1)
    factors: Floats = density[nearest].mean(axis=1) * (reached + 1e-10)
    return factors


def _fits() -> Iterator[Comparison]:
    from pyod.models.iforest import IForest
    from pyod.models.lof import LOF
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import LocalOutlierFactor

    features, names = _split(6, 1_000)
    values, new = matrix(features[0], names), matrix(features[1], names)
    forest: dict[str, Any] = {"n_estimators": 200, "max_samples": 256, "random_state": 0}
    wrapped = {"contamination": CONTAMINATION}

    def pyod_forest() -> Floats:
        model = IForest(**forest, **wrapped).fit(values)
        scores: Floats = model.decision_function(new) - model.detector_.offset_
        return scores

    ways: Ways = {
        "PyOD": pyod_forest,
        "scikit-learn, contamination set": lambda: -IsolationForest(**forest, **wrapped).fit(values).score_samples(new),
        "scikit-learn, contamination left alone": lambda: -IsolationForest(**forest).fit(values).score_samples(new),
    }
    yield from _alternate(f"Isolation Forest, 200 trees: fit {TRAINING_ROWS:,} rows, score 1,000", ways)
    reference = values[:5_000]
    ways = {
        "PyOD, its defaults": lambda: LOF(n_neighbors=100, **wrapped).fit(reference).decision_function(new),
        "PyOD, brute force": lambda: (
            LOF(n_neighbors=100, algorithm="brute", **wrapped).fit(reference).decision_function(new)
        ),
        "scikit-learn, brute force": lambda: (
            -LocalOutlierFactor(n_neighbors=100, algorithm="brute", novelty=True).fit(reference).score_samples(new)
        ),
    }
    yield from _alternate("Local Outlier Factor, k = 100: fit 5,000 rows, score 1,000", ways)


def _candidates() -> Iterator[Comparison]:
    features, names = _split(6, 100_000)
    ways: Ways = {"PyOD": lambda: np.stack(list(score_candidates(features[0], features[1], names).values()))}
    task = f"COPOD, ECOD and HBOS together: fit {TRAINING_ROWS:,} rows, score 100,000"
    yield from _alternate(task, ways)


def _split(columns: int, rows: int) -> tuple[tuple[pd.DataFrame, pd.DataFrame], list[str]]:
    features = random_features(TRAINING_ROWS + rows, columns)
    return (features.iloc[:TRAINING_ROWS], features.iloc[TRAINING_ROWS:]), features.columns.tolist()


def _alternate(task: str, ways: Ways, *, repeats: int = 1) -> Iterator[Comparison]:
    # The first calls compile, or read what was compiled, and give the outputs that are compared.
    outputs = {way: run() for way, run in ways.items()}
    seconds = dict.fromkeys(ways, np.inf)
    for _ in range(RUNS):
        for way, run in ways.items():
            start = time.process_time()
            for _ in range(repeats):
                run()
            seconds[way] = min(seconds[way], (time.process_time() - start) / repeats)
    first = next(iter(ways))
    for way in ways:
        deviation = np.nan if len(ways) == 1 else float(np.abs(outputs[way] - outputs[first]).max())
        yield Comparison(task, way, seconds[way], seconds[first] / seconds[way], deviation)


def _duration(seconds: float) -> str:
    return (
        f"{seconds * 1e3:.3f} ms"
        if seconds < 1e-2
        else f"{seconds:.2f} s"
        if seconds >= 1
        else f"{seconds * 1e3:.0f} ms"
    )


if __name__ == "__main__":
    sys.stdout.write(as_markdown(compare()) + "\n")
