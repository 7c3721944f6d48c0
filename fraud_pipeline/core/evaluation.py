"""The figures of a backtest: one model on one test window, and several windows and seeds in one estimate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.operating_point import Estimate, Window
from fraud_pipeline.core.ranking import RANK_FIGURES, Ranking, card_precisions

CARDS: Final = 100
CARD_PRECISION: Final = f"card_precision_at_{CARDS}"
FIGURES: Final = (
    "recall",
    "false_positive_rate",
    "precision",
    *RANK_FIGURES,
    CARD_PRECISION,
    "alerts_per_day",
    "value_recall",
)
"""Names of the figures, in the order in which reports show them."""

UNKNOWN_SCENARIO: Final = "unknown"


@dataclass(frozen=True)
class Figures:
    """The figures of one model on one test window.

    Parameters
    ----------
    value : dict of str to float
        Each of ``FIGURES``; NaN where it has no denominator.
    spread : dict of str to float64, shape (resamples,)
        The same figure on each bootstrap sample of whole days.
    totals : float64, shape (1 + resamples, 7)
        What the decisions' figures are shares of, so that windows can be pooled: hits, alerts, frauds, rows, fraud
        money alerted on, fraud money, days. The first row is the window itself, the others are the samples.
    """

    value: dict[str, float]
    spread: dict[str, Floats]
    totals: Floats


@dataclass(frozen=True)
class BacktestReport:
    """What a backtest leaves.

    Parameters
    ----------
    protocol : dict
        What was tested and how; JSON-able.
    models : dict of str to dict of str to Estimate
        By model and figure, over all rounds and seeds.
    weeks : DataFrame
        ``round``, ``test_from``, ``test_to``, ``seed``, ``model`` and each of ``FIGURES``.
    scenarios : DataFrame
        ``model`` and the columns of ``by_scenario``; no rows if no scenario is known.
    curves : dict of str to DataFrame
        By model; columns of ``curve``.
    volumes : DataFrame
        ``day``, ``model``, ``alerts``, ``frauds``.
    warnings : list of str
        What a reader has to know before trusting the figures.
    """

    protocol: dict[str, Any]
    models: dict[str, dict[str, Estimate]]
    weeks: pd.DataFrame
    scenarios: pd.DataFrame
    curves: dict[str, pd.DataFrame]
    volumes: pd.DataFrame
    warnings: list[str]


def evaluate(scored: pd.DataFrame, *, resamples: int = 200, seed: int = 0, remove_found: bool = False) -> Figures:
    """Compute all figures of one model on one test window.

    Parameters
    ----------
    scored : DataFrame
        One row a transaction: ``day`` (date or ISO text), ``user_id``, ``amount`` (money; of refunds the absolute
        value counts), ``is_fraud``, ``score`` (HIGHER = MORE ANOMALOUS, no NaN) and ``is_alert``.
    resamples : int
        Bootstrap samples of whole days, since what happens on a day hangs together; at least one.
    seed : int
        Of the samples. The same seed draws the same days of a window for every model, so that models can be
        compared sample by sample, and draws independently in windows with different first days.
    remove_found : bool
        Whether cards that were found leave the card precision's lists of later days, which lowers it;
        see :func:`~fraud_pipeline.core.ranking.card_precisions`.

    Returns
    -------
    Figures
    """
    day, days = pd.factorize(scored["day"], sort=True)
    card, _ = pd.factorize(scored["user_id"], sort=True)
    scores = scored["score"].to_numpy(dtype=np.float64)
    is_fraud = scored["is_fraud"].to_numpy(dtype=bool)
    weights = np.vstack([np.ones(len(days)), _drawn(Window(scores, day, len(days)), days, resamples, seed)])

    ranking = Ranking.of(scores, is_fraud, day, len(days))
    ranked = [ranking.figures(each) for each in weights]
    figures = {name: np.array([each[name] for each in ranked]) for name in RANK_FIGURES}
    totals = weights @ _per_day(scored, day, len(days))
    figures |= _decision_figures(totals)
    precisions = card_precisions(scores, is_fraud, card, day, CARDS, remove_found=remove_found)
    figures[CARD_PRECISION] = _divide(weights @ precisions, totals[:, -1])
    return Figures(
        value={name: float(figures[name][0]) for name in FIGURES},
        spread={name: figures[name][1:] for name in FIGURES},
        totals=totals,
    )


def combine(rounds: Sequence[Sequence[Figures]]) -> dict[str, Estimate]:
    """Put the figures of one model over several windows and seeds into one estimate each.

    Decisions of different weeks add up: recall, false-positive rate, precision, share of the money and alerts a
    day are those of all windows together. Scores of different weeks' models cannot be compared: the
    figures of a ranking are means over the windows in which they exist. Over the seeds the value is the
    mean, and the interval is taken from the samples of all seeds, so that it holds the noise of both.

    Parameters
    ----------
    rounds : sequence of sequences of Figures
        For each seed the same windows; at least one of each, all with the same number of resamples.

    Returns
    -------
    dict of str to Estimate
        By each of ``FIGURES``.
    """
    seeds = [_over_rounds(windows) for windows in rounds]
    estimates = {}
    for name in FIGURES:
        of_seeds = np.stack([seed[name] for seed in seeds])
        estimates[name] = Estimate.of(float(_known_mean(of_seeds[:, :1])[0]), of_seeds[:, 1:].ravel())
    return estimates


def by_scenario(scored: pd.DataFrame) -> pd.DataFrame:
    """Recall of each kind of fraud.

    Parameters
    ----------
    scored : DataFrame
        ``amount``, ``is_fraud``, ``is_alert`` and, if known, ``scenario`` of one or more windows.

    Returns
    -------
    DataFrame
        ``scenario``, ``frauds``, ``recall`` and ``value_recall``, the share of the money; a fraud of no scenario is
        of ``"unknown"``. No rows if there is no column ``scenario`` or no fraud.
    """
    frauds = scored[scored["is_fraud"].to_numpy(dtype=bool)]
    if "scenario" not in scored:
        frauds = frauds.head(0).assign(scenario="")
    scenario = frauds["scenario"].fillna("").replace("", UNKNOWN_SCENARIO)
    money, alerted = frauds["amount"].abs(), frauds["is_alert"].astype(np.float64)
    rows = pd.DataFrame({"scenario": scenario, "frauds": 1, "hits": alerted, "money": money, "found": money * alerted})
    sums = rows.groupby("scenario", as_index=False).sum()
    sums["recall"] = sums["hits"] / sums["frauds"]
    sums["value_recall"] = _divide(sums["found"].to_numpy(), sums["money"].to_numpy())
    return sums[["scenario", "frauds", "recall", "value_recall"]]


def curve(scored: pd.DataFrame, points: int = 200) -> pd.DataFrame:
    """Follow recall, precision and false-positive rate of one window over the thresholds.

    Parameters
    ----------
    scored : DataFrame
        ``score`` (HIGHER = MORE ANOMALOUS) and ``is_fraud``.
    points : int

    Returns
    -------
    DataFrame
        As ``Ranking.curve``.
    """
    is_fraud = scored["is_fraud"].to_numpy(dtype=bool)
    day = np.zeros(len(scored), dtype=np.int64)
    return Ranking.of(scored["score"].to_numpy(dtype=np.float64), is_fraud, day, 1).curve(points)


def mean_curve(curves: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the curves of several windows and seeds at equal recall.

    Vertical averaging (Fawcett, "An introduction to ROC analysis", 2006, section 8.1): the scores of different
    models have no common thresholds.

    Parameters
    ----------
    curves : sequence of DataFrame
        Of ``curve`` with the same number of points, at least one; those without rows do not count.
    """
    return pd.concat(curves).groupby(level=0).mean()


def _drawn(window: Window, days: pd.Index, resamples: int, seed: int) -> Floats:
    if not window.days:
        return np.zeros((resamples, 0))
    of_window = np.random.SeedSequence((seed, pd.Timestamp(days[0]).toordinal())).generate_state(1)
    return window.resample(resamples, int(of_window[0]))


def _per_day(scored: pd.DataFrame, day: np.ndarray, days: int) -> Floats:
    """Count what ``Figures.totals`` holds, for each day."""
    is_fraud, is_alert = scored["is_fraud"].to_numpy(dtype=bool), scored["is_alert"].to_numpy(dtype=bool)
    money = np.abs(scored["amount"].to_numpy(dtype=np.float64)) * is_fraud
    counted = (is_alert & is_fraud, is_alert, is_fraud, np.ones(len(scored)), money * is_alert, money)
    sums = [np.bincount(day, weights=each, minlength=days) for each in counted]
    return np.column_stack([*sums, np.ones(days)])


def _decision_figures(totals: Floats) -> dict[str, Floats]:
    hits, alerts, frauds, rows, money_found, money, days = totals.T
    return {
        "recall": _divide(hits, frauds),
        "false_positive_rate": _divide(alerts - hits, rows - frauds),
        "precision": _divide(hits, alerts),
        "value_recall": _divide(money_found, money),
        "alerts_per_day": _divide(alerts, days),
    }


def _over_rounds(windows: Sequence[Figures]) -> dict[str, Floats]:
    """Value and spread of each figure over the windows of one seed, as one array of 1 + resamples."""
    means = {
        name: _known_mean(np.stack([np.append(window.value[name], window.spread[name]) for window in windows]))
        for name in FIGURES
    }
    return means | _decision_figures(np.sum([window.totals for window in windows], axis=0))


def _known_mean(values: Floats) -> Floats:
    """Mean over the first axis of what is not NaN; NaN if nothing is."""
    known = ~np.isnan(values)
    return _divide(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def _divide(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN where ``whole`` is 0."""
    shares: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
    return shares
