"""Daily activity per user, and the profile that merges it."""

from datetime import date

import dagster as dg
import numpy as np
import pandas as pd

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.profile_repository import upsert_profiles
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.core import profiles
from fraud_pipeline.core.schema import ACTIVITY_COLUMNS
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.partitions import TrailingDays, days_of
from fraud_pipeline.orchestration.reports import Figures, for_each_day
from fraud_pipeline.settings import Settings


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``user_daily_activity`` and ``user_profiles``."""

    @daily_asset(settings, group_name="features", kinds={"parquet"}, deps=["validated_transactions"])
    def user_daily_activity(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        """Per user: count, mean, squared deviations, first and last event of the day."""

        def work(day: date) -> tuple[pd.DataFrame, Figures]:
            activity = profiles.summarise_day(lake.read("validated_transactions", day))
            lake.write("user_daily_activity", day, activity)
            return activity, {}

        for_each_day(context, "user_daily_activity", work)

    @daily_asset(settings, group_name="features", kinds={"postgres"}, deps=[user_daily_activity])
    def user_profiles(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], database: dg.ResourceParam[Database]
    ) -> None:
        """The habits of each user: a merge of the trailing days (90 by default), in the table `user_profiles`."""
        # The table keeps one row a user, of the newest day: a range needs only its last.
        newest = days_of(context)[-1]
        trailing = TrailingDays(lake, "user_daily_activity", settings.baseline_days, ACTIVITY_COLUMNS)

        def work(day: date) -> tuple[pd.DataFrame, Figures]:
            if day != newest:
                return pd.DataFrame(), {"written_with": newest.isoformat()}
            daily, found = trailing.through(day)
            merged = profiles.merge(daily if daily is not None else lake.read("user_daily_activity", day))
            std = profiles.standard_deviation(merged["n"].to_numpy(np.float64), merged["m2"].to_numpy())
            table = merged.rename(columns={"mean": "mean_amount"}).assign(std_amount=std).drop(columns="m2")
            upsert_profiles(database, table, day, run_id=context.run.run_id)
            return table, {"days_found": found, "days_missing": settings.baseline_days - found}

        for_each_day(context, "user_profiles", work)

    return [user_daily_activity, user_profiles]
