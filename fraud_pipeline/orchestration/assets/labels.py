"""What became known of earlier transactions, and when."""

from datetime import UTC, date, datetime, time, timedelta

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters.database import review_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.label_repository import replace_day_labels
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandingZone, files_digest
from fraud_pipeline.core import labels
from fraud_pipeline.core.schema import EVENT_KEYS
from fraud_pipeline.core.splits import ONE_DAY
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.partitions import days_of
from fraud_pipeline.orchestration.reports import Figures, for_each_day
from fraud_pipeline.settings import Settings

LABEL_LOOKBACK_DAYS = 180
"""How far back the transaction of a newly known label is searched (chargebacks may take 120 days)."""


LABEL_FILES = "label_files"
"""Metadata that says which label files a day was made of, for the sensor that looks for newer ones."""


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``fraud_labels``."""
    maturity = timedelta(days=settings.label_maturity_days)

    @daily_asset(settings, group_name="ingestion", kinds={"parquet", "postgres"}, deps=["validated_transactions"])
    def fraud_labels(
        context: dg.AssetExecutionContext,
        landing_zone: dg.ResourceParam[LandingZone],
        lake: dg.ResourceParam[Lake],
        database: dg.ResourceParam[Database],
    ) -> None:
        """Labels of files and decisions of analysts of the day, and transactions that matured unreported on it."""
        days = days_of(context)
        decided_on = decided_by_day(database, days[0] - maturity, days[-1], settings.time_zone)
        landed_on: dict[date, pd.DataFrame] = {}

        def landed(day: date) -> pd.DataFrame:
            if day not in landed_on:
                landed_on[day] = landing_zone.read_labels(day)
            return landed_on[day]

        def work(day: date) -> tuple[pd.DataFrame, Figures]:
            # Before they are read, so that one which comes meanwhile is found to be missing.
            merged_files = files_digest(landing_zone.label_files(day))
            matured_day = day - maturity
            maturing = lake.read_days("validated_transactions", [matured_day], EVENT_KEYS)
            until_today = [matured_day + timedelta(days=n) for n in range(maturity.days)]
            reports = {
                each: (landed(each), decided_on.get(each, labels.nothing_landed())) for each in [*until_today, day]
            }
            known, unmatched = labels.of_day(
                *reports[day],
                find_transactions(lake, day, pd.concat([report["transaction_id"] for report in reports[day]])),
                maturing.get(matured_day, labels.no_labels()),
                pd.concat([report["transaction_id"] for each in until_today for report in reports[each]]),
                maturity,
            )
            lake.write("fraud_labels", day, known)
            event_day = known["event_time"].dt.tz_convert(settings.time_zone).dt.date
            replace_day_labels(database, day, known.assign(event_day=event_day), run_id=context.run.run_id)
            landed_on.pop(matured_day, None)
            return known, {
                "reported_frauds": int(known["is_fraud"].sum()),
                "analyst_labels": int((known["label_source"] == labels.ANALYST).sum()),
                "matured_unreported": int((known["label_source"] == labels.UNREPORTED).sum()),
                "unmatched": len(unmatched),
                LABEL_FILES: merged_files,
                "unmatched_ids": unmatched["transaction_id"].head(20).tolist(),
            }

        for_each_day(context, "fraud_labels", work)

    return [fraud_labels]


def decided_by_day(database: Database, first: date, last: date, time_zone: str) -> dict[date, pd.DataFrame]:
    """Read the decisions that are labels, by the day on which they were made; days without one are left out."""
    # A day begins within 14 hours of that of UTC.
    start, end = (datetime.combine(day, time.min, tzinfo=UTC) for day in (first - ONE_DAY, last + 2 * ONE_DAY))
    decisions = labels.from_decisions(review_repository.decisions_between(database, start, end))
    day_of = decisions["label_known_at"].dt.tz_convert(time_zone).dt.date
    return {day: of_day.reset_index(drop=True) for day, of_day in decisions.groupby(day_of)}


def find_transactions(lake: Lake, day: date, transaction_ids: pd.Series) -> pd.DataFrame:
    """Look up transactions by id, from ``day`` backwards until all are found or the look-back ends."""
    missing = pd.Index(transaction_ids.unique())
    found = [labels.no_labels()[list(EVENT_KEYS)]]
    for back in range(LABEL_LOOKBACK_DAYS):
        if missing.empty:
            break
        for frame in lake.read_days("validated_transactions", [day - timedelta(days=back)], EVENT_KEYS).values():
            hits = frame[missing.get_indexer(pd.Index(frame["transaction_id"])) >= 0]
            missing = missing.difference(pd.Index(hits["transaction_id"]), sort=False)
            found.append(hits)
    return pd.concat(found[1:] or found, ignore_index=True)
