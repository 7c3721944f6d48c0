"""Random reviews: a yardstick for recall."""

from datetime import date

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters.database import alert_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.core import reviews
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.reports import Figures, for_each_day
from fraud_pipeline.settings import Settings


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``random_reviews``."""

    @daily_asset(settings, group_name="scoring", kinds={"parquet", "postgres"}, deps=["anomaly_scores"])
    def random_reviews(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], database: dg.ResourceParam[Database]
    ) -> None:
        """Transactions drawn at random from below the threshold, in the analysts' queue as `random_sample`."""

        def work(day: date) -> tuple[pd.DataFrame, Figures]:
            scores = lake.read("anomaly_scores", day)
            drawn = reviews.sample_below_threshold(scores, day, settings.random_reviews_per_day, settings.seed)
            lake.write("random_reviews", day, drawn)
            rows = drawn[[name for name in alert_repository.ALERT_COLUMNS if name in drawn]].assign(
                event_day=day, selection="random_sample", reasons="[]", reason_text=reviews.REASON_TEXT
            )
            new = alert_repository.insert_new(database, rows, run_id=context.run.run_id)
            below = len(scores) - int(scores["is_alert"].sum())
            return drawn, {"new": new, "below_threshold": below}

        for_each_day(context, "random_reviews", work)

    return [random_reviews]
