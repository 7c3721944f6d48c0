"""One row of features a transaction."""

from datetime import date

import dagster as dg

from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import transaction_features as features_table
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.core import features, labels, profiles
from fraud_pipeline.core.schema import ACTIVITY_COLUMNS
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.partitions import MetadataOfDay, TrailingDays, for_each_day
from fraud_pipeline.settings import Settings


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``transaction_features``."""

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
        window = features.RISK_WINDOW_DAYS
        activity = TrailingDays(lake, "user_daily_activity", profiles.BASELINE_DAYS, ACTIVITY_COLUMNS)
        # Days more than the window: it begins within a day, and days of a clock change have 23 hours.
        recent = TrailingDays(lake, "validated_transactions", window + 1, features.RECENT_COLUMNS)
        known = TrailingDays(lake, "fraud_labels", window + 2, labels.EVENT_COLUMNS)

        def work(day: date) -> MetadataOfDay:
            transactions = lake.read("validated_transactions", day)
            daily, days_found = activity.before(day)
            earlier, _ = recent.before(day)
            events, _ = known.through(day)
            built = features.build(
                transactions,
                profiles.merge(profiles.no_activity() if daily is None else daily),
                transactions.iloc[:0] if earlier is None else earlier,
                labels.no_labels() if events is None else events,
                time_zone=settings.time_zone,
            )
            lake.write("transaction_features", day, built)
            replace_day(database, features_table, day, built.assign(event_day=day))
            return {
                "dagster/partition_row_count": len(built),
                "days_found": days_found,
                "days_missing": profiles.BASELINE_DAYS - days_found,
            }

        for_each_day(context, "transaction_features", work)

    return [transaction_features]
