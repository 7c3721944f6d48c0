"""How well the pipeline would have done on past days, knowing on each only what was known then.

A round trains and calibrates on days whose labels had matured, then scores later days with everything
frozen. Walking forward repeats it week by week. In the closed loop the model's own alerts decide which labels
come early: those reviewed within capacity are known the next day, all others only after the delay.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core import baselines, calibration, training
from fraud_pipeline.core.calibration import Calibration
from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.errors import TrainingError
from fraud_pipeline.core.labelled_history import LabelledHistory
from fraud_pipeline.core.splits import ONE_DAY, BacktestRound
from fraud_pipeline.core.training import FittedDetector, TrainingConfig

MODELS: Final = (
    "champion",
    "ensemble",
    "isolation_forest",
    "local_outlier_factor",
    "feedback_classifier",
    "plain_blend",
    "logistic_regression",
)
WORKERS: Final = 2
"""Rounds that are fitted at once where they do not wait for each other."""

_RESAMPLES: Final = 200


@dataclass(frozen=True)
class RoundResult:
    """One round with one seed.

    Parameters
    ----------
    scored : mapping of model name to DataFrame
        ``day``, ``user_id``, ``amount``, ``is_fraud``, ``scenario``, ``score`` and ``is_alert`` of the test days.
    calibrations : mapping of model name to Calibration
    mode : str
        The champion's scoring mode.
    reviewed, reviewed_frauds : int
        In a closed loop: alerts reviewed within capacity, and frauds among them.
    """

    scored: Mapping[str, pd.DataFrame]
    calibrations: Mapping[str, Calibration]
    mode: str
    reviewed: int = 0
    reviewed_frauds: int = 0


def run(
    history: LabelledHistory,
    rounds: Sequence[BacktestRound],
    config: TrainingConfig,
    *,
    review_capacity: int | None = None,
) -> Iterator[RoundResult]:
    """Run the rounds of one seed in order.

    Parameters
    ----------
    history : LabelledHistory
        Is changed by a closed loop: labels become known earlier.
    rounds : sequence of BacktestRound
    config : TrainingConfig
    review_capacity : int, optional
        Closes the loop: so many alerts a day, highest score first, are reviewed and known the next day.

    Yields
    ------
    RoundResult

    Raises
    ------
    TrainingError
        If a test window has no transactions.
    """
    _require_transactions(history, rounds)
    previous: Mapping[str, Calibration] = {}
    is_open = review_capacity is None
    for each, fitted, scores in (
        _fit_ahead(history, rounds, config) if is_open else _fit_in_turn(history, rounds, config)
    ):
        calibrations, mode = fitted.calibrate(previous)
        if review_capacity is None:
            reviewed, tested = np.empty(0, dtype=np.int64), dict(scores)
        else:
            reviewed, tested = _closed_loop(history, each, fitted, mode, calibrations["champion"], review_capacity)
        previous = calibrations
        yield _result(history, each, tested | {"champion": tested[mode]}, calibrations, mode, reviewed)


def _require_transactions(history: LabelledHistory, rounds: Sequence[BacktestRound]) -> None:
    for each in rounds:
        where = history.rows(each.test_from, each.test_to)
        if where.start == where.stop:
            raise TrainingError(
                f"there are no transactions from {each.test_from} to {each.test_to}; choose days that the source has."
            )


def _fit_ahead(
    history: LabelledHistory, rounds: Sequence[BacktestRound], config: TrainingConfig
) -> Iterator[tuple[BacktestRound, "_Fitted", Mapping[str, Floats]]]:
    """Fit and score several rounds at once: only their thresholds depend on the round before."""

    def work(each: BacktestRound) -> tuple[BacktestRound, _Fitted, Mapping[str, Floats]]:
        fitted = _Fitted.of(history, each, config)
        return each, fitted, fitted.score(history.features.iloc[history.rows(each.test_from, each.test_to)])

    # Threads: what takes long runs in compiled code without the interpreter's lock.
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        yield from pool.map(work, rounds)


def _fit_in_turn(
    history: LabelledHistory, rounds: Sequence[BacktestRound], config: TrainingConfig
) -> Iterator[tuple[BacktestRound, "_Fitted", Mapping[str, Floats]]]:
    """Fit each round on what the rounds before have found."""
    for each in rounds:
        yield each, _Fitted.of(history, each, config), {}


@dataclass(frozen=True)
class _Fitted:
    """Everything that is fitted before the first test day, and what it says of the calibration window."""

    label_free: Mapping[str, FittedDetector]
    feedback: Mapping[str, FittedDetector]
    baselines: Mapping[str, baselines.Scorer]
    config: TrainingConfig
    window: pd.DataFrame
    window_scores: Mapping[str, Floats]

    @classmethod
    def of(cls, history: LabelledHistory, each: BacktestRound, config: TrainingConfig) -> Self:
        windows = each.windows
        train = history.labelled(windows.train_from, windows.train_to, windows.as_of)
        window = history.labelled(windows.calibrate_from, windows.calibrate_to, windows.as_of)
        label_free = {name: training.fit_label_free(name, train, config) for name in training.LABEL_FREE}
        feedback = training.fit_feedback(train, label_free, config)
        plain, logistic = baselines.fit_plain_blend(train, config), baselines.fit_logistic_regression(train, config)
        others = {"plain_blend": plain} | ({} if logistic is None else {"logistic_regression": logistic})
        fitted = cls(label_free, feedback, others, config, window[["day", "amount", "is_fraud"]], {})
        return replace(fitted, window_scores=fitted.score(window))

    def score(self, rows: pd.DataFrame) -> dict[str, Floats]:
        """Score every detector, mode and baseline."""
        scores = training.score_all(rows, self.label_free, self.feedback, self.config)
        if "feedback" in scores:
            scores["feedback_classifier"] = scores["feedback"]
        return scores | {name: score(rows) for name, score in self.baselines.items()}

    def calibrate(self, previous: Mapping[str, Calibration]) -> tuple[dict[str, Calibration], str]:
        """Choose the champion's mode, and a threshold for every model by the same rule."""
        config, scores = self.config, self.window_scores
        choice = training.choose(self.window, scores, self.label_free, config, previous=previous.get("champion"))
        calibrations = {"champion": choice.calibration}
        is_labelled = self.window["is_fraud"].notna().to_numpy()
        labelled = self.window[is_labelled].astype({"is_fraud": bool})
        if labelled["is_fraud"].any():
            for name in (name for name in MODELS if name in scores):
                calibrations[name] = calibration.fit_threshold(
                    labelled.assign(anomaly_score=scores[name][is_labelled]),
                    **config.threshold,
                    previous=previous.get(name),
                    resamples=_RESAMPLES,
                    seed=config.seed,
                )
        return calibrations, choice.mode


def _closed_loop(
    history: LabelledHistory,
    each: BacktestRound,
    fitted: _Fitted,
    mode: str,
    champion: Calibration,
    review_capacity: int,
) -> tuple[NDArray[np.int64], dict[str, Floats]]:
    """Score day by day; each day's best alerts are known from the next day on."""
    parts: list[dict[str, Floats]] = []
    reviewed = [np.empty(0, dtype=np.int64)]
    for number in range((each.test_to - each.test_from).days + 1):
        day = each.test_from + number * ONE_DAY
        where = history.rows(day, day)
        if where.start == where.stop:
            continue
        history.relabel(day)
        scores = fitted.score(history.features.iloc[where])
        parts.append(scores)
        ranked = np.argsort(-scores[mode], kind="stable")[:review_capacity]
        alerts = where.start + ranked[scores[mode][ranked] >= champion.threshold]
        history.learn(alerts, history.start_of(day + ONE_DAY))
        reviewed.append(alerts)
    return np.concatenate(reviewed), {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _result(
    history: LabelledHistory,
    each: BacktestRound,
    scores: Mapping[str, Floats],
    calibrations: Mapping[str, Calibration],
    mode: str,
    reviewed: NDArray[np.int64],
) -> RoundResult:
    where = history.rows(each.test_from, each.test_to)
    keys = history.features.iloc[where][["day", "user_id", "amount"]].reset_index(drop=True)
    keys = keys.assign(is_fraud=history.is_fraud[where], scenario=pd.Series(history.scenario[where], dtype="str"))
    scored = {
        name: keys.assign(score=scores[name], is_alert=scores[name] >= calibrations[name].threshold)
        for name in MODELS
        if name in scores and name in calibrations
    }
    frauds = int(history.is_fraud[reviewed].sum())
    return RoundResult(scored, calibrations, mode, len(reviewed), frauds)
