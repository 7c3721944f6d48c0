"""One row of features a transaction."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import dagster as dg
import numpy as np
import pandas as pd

from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import transaction_features as features_table
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.core import entity_risk, features, labels
from fraud_pipeline.core.schema import ACTIVITY_COLUMNS
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.partitions import TrailingDays, days_of, neighbouring
from fraud_pipeline.orchestration.reports import DayReports
from fraud_pipeline.settings import Settings

BATCH_DAYS = 14
"""So many days of a range are built in one call, which gives the same rows with fewer look-backs."""


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``transaction_features``."""
    baseline_days = settings.baseline_days

    @daily_asset(
        settings,
        group_name="features",
        kinds={"parquet", "postgres"},
        deps=["validated_transactions", "user_daily_activity", "fraud_labels"],
    )
    def transaction_features(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], database: dg.ResourceParam[Database]
    ) -> None:
        """The features of each transaction, from events before it and labels known before it."""
        reports = DayReports(context, "transaction_features")
        batches = list(batches_of(days_of(context)))
        builder = FeatureBuilder(lake, settings.time_zone, baseline_days, max(map(len, batches)))

        for days in batches:
            rows = [lake.read("validated_transactions", day) for day in days]
            built = builder.build(days, rows)
            ends = np.cumsum([len(part) for part in rows])
            found = lake.days("user_daily_activity")
            for day, end, part in zip(days, ends, rows, strict=True):
                own = built.iloc[end - len(part) : end].reset_index(drop=True)
                lake.write("transaction_features", day, own)
                replace_day(database, features_table, day, own, run_id=context.run.run_id, asset="transaction_features")
                days_found = sum(day - timedelta(days=back + 1) in found for back in range(baseline_days))
                reports.add(day, own, {"days_found": days_found, "days_missing": baseline_days - days_found})

    return [transaction_features]


def batches_of(days: Sequence[date]) -> Iterator[list[date]]:
    """Cut the days of a run into batches of neighbouring days."""
    for stretch in neighbouring(days):
        for start in range(0, len(stretch), BATCH_DAYS):
            yield stretch[start : start + BATCH_DAYS]


class FeatureBuilder:
    """Builds the features of days from what the lake holds of them and of the days before, while a run walks forward.

    Parameters
    ----------
    lake : Lake
    time_zone : str
        That of partition days.
    baseline_days : int
        Days before a transaction's own that its user's baseline covers.
    longest : int
        Most days that are built in one call.
    """

    def __init__(self, lake: Lake, time_zone: str, baseline_days: int, longest: int = 1) -> None:
        self._time_zone = time_zone
        self._baseline_days = baseline_days
        self._activity = TrailingDays(lake, "user_daily_activity", baseline_days, ACTIVITY_COLUMNS)
        self._recent = TrailingDays(
            lake, "validated_transactions", features.RECENT_CALENDAR_DAYS, features.RECENT_COLUMNS
        )
        window = features.LABEL_CALENDAR_DAYS + longest
        self._known = TrailingDays(lake, "fraud_labels", window, labels.EVENT_COLUMNS)
        self._zscores = FraudZScores(lake, time_zone)

    def build(self, days: Sequence[date], rows: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Build the features of the transactions of neighbouring days, one frame of rows a day."""
        daily, _ = self._activity.before(days[0])
        earlier, _ = self._recent.before(days[0])
        events, _ = self._known.through(days[-1])
        nothing = features.no_history()
        return features.build(
            pd.concat(rows, ignore_index=True),
            features.History(
                nothing.activity if daily is None else daily, nothing.recent if earlier is None else earlier
            ),
            self._zscores.join(labels.changes(labels.no_labels() if events is None else events), days[0]),
            time_zone=self._time_zone,
            baseline_days=self._baseline_days,
        )


class FraudZScores:
    """How unusual the amounts of frauds were when they happened, looked up in the lake once a run.

    Parameters
    ----------
    lake : Lake
    time_zone : str
        That of partition days.
    """

    def __init__(self, lake: Lake, time_zone: str) -> None:
        self._lake = lake
        self._time_zone = time_zone
        self._known = pd.Series(dtype=np.float64, index=pd.Index([], dtype="str"))

    def join(self, events: pd.DataFrame, before: date) -> pd.DataFrame:
        """Add the z-scores of transactions before a day to the fraud labels among the events.

        It stays missing where the transaction's day has no features yet, and for the rest of the events.
        """
        frauds = events.loc[events["is_fraud"], ["transaction_id", "event_time"]]
        day = frauds["event_time"].dt.tz_convert(self._time_zone).dt.date
        new = frauds[(day < before) & (self._known.index.get_indexer(pd.Index(frauds["transaction_id"])) < 0)]
        columns = ["transaction_id", entity_risk.ZSCORE]
        for rows in self._lake.read_days("transaction_features", sorted(set(day[new.index])), columns).values():
            found = rows.set_index("transaction_id")[entity_risk.ZSCORE]
            hits = found.index.get_indexer(pd.Index(new["transaction_id"].unique()))
            self._known = pd.concat([self._known, found.iloc[hits[hits >= 0]]])
        zscore = self._known.reindex(frauds["transaction_id"]).set_axis(frauds.index)
        return events.assign(**{entity_risk.ZSCORE: zscore.reindex(events.index)})
