"""How well a score puts frauds above genuine transactions, on a window or on any resampling of its days.

Only a threshold at the score of a fraud can be the best of those with its recall. So counts of each day at
these few scores give every figure exactly, however often a day counts, without sorting the rows again.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core.detectors.base import Floats

FALSE_POSITIVE_RATES: Final = (0.01, 0.123)
RECALLS: Final = (0.85, 0.906)

RANK_FIGURES: Final = (
    "roc_auc",
    "average_precision",
    *(f"recall_at_fpr_{rate}" for rate in FALSE_POSITIVE_RATES),
    *(f"fpr_at_recall_{recall}" for recall in RECALLS),
)


@dataclass(frozen=True)
class Ranking:
    """What each day has at and above each distinct score of a fraud, the highest first.

    Parameters
    ----------
    found : float64, shape (days, steps)
        Frauds with exactly this score.
    false : float64, shape (days, steps)
        Genuine transactions with this score or a higher one.
    false_above : float64, shape (days, steps)
        Genuine transactions with a higher score.
    genuine : float64, shape (days,)
    """

    found: Floats
    false: Floats
    false_above: Floats
    genuine: Floats

    @classmethod
    def of(cls, scores: Floats, is_fraud: NDArray[np.bool_], day: NDArray[np.int64], days: int) -> Self:
        """Count.

        Parameters
        ----------
        scores : float64, shape (n,)
            HIGHER = MORE ANOMALOUS; no NaN.
        is_fraud : bool, shape (n,)
        day : int64, shape (n,)
            From 0 to ``days - 1``.
        days : int
        """
        steps = np.unique(scores[is_fraud])[::-1]
        found, false, false_above = (np.zeros((days, len(steps))) for _ in range(3))
        np.add.at(found, (day[is_fraud], np.searchsorted(-steps, -scores[is_fraud])), 1.0)
        for each in range(days):
            genuine = np.sort(scores[(day == each) & ~is_fraud])
            false[each] = len(genuine) - np.searchsorted(genuine, steps, side="left")
            false_above[each] = len(genuine) - np.searchsorted(genuine, steps, side="right")
        return cls(found, false, false_above, np.bincount(day[~is_fraud], minlength=days).astype(np.float64))

    def figures(self, weights: Floats) -> dict[str, float]:
        """Compute ``RANK_FIGURES``.

        Parameters
        ----------
        weights : float64, shape (days,)
            How often each day counts.

        Returns
        -------
        dict of str to float
            ``roc_auc`` and ``average_precision`` as in scikit-learn with the rows' days as sample weights;
            ``recall_at_fpr_<x>``, the highest recall of a threshold whose false-positive rate is at most x;
            ``fpr_at_recall_<r>``, the lowest false-positive rate of a threshold whose recall is at least r.
            Rows of one score are on the same side of any threshold. NaN where a class is missing that a figure needs.
        """
        figures = dict.fromkeys(RANK_FIGURES, np.nan)
        found, false = weights @ self.found, weights @ self.false
        frauds, genuine = found.sum(), weights @ self.genuine
        if frauds == 0:
            return figures
        hits = found.cumsum()
        # At a score of nothing but days that do not count there may be no row at all.
        figures["average_precision"] = float((found * hits / np.maximum(hits + false, 1.0)).sum() / frauds)
        if genuine == 0:
            return figures
        below = genuine - (false + weights @ self.false_above) / 2
        figures["roc_auc"] = float((found * below).sum() / (frauds * genuine))
        recall, false_rate = hits / frauds, false / genuine
        for rate in FALSE_POSITIVE_RATES:
            within = np.searchsorted(false_rate, rate, side="right")
            figures[f"recall_at_fpr_{rate}"] = float(recall[within - 1]) if within else 0.0
        for target in RECALLS:
            figures[f"fpr_at_recall_{target}"] = float(false_rate[np.searchsorted(recall, target)])
        return figures

    def curve(self, points: int) -> pd.DataFrame:
        """Follow recall, precision and false-positive rate from the strictest threshold to the laxest.

        Parameters
        ----------
        points : int

        Returns
        -------
        DataFrame
            ``recall``, ``precision``, ``false_positive_rate``; row i of ``points`` is the threshold of the lowest
            recall that is at least ``(i + 1) / points``, so that equal rows of several curves can be averaged.
            No rows without a fraud; the false-positive rate is NaN without a genuine transaction.
        """
        hits, false, genuine = self.found.sum(axis=0).cumsum(), self.false.sum(axis=0), self.genuine.sum()
        recall = hits / hits[-1] if len(hits) else hits
        # The divisions round alike where both are the same share: 1 of 10 and 20 of 200.
        wanted = np.arange(1, points + 1) / points if len(hits) else np.empty(0)
        chosen = np.searchsorted(recall, wanted)
        return pd.DataFrame(
            {
                "recall": recall[chosen],
                "precision": hits[chosen] / (hits + false)[chosen],
                "false_positive_rate": false[chosen] / (genuine or np.nan),
            }
        )


def card_precisions(
    scores: Floats,
    is_fraud: NDArray[np.bool_],
    card: NDArray[np.int64],
    day: NDArray[np.int64],
    k: int,
    *,
    remove_found: bool = False,
) -> Floats:
    """Card precision of each day: how much of an investigator's list of ``k`` cards is right.

    As "card precision top-k" in Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for
    Credit Card Fraud Detection - Practical Handbook" (2022), chapter 4: cards rank by their highest score of the
    day. Unlike there, each day stands for itself unless ``remove_found`` says otherwise.

    Parameters
    ----------
    scores : float64, shape (n,)
        HIGHER = MORE ANOMALOUS.
    is_fraud : bool, shape (n,)
    card : int64, shape (n,)
        From 0; of cards with equal scores the lower number is first.
    day : int64, shape (n,)
        From 0 in the order of time, without gaps.
    k : int
    remove_found : bool
        Whether a card that was found counts as blocked and is left out of the lists of all later days, as the
        Handbook has it. Figures are then lower, since the easiest cards count once: .47 against .66 on its public
        sample.

    Returns
    -------
    float64, shape (days,)
        Cards on the list with a fraud that day, over ``k``.
    """
    rows = pd.DataFrame({"day": day, "card": card, "score": scores, "is_fraud": is_fraud})
    cards = rows.groupby(["day", "card"], as_index=False).max().sort_values("score", ascending=False, kind="stable")
    found: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    precisions = []
    for _, of_day in cards.groupby("day"):
        listed = of_day[~of_day["card"].isin(found)].head(k)
        right = listed.loc[listed["is_fraud"], "card"].to_numpy()
        precisions.append(len(right) / k)
        if remove_found:
            found = np.append(found, right)
    return np.array(precisions, dtype=np.float64)
