"""Figures about a day's data, each judged against a limit; who loads the rows and tells people is elsewhere.

A finding says in figures what was measured, with the limit beside it. Where there is
nothing to compare with, for example no earlier week, it passes and says why.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import median
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core import drift as core_drift
from fraud_pipeline.core import transactions as core_transactions
from fraud_pipeline.core.days import DAY, wall_clock
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import TRANSACTION_FIELDS

VOLUME_WEEKS: Final = 4
"""Same weekdays before a day that its volume is compared with."""
DUPLICATE_DAYS: Final = 7
"""Days before a day in which its identities are looked for."""

_CHANCE_DEVIATIONS: Final = 3.0
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()

Figure = int | float | str


@dataclass(frozen=True)
class Finding:
    """What a check found on one day.

    Parameters
    ----------
    passed : bool
    figures : mapping of str to int, float or str
        The figure that was judged first, then its limit and what explains it.
    """

    passed: bool
    figures: Mapping[str, Figure] = field(default_factory=dict)


def nothing_to_judge(reason: str) -> Finding:
    """Pass, and say why nothing was measured."""
    return Finding(True, {"reason": reason})


def schema(transactions: pd.DataFrame) -> Finding:
    """Hold valid transactions against their schema: columns, types, values, unique identities, order."""
    try:
        core_transactions.check(transactions)
    except InvalidDataError as error:
        return Finding(False, {"rows": len(transactions), "problem": " ".join(str(error).split())[:1000]})
    return Finding(True, {"rows": len(transactions)})


def duplicates(ids: pd.Series, earlier: pd.Series | None, max_rate: float) -> Finding:
    """Measure the share of rows whose identity is taken.

    Parameters
    ----------
    ids : Series of str
        ``transaction_id`` of every row as received; missing ones are no duplicates of each other.
    earlier : Series of str or None
        Identities of the valid transactions of the `DUPLICATE_DAYS` days before; None if there are none.
    max_rate : float
        Largest share.
    """
    known = ids.dropna()
    within = known.duplicated()
    across = pd.Series(False if earlier is None else _are_in(known, earlier), index=known.index)
    rate = _share(int((within | across).sum()), len(ids))
    return Finding(
        rate <= max_rate,
        {
            "duplicate_rate": rate,
            "limit": max_rate,
            "within_the_day": int(within.sum()),
            "of_days_before": int(across.sum()),
        },
    )


def volume(rows: int, earlier: Sequence[int], max_change: float) -> Finding:
    """Compare the rows of a day with the median of the same weekdays before.

    Parameters
    ----------
    rows : int
        As received.
    earlier : sequence of int
        Rows of the same weekday in up to `VOLUME_WEEKS` weeks before; weeks without a file are left out.
    max_change : float
        Factor, at least 1, by which the day may be larger or smaller.
    """
    if not rows:
        return Finding(False, {"rows": 0, "reason": "the files of the day hold no row"})
    usual = median(earlier) if earlier else 0
    if not usual:
        return Finding(True, {"rows": rows, "reason": "no earlier week to compare with"})
    ratio = rows / usual
    return Finding(
        1 / max_change <= ratio <= max_change,
        {"ratio": ratio, "limit": max_change, "rows": rows, "usual": float(usual), "weeks": len(earlier)},
    )


def reject_rate(rejected: int, rows: int, max_rate: float) -> Finding:
    """Measure the share of rows that cannot be used.

    Parameters
    ----------
    rejected, rows : int
        Of the day, as rejected and as received.
    max_rate : float
        Largest share.
    """
    rate = _share(rejected, rows)
    return Finding(rate <= max_rate, {"reject_rate": rate, "limit": max_rate, "rejected": rejected, "rows": rows})


def late_rows(raw: pd.DataFrame, day: date, time_zone: str, max_rate: float) -> Finding:
    """Measure the share of rows that are of an earlier day than their file.

    Parameters
    ----------
    raw : DataFrame
        ``event_time`` and ``time_zone`` of every row as received.
    day : date
        The partition day.
    time_zone : str
        IANA zone of partition days.
    max_rate : float
        Largest share.
    """
    times = core_transactions.parse_times(raw["event_time"], raw["time_zone"]).dropna()
    ages = (day.toordinal() - _EPOCH_DAY) - wall_clock(times, time_zone) // DAY
    late = ages[ages > 0]
    rate = _share(len(late), len(raw))
    oldest = int(late.max()) if len(late) else 0
    return Finding(
        rate <= max_rate,
        {
            "late_rate": rate,
            "limit": max_rate,
            "rows": len(late),
            "oldest_days": oldest,
            "early": int((ages < 0).sum()),
        },
    )


def null_rates(raw: pd.DataFrame, max_rate: float) -> Finding:
    """Measure the share of empty cells of the field that has most of them.

    Parameters
    ----------
    raw : DataFrame
        `TRANSACTION_FIELDS` as received; a cell of blanks is empty.
    max_rate : float
        Largest share.
    """
    rates = {
        name: _share(int((raw[name].isna() | (raw[name].str.strip() == "")).sum()), len(raw))
        for name in TRANSACTION_FIELDS
    }
    worst = max(rates, key=lambda name: rates[name])
    return Finding(rates[worst] <= max_rate, {"null_rate": rates[worst], "limit": max_rate, "field": worst, **rates})


def feature_drift(report: pd.DataFrame, max_share: float) -> Finding:
    """Measure the share of compared features whose distribution has moved far.

    Parameters
    ----------
    report : DataFrame
        Rows of a drift report (``drift.REPORT_COLUMNS``).
    max_share : float
        Share of major features that is too large.
    """
    features = report[(report["name"] != core_drift.SCORE) & report["psi"].notna()]
    if features.empty:
        return nothing_to_judge("no feature was compared")
    major = features.loc[features["level"] == "major", "name"].tolist()
    worst = features.sort_values("psi").iloc[-1]
    share = _share(len(major), len(features))
    figures: dict[str, Figure] = {"drifted_share": share, "limit": max_share, "drifted": ", ".join(major)}
    return Finding(
        not major or share < max_share, figures | {"worst": str(worst["name"]), "worst_psi": float(worst["psi"])}
    )


def score_drift(report: pd.DataFrame, max_psi: float) -> Finding:
    """Judge the population stability index of the score in a drift report; parameters as for `feature_drift`."""
    score = report[report["name"] == core_drift.SCORE]
    if score.empty:
        return nothing_to_judge("no score was compared")
    psi, level = float(score["psi"].iloc[0]), str(score["level"].iloc[0])
    return Finding(
        level != "major", {"psi": psi, "limit": max_psi, "level": level, "chance": float(score["chance"].iloc[0])}
    )


def alert_rate(alerts: int, expected: float, max_change: float, budget: float | None = None) -> Finding:
    """Judge the alerts of a day by what the threshold was calibrated to.

    The band is wider than the factor by what chance does to a count: three standard deviations of a
    Poisson variable, so that a quiet deployment with 4 alerts a day is not told of every 0 and every 9.

    Parameters
    ----------
    alerts : int
        Of the day.
    expected : float
        Alerts a day at calibration, 0 or more.
    max_change : float
        Factor, at least 1.
    budget : float, optional
        Most alerts a day that analysts can take; its upper end of the band counts as well.
    """
    lowest, highest = expected / max_change, expected * max_change
    if budget is not None:
        highest = min(highest, budget)
    low = max(0.0, lowest - _CHANCE_DEVIATIONS * math.sqrt(lowest))
    high = highest + _CHANCE_DEVIATIONS * math.sqrt(highest)
    return Finding(low <= alerts <= high, {"alerts": alerts, "lowest": low, "highest": high, "expected": expected})


def model_age(day: date, as_of: date, max_days: int) -> Finding:
    """Count the days from the last labels a model knows to a day it scored; a model of later is 0 days old."""
    age = max(0, (day - as_of).days)
    return Finding(age <= max_days, {"age_days": age, "limit": max_days, "as_of": as_of.isoformat()})


def label_coverage(due: pd.Series, labelled: pd.Series, min_share: float) -> Finding:
    """Measure how many of the transactions that are old enough have a label.

    Parameters
    ----------
    due : Series of str
        ``transaction_id`` of the transactions that have just matured.
    labelled : Series of str
        Of all labels known by now.
    min_share : float
        Smallest share.
    """
    if not len(due):
        return nothing_to_judge("no transaction has matured on this day")
    found = int(_are_in(due, labelled).sum())
    share = _share(found, len(due))
    return Finding(share >= min_share, {"coverage": share, "limit": min_share, "due": len(due), "labelled": found})


def _are_in(values: pd.Series, known: pd.Series) -> NDArray[np.bool_]:
    # Not Series.isin, which goes through Python strings: 20 times slower.
    found: NDArray[np.bool_] = pd.Index(known.unique()).get_indexer(pd.Index(values)) >= 0
    return found


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
