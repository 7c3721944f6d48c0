"""All days of a source with their features, the truth about them, and when each label becomes known."""

from copy import copy
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraud_pipeline.core import features
from fraud_pipeline.core.errors import TrainingError
from fraud_pipeline.core.schema import EVENT_KEYS, FEATURE_COLUMNS, TIME_DTYPE
from fraud_pipeline.core.splits import ONE_DAY


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
        keys = transactions[list(EVENT_KEYS)]
        joined = keys.merge(truth.drop_duplicates("transaction_id"), on="transaction_id", how="left")
        self._time_zone = time_zone
        self.is_fraud: NDArray[np.bool_] = joined["is_fraud"].eq(True).to_numpy(dtype=bool)
        self.known_at = joined["label_known_at"].astype(TIME_DTYPE).reset_index(drop=True)
        scenario = joined["scenario"] if "scenario" in joined else pd.Series("", index=joined.index, dtype="str")
        self.scenario = scenario.fillna("").astype("str").to_numpy(dtype=object)
        local = transactions["event_time"].dt.tz_convert(time_zone).dt.tz_localize(None)
        self._day = local.to_numpy().astype("datetime64[D]")
        self._events = joined[list(EVENT_KEYS)].assign(is_fraud=self.is_fraud)
        self.features = features.build(
            transactions,
            features.no_history(),
            self._label_events(np.arange(len(joined))),
            time_zone=time_zone,
            baseline_days=baseline_days,
        )
        # They depend on no label, so they hold whatever becomes known when.
        self._events["user_amount_zscore_90d"] = self.features["user_amount_zscore_90d"]
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
        events = self._events.iloc[rows].assign(label_known_at=self.known_at.iloc[rows])
        return events[events["label_known_at"].notna()].reset_index(drop=True)
