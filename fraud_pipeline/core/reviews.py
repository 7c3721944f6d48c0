"""A few transactions below the threshold, drawn at random for review: what they show of what is missed.

Analysts look at alerts, so their decisions say nothing of frauds that raised none, and labels from outside miss those
that nobody reports. Only a random draw from below the threshold measures recall without that bias. It is a yardstick,
not a detector: five a day find one fraud in hundreds.
"""

import hashlib
import heapq
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd

from fraud_pipeline.core import labels
from fraud_pipeline.core.errors import InvalidDataError

REASON_TEXT: Final = "Drawn at random from below the threshold, to measure what the threshold misses."
"""What the analyst reads; no reasons for the score, which would suggest an answer."""


@dataclass(frozen=True)
class RecallEstimate:
    """Recall over days, estimated with random reviews, and what it rests on.

    Parameters
    ----------
    recall, recall_low, recall_high : float
        Share of frauds that were alerted on; NaN where there are neither found nor missed ones.
    missed, missed_low, missed_high : float
        Frauds below the threshold, reported ones included.
    found : int
        Frauds among the alerts.
    reported : int
        Frauds below the threshold that a chargeback told of; part of ``missed``, and certain.
    reviewed, frauds_reviewed : int
        Decided random reviews and how many of them are frauds, without reported ones.
    below : int
        Transactions below the threshold for which the reviewed ones stand.
    days, days_left_out : int
        Days with, and days without a decided random review; the latter are not counted anywhere.
    """

    recall: float
    recall_low: float
    recall_high: float
    missed: float
    missed_low: float
    missed_high: float
    found: int
    reported: int
    reviewed: int
    frauds_reviewed: int
    below: int
    days: int
    days_left_out: int


def sample_below_threshold(scores: pd.DataFrame, day: date, size: int, seed: int) -> pd.DataFrame:
    """Draw a simple random sample of a day's transactions below the threshold.

    Each transaction has a number that depends on nothing but seed, day and ``transaction_id``; those with the smallest
    are drawn. So the order of the rows does not matter, and a re-run draws the same, as far as they are still
    below the threshold.

    Parameters
    ----------
    scores : DataFrame
        At least ``transaction_id`` and ``is_alert`` of one day.
    day : date
    size : int
        How many to draw; all, if fewer are below the threshold.
    seed : int

    Returns
    -------
    DataFrame
        The drawn rows of ``scores``, in their order.
    """
    below = scores[~scores["is_alert"]]
    key = f"{seed}|{day.isoformat()}|".encode()

    def number(transaction_id: str) -> tuple[bytes, str]:
        return hashlib.blake2b(key + transaction_id.encode(), digest_size=8).digest(), transaction_id

    drawn = heapq.nsmallest(size, below["transaction_id"], key=number)
    return below[_among(below, pd.Series(drawn, dtype="str"))].reset_index(drop=True)


def with_outcomes(scores: pd.DataFrame, drawn: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Join what became known to the scores, as :func:`estimate_recall` takes it.

    Parameters
    ----------
    scores : DataFrame
        ``day``, ``transaction_id``, ``is_alert``.
    drawn : DataFrame
        ``transaction_id`` of the random samples of these days.
    known : DataFrame
        `LABEL_COLUMNS`, all labels so far.

    Returns
    -------
    DataFrame
        ``day``, ``is_alert``, ``is_fraud`` (in force, False where nothing is known), ``is_reported`` (a chargeback says
        fraud), ``is_reviewed`` (drawn at random, and an analyst decided).
    """
    charged = labels.current(known[known["label_source"] == labels.CHARGEBACK_FILE])
    in_force = labels.current(known)
    decided = known.loc[known["label_source"] == labels.ANALYST, "transaction_id"]
    is_drawn = _among(scores, drawn["transaction_id"])
    return pd.DataFrame(
        {
            "day": scores["day"],
            "is_alert": scores["is_alert"],
            "is_fraud": _among(scores, in_force.loc[in_force["is_fraud"], "transaction_id"]),
            "is_reported": _among(scores, charged.loc[charged["is_fraud"], "transaction_id"]),
            "is_reviewed": is_drawn & _among(scores, decided),
        }
    )


def estimate_recall(scores: pd.DataFrame, confidence: float = 0.95) -> RecallEstimate:
    """Estimate recall from the frauds among the alerts, reported frauds, and the random reviews of each day.

    The missed frauds are estimated by Horvitz and Thompson ("A Generalization of Sampling Without Replacement From a
    Finite Universe", JASA 47, 1952): a reviewed fraud of a day on which ``n`` of ``N`` were drawn counts ``N / n``;
    what a chargeback reported is known without a draw and counts once. That sum is unbiased if the reviews of a day
    are a random part of what was drawn. Its interval is the gamma interval for a weighted sum of Poisson counts (Fay
    and Feuer, "Confidence Intervals for Directly Standardized Rates", Statistics in Medicine 16, 1997): conservative
    here, and of use when no fraud was found, too. Recall falls as the missed frauds rise, so its interval is theirs.

    Parameters
    ----------
    scores : DataFrame
        As from :func:`with_outcomes`. Alerts that nobody looked at count as what is known of them: decide them first.
    confidence : float
        Of the interval, between 0 and 1.

    Returns
    -------
    RecallEstimate

    Raises
    ------
    InvalidDataError
        If no random review of these days has been decided.
    """
    open_question = scores[~scores["is_alert"] & ~scores["is_reported"]]
    reviewed = open_question[open_question["is_reviewed"]]
    days = pd.DataFrame(
        {
            "below": open_question.groupby("day").size(),
            "reviewed": reviewed.groupby("day").size(),
            "frauds": reviewed.groupby("day")["is_fraud"].sum(),
        }
    ).dropna()
    if not len(days):
        raise InvalidDataError(
            "no random review of these days has been decided yet; `fraud-pipeline review queue` lists those that wait."
        )
    counted = scores[scores["day"].isin(days.index)]
    found = int((counted["is_alert"] & counted["is_fraud"]).sum())
    reported = int((~counted["is_alert"] & counted["is_reported"]).sum())
    weights, frauds = (days["below"] / days["reviewed"]).to_numpy(), days["frauds"].to_numpy(dtype=np.float64)
    unreported, low, high = _weighted_count(frauds, weights, confidence)
    # There are not more frauds than transactions, nor fewer than were seen.
    low, high = max(low, frauds.sum()), min(high, days["below"].sum())
    missed, missed_low, missed_high = (reported + part for part in (unreported, low, high))
    return RecallEstimate(
        recall=_recall(found, missed),
        recall_low=_recall(found, missed_high),
        recall_high=_recall(found, missed_low),
        missed=float(missed),
        missed_low=float(missed_low),
        missed_high=float(missed_high),
        found=found,
        reported=reported,
        reviewed=int(days["reviewed"].sum()),
        frauds_reviewed=int(frauds.sum()),
        below=int(days["below"].sum()),
        days=len(days),
        days_left_out=scores["day"].nunique() - len(days),
    )


def _weighted_count(counts: Any, weights: Any, confidence: float) -> tuple[float, float, float]:  # noqa: ANN401 - arrays
    """Weighted sum of Poisson counts and its gamma interval."""
    from scipy.stats import gamma

    value, variance, largest = (weights * counts).sum(), (weights**2 * counts).sum(), weights.max()
    tail = (1.0 - confidence) / 2.0
    low = gamma.ppf(tail, value**2 / variance, scale=variance / value) if value > 0 else 0.0
    value_above, variance_above = value + largest, variance + largest**2
    high = gamma.isf(tail, value_above**2 / variance_above, scale=variance_above / value_above)
    return float(value), float(low), float(high)


def _recall(found: float, missed: float) -> float:
    return float(found / (found + missed)) if found + missed else float("nan")


def _among(scores: pd.DataFrame, transaction_ids: pd.Series) -> pd.Series:
    positions = pd.Index(transaction_ids.unique()).get_indexer(pd.Index(scores["transaction_id"]))
    return pd.Series(positions >= 0, index=scores.index)
