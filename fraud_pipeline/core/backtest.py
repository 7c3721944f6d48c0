"""How well the pipeline would have done on past days, knowing on each only what was known then.

A round trains and calibrates on days whose labels had matured, then scores later days with everything
frozen. Walking forward repeats it week by week. In the closed loop the model's own alerts decide which labels
come early: those reviewed within capacity are known the next day, all others only after the delay.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core import baselines, calibration, features, training
from fraud_pipeline.core.calibration import Calibration
from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.errors import TrainingError
from fraud_pipeline.core.schema import FEATURE_COLUMNS, TIME_DTYPE
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


class LabelledHistory:
    """Features of all days, the truth about them, and when each label becomes known.

    Parameters
    ----------
    transactions : DataFrame
        Valid transactions of consecutive days, sorted by ``(event_time, transaction_id)``.
    truth : DataFrame
        ``transaction_id``, ``is_fraud``, ``label_known_at`` and optionally ``scenario``. A transaction that is not
        in it never gets a label and counts as genuine in the figures.
    time_zone : str
        IANA zone of the days.
    baseline_days : int
        Of the users' baselines.
    """

    def __init__(
        self, transactions: pd.DataFrame, truth: pd.DataFrame, *, time_zone: str = "UTC", baseline_days: int = 90
    ) -> None:
        keys = transactions[["transaction_id", "user_id", "merchant_id", "event_time"]]
        joined = keys.merge(truth.drop_duplicates("transaction_id"), on="transaction_id", how="left")
        self._time_zone = time_zone
        self.is_fraud: NDArray[np.bool_] = joined["is_fraud"].eq(True).to_numpy(dtype=bool)
        self.known_at = joined["label_known_at"].astype(TIME_DTYPE).reset_index(drop=True)
        scenario = joined["scenario"] if "scenario" in joined else pd.Series("", index=joined.index, dtype="str")
        self.scenario = scenario.fillna("").astype("str").to_numpy(dtype=object)
        local = transactions["event_time"].dt.tz_convert(time_zone).dt.tz_localize(None)
        self._day = local.to_numpy().astype("datetime64[D]")
        self._events = joined[["transaction_id", "user_id", "merchant_id", "event_time"]].assign(is_fraud=self.is_fraud)
        self.features = features.build(
            transactions,
            features.no_history(),
            self._label_events(np.arange(len(joined))),
            time_zone=time_zone,
            baseline_days=baseline_days,
        )
        self.features["day"] = pd.Series(self._day.astype(str), dtype="str")

    def rows(self, first: date, last: date) -> slice:
        """Where the rows of the days ``first`` to ``last`` are."""
        bounds = np.array([first, last + ONE_DAY], dtype="datetime64[D]")
        return slice(*np.searchsorted(self._day, bounds))

    def labelled(self, first: date, last: date, as_of: date) -> pd.DataFrame:
        """Features of a window with the labels known before ``as_of``; missing where none was.

        Raises
        ------
        TrainingError
            If the window has no transactions.
        """
        where = self.rows(first, last)
        if where.start == where.stop:
            raise TrainingError(f"there are no transactions from {first} to {last}; choose days that the source has.")
        known = (self.known_at.iloc[where] < self.start_of(as_of)).to_numpy()
        is_fraud = pd.array(self.is_fraud[where], dtype="boolean")
        is_fraud[~known] = pd.NA
        return self.features.iloc[where].assign(is_fraud=is_fraud).reset_index(drop=True)

    def copy(self) -> "LabelledHistory":
        """Copy what a closed loop changes."""
        twin = copy(self)
        twin.features, twin.known_at = self.features.copy(), self.known_at.copy()
        return twin

    def start_of(self, day: date) -> pd.Timestamp:
        """Give the instant at which a day begins."""
        return pd.Timestamp(day, tz=self._time_zone).tz_convert("UTC")

    def learn(self, rows: NDArray[np.int64], at: pd.Timestamp) -> None:
        """Make labels known at ``at``, unless they were known before."""
        earlier = self.known_at.iloc[rows]
        self.known_at.iloc[rows] = earlier.where(earlier < at, at)

    def relabel(self, day: date) -> None:
        """Build the label-based features of a day anew, with what is known by now."""
        where = self.rows(day, day)
        since = self.start_of(day - (features.LABEL_WINDOW_DAYS + 1) * ONE_DAY)
        known = (self.known_at >= since) & (self.known_at < self.start_of(day + ONE_DAY))
        built = self.features.iloc[where].drop(columns="day").reset_index(drop=True)
        relabelled = features.relabel(built, self._label_events(np.flatnonzero(known.to_numpy())))
        columns = list(FEATURE_COLUMNS)
        self.features.loc[self.features.index[where], columns] = relabelled[columns].to_numpy()

    def _label_events(self, rows: NDArray[np.int64]) -> pd.DataFrame:
        events = self._events.iloc[rows].assign(label_known_at=self.known_at.iloc[rows].to_numpy())
        events["label_known_at"] = self.known_at.iloc[rows].array
        if hasattr(self, "features"):
            events["user_amount_zscore_90d"] = self.features["user_amount_zscore_90d"].to_numpy()[rows]
        return events[events["label_known_at"].notna()].reset_index(drop=True)


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
    on_round: Callable[[BacktestRound], None] | None = None,
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
    on_round : callable, optional
        Called before each round.

    Yields
    ------
    RoundResult
    """
    previous: Mapping[str, Calibration] = {}
    for each in rounds:
        if on_round is not None:
            on_round(each)
        fitted = _Frozen.of(history, each, config, previous)
        if review_capacity is None:
            where = history.rows(each.test_from, each.test_to)
            reviewed, scores = np.empty(0, dtype=np.int64), fitted.score(history.features.iloc[where])
        else:
            reviewed, scores = _closed_loop(history, each, fitted, review_capacity)
        previous = fitted.calibrations
        yield _result(history, each, fitted, scores, reviewed)


@dataclass(frozen=True)
class _Frozen:
    """Everything a round froze before its first test day."""

    label_free: Mapping[str, FittedDetector]
    feedback: Mapping[str, FittedDetector]
    baselines: Mapping[str, baselines.Scorer]
    config: TrainingConfig
    calibrations: Mapping[str, Calibration]
    mode: str

    @classmethod
    def of(
        cls, history: LabelledHistory, each: BacktestRound, config: TrainingConfig, previous: Mapping[str, Calibration]
    ) -> Self:
        windows = each.windows
        train = history.labelled(windows.train_from, windows.train_to, windows.as_of)
        window = history.labelled(windows.calibrate_from, windows.calibrate_to, windows.as_of)
        label_free = {name: training.fit_label_free(name, train, config) for name in training.LABEL_FREE}
        feedback = training.fit_feedback(train, label_free, config)
        plain, logistic = baselines.fit_plain_blend(train, config), baselines.fit_logistic_regression(train, config)
        others = {"plain_blend": plain} | ({} if logistic is None else {"logistic_regression": logistic})
        fitted = cls(label_free, feedback, others, config, {}, "ensemble")
        scores = fitted.score(window)
        choice = training.choose(window, scores, label_free, config, previous=previous.get("champion"))
        calibrations = {"champion": choice.calibration}
        labelled = window[window["is_fraud"].notna()].astype({"is_fraud": bool})
        for name in scores if labelled["is_fraud"].any() else ():
            if name in MODELS:
                scored = labelled.assign(anomaly_score=scores[name][window["is_fraud"].notna()])
                calibrations[name] = calibration.fit_threshold(
                    scored, **config.threshold, previous=previous.get(name), resamples=20, seed=config.seed
                )
        return replace(fitted, calibrations=calibrations, mode=choice.mode)

    def score(self, rows: pd.DataFrame) -> dict[str, Floats]:
        """Score every model and, once it is chosen, the champion."""
        scores = training.score_all(rows, self.label_free, self.feedback, self.config)
        if "feedback" in scores:
            scores["feedback_classifier"] = scores["feedback"]
        scores |= {name: score(rows) for name, score in self.baselines.items()}
        return scores | ({"champion": scores[self.mode]} if self.calibrations else {})


def _closed_loop(
    history: LabelledHistory, each: BacktestRound, fitted: _Frozen, review_capacity: int
) -> tuple[NDArray[np.int64], dict[str, Floats]]:
    """Score day by day; each day's best alerts are known from the next day on."""
    parts: list[dict[str, Floats]] = []
    reviewed = [np.empty(0, dtype=np.int64)]
    threshold = fitted.calibrations["champion"].threshold
    for number in range((each.test_to - each.test_from).days + 1):
        day = each.test_from + number * ONE_DAY
        where = history.rows(day, day)
        if where.start == where.stop:
            continue
        history.relabel(day)
        scores = fitted.score(history.features.iloc[where])
        parts.append(scores)
        ranked = np.argsort(-scores["champion"], kind="stable")[:review_capacity]
        alerts = where.start + ranked[scores["champion"][ranked] >= threshold]
        history.learn(alerts, history.start_of(day + ONE_DAY))
        reviewed.append(alerts)
    scored = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    return np.concatenate(reviewed), scored


def _result(
    history: LabelledHistory,
    each: BacktestRound,
    fitted: _Frozen,
    scores: Mapping[str, Floats],
    reviewed: NDArray[np.int64],
) -> RoundResult:
    where = history.rows(each.test_from, each.test_to)
    if where.start == where.stop:
        raise TrainingError(
            f"there are no transactions from {each.test_from} to {each.test_to}; choose days that the source has."
        )
    keys = history.features.iloc[where][["day", "user_id", "amount"]].reset_index(drop=True)
    keys = keys.assign(is_fraud=history.is_fraud[where], scenario=pd.Series(history.scenario[where], dtype="str"))
    scored = {
        name: keys.assign(score=scores[name], is_alert=scores[name] >= fitted.calibrations[name].threshold)
        for name in MODELS
        if name in scores and name in fitted.calibrations
    }
    frauds = int(history.is_fraud[reviewed].sum())
    return RoundResult(scored, fitted.calibrations, fitted.mode, len(reviewed), frauds)
