"""How far features, scores and alert volume have moved away from what the model was made on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.detectors.base import Floats, matrix
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.errors import InvalidDataError

MODERATE: Final = 0.1
MAJOR: Final = 0.25
"""Customary levels: Siddiqi, "Credit Risk Scorecards", Wiley 2006."""

CALENDAR_FEATURES: Final = ("day_of_week", "is_weekend")
"""Not compared. A single day has one weekday, and no window but whole weeks has all of them equally often: such a
difference is one of the calendars, not of behaviour. Hours are compared: every day has all of them."""

SCORE: Final = "anomaly_score"
REPORT_COLUMNS: Final = ("name", "psi", "chance", "level", "reference_rows", "rows")

_PSEUDO_COUNT = 0.5
_CHANCE_QUANTILE = 0.99


@dataclass(frozen=True)
class Stability:
    """A population stability index and the most that chance alone gives in 99 of 100 cases."""

    psi: float
    chance: float

    def level(self, *, moderate: float = MODERATE, major: float = MAJOR) -> str:
        """Name it ``stable``, ``moderate`` or ``major``; what chance may give is stable."""
        if self.psi < moderate or self.psi <= self.chance:
            return "stable"
        return "major" if self.psi >= major else "moderate"


@dataclass(frozen=True)
class DriftReport:
    """What has moved, and whether to train again.

    Parameters
    ----------
    rows : DataFrame
        ``REPORT_COLUMNS``, one row for the score and one a feature, the largest index first; ``level`` is stable,
        moderate or major, or ``not compared`` for ``CALENDAR_FEATURES``, whose ``psi`` and ``chance`` are NaN.
    alert_rate_change : float
        Alerts a day now over those the threshold was calibrated to; NaN if not given.
    retraining_requested : bool
    reason : str
        The verdict in words.
    """

    rows: pd.DataFrame
    alert_rate_change: float
    retraining_requested: bool
    reason: str

    @property
    def figures(self) -> dict[str, float]:
        """Flat figures by name, for metadata and metrics; unknown ones are left out."""
        known = self.rows[self.rows["psi"].notna()]
        figures: dict[str, Any] = {
            f"psi/{name}": float(psi) for name, psi in zip(known["name"], known["psi"], strict=True)
        }
        return figures | ({} if np.isnan(self.alert_rate_change) else {"alert_rate_change": self.alert_rate_change})


def stability(reference: Floats, current: Floats, *, bins: int = 10) -> Stability:
    """Compute the population stability index of two samples.

    ``sum((q - p) ln(q / p))`` over bins holding the shares ``p`` of the reference and ``q`` of the current
    sample. Bins end at the reference's quantiles, which makes the index the same under any increasing
    transformation of both. Without drift it is about ``(1/n + 1/m)`` times a chi-squared variable with one degree of
    freedom less than there are bins (Yurdakul and Naranjo, "Statistical properties of the population
    stability index", Journal of Risk Model Validation 14(4), 2020), which is what ``chance`` comes from.

    Ties stay in one bin. A value that holds several quantiles (the 0 of a count, either value of a flag) is a bin of
    its own, so that the index sees its share change; what happens among fewer rows than a bin's share beyond it is
    not seen. Each bin that either sample fills gets half a pseudo-row in both, so that an empty one stays finite.

    Parameters
    ----------
    reference, current : float64, shapes (n,) and (m,)
        Finite, in any order.
    bins : int
        At least 2.

    Returns
    -------
    Stability
        ``psi`` is 0 or more, and 0 for equal samples.

    Raises
    ------
    InvalidDataError
        If a sample is empty or holds a value that is not finite.
    """
    for name, sample in (("reference", reference), ("current", current)):
        if not len(sample) or not np.isfinite(sample).all():
            raise InvalidDataError(f"the {name} sample for a drift comparison is empty or not finite; check its days.")
    quantiles = np.quantile(reference, np.arange(1, bins) / bins, method="inverted_cdf")
    repeated = quantiles[1:][quantiles[1:] == quantiles[:-1]]
    ends = np.unique(np.concatenate([quantiles, np.nextafter(repeated, -np.inf)]))
    counts = np.stack([np.bincount(np.searchsorted(ends, s), minlength=len(ends) + 1) for s in (reference, current)])
    filled = counts[:, counts.any(axis=0)] + _PSEUDO_COUNT
    expected, found = filled / filled.sum(axis=1, keepdims=True)
    psi = float(((found - expected) * np.log(found / expected)).sum())
    return Stability(psi, _chance(filled.shape[1], 1 / len(reference) + 1 / len(current)))


def report(
    references: Mapping[str, ScoreReference],
    current: pd.DataFrame,
    *,
    score_reference: ScoreReference,
    scores: Floats,
    max_drifted_share: float,
    alerts_per_day: float | None = None,
    expected_alerts_per_day: float | None = None,
    moderate: float = MODERATE,
    major: float = MAJOR,
    max_alert_change: float = 2.0,
    bins: int = 10,
) -> DriftReport:
    """Compare what is scored now with what the model was made on, and judge whether to train again.

    Retraining is requested if any of these holds:

    - the score's index is major,
    - at least ``max_drifted_share`` of the compared features are major,
    - alerts a day are over ``max_alert_change`` times what the threshold was calibrated to, or under that part of it.

    A single feature that moved while the scores stand still is reported, no more: it may be one that
    the model hardly uses. Give ``current`` whole weeks (say the trailing 7 days), since amounts and
    hours of a Sunday are not those of a week.

    Parameters
    ----------
    references : mapping of feature to ScoreReference
        Training distribution of each feature that the model reads.
    current : DataFrame
        At least these features, n rows.
    score_reference : ScoreReference
        ``anomaly_score`` of the calibration window.
    scores : float64, shape (n,)
        ``anomaly_score`` of the rows of ``current`` by the same model.
    max_drifted_share : float
        As above, over 0 and at most 1.
    alerts_per_day, expected_alerts_per_day : float, optional
        Now, and at calibration; both, or the alert rate is not judged.
    moderate, major : float
        Lowest index of these levels.
    max_alert_change : float
        As above.
    bins : int

    Returns
    -------
    DriftReport

    Raises
    ------
    InvalidDataError
        If there are no rows, a feature is missing, or a value is not finite.
    """
    compared = [name for name in references if name not in CALENDAR_FEATURES]
    values = matrix(current, compared)
    samples = {SCORE: (score_reference.scores, scores)}
    samples |= {name: (references[name].scores, values[:, position]) for position, name in enumerate(compared)}
    found = {name: stability(reference, sample, bins=bins) for name, (reference, sample) in samples.items()}
    levels = {name: each.level(moderate=moderate, major=major) for name, each in found.items()}
    rows = [
        (name, found[name].psi, found[name].chance, levels[name], len(ref), len(s))
        for name, (ref, s) in samples.items()
    ]
    rows += [
        (name, np.nan, np.nan, "not compared", len(references[name].scores), len(current))
        for name in references
        if name in CALENDAR_FEATURES
    ]
    change = np.nan
    if alerts_per_day is not None and expected_alerts_per_day:
        change = alerts_per_day / expected_alerts_per_day
    moved = [name for name in compared if levels[name] == "major"]
    reasons = []
    if levels[SCORE] == "major":
        reasons.append(f"the scores have moved (index {found[SCORE].psi:.2f})")
    if moved and len(moved) >= max_drifted_share * len(compared):
        reasons.append(f"{len(moved)} of {len(compared)} features have moved ({', '.join(moved)})")
    if change > max_alert_change or change < 1 / max_alert_change:
        reasons.append(f"{alerts_per_day:,.1f} alerts a day where {expected_alerts_per_day:,.1f} were expected")
    return DriftReport(
        pd.DataFrame(rows, columns=list(REPORT_COLUMNS)).sort_values("psi", ascending=False, ignore_index=True),
        float(change),
        bool(reasons),
        f"train again: {'; '.join(reasons)}" if reasons else "no drift that calls for training",
    )


def _chance(filled_bins: int, scale: float) -> float:
    from scipy.stats import chi2

    return float(scale * chi2.ppf(_CHANCE_QUANTILE, filled_bins - 1)) if filled_bins > 1 else 0.0
