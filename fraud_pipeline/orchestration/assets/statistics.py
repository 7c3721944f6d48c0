"""How alerts were worked on, and what they were worth."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.metrics_repository import replace_day_metrics
from fraud_pipeline.adapters.database.statistics_repository import ALERT_METRICS, alert_counts, alert_figures
from fraud_pipeline.orchestration import plots
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.partitions import days_between, days_of
from fraud_pipeline.orchestration.reports import Figures, for_each_day
from fraud_pipeline.settings import Settings

PLOTTED_DAYS: Final = 30


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``alert_statistics``."""

    @daily_asset(settings, group_name="monitoring", kinds={"postgres"}, deps=["alerts"])
    def alert_statistics(
        context: dg.AssetExecutionContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Precision, money detected, hours to the first touch and to close, and due times met of the day's alerts."""

        def work(day: date) -> tuple[pd.DataFrame, Figures]:
            figures = alert_figures(database, day, day)
            table = figures.drop(columns="event_day").melt(
                ["model_version", "computed_as_of"], list(ALERT_METRICS), "metric", "value"
            )
            replace_day_metrics(database, day, table, run_id=context.run.run_id, asset="alert_statistics")
            return table, _by_version(figures)

        for_each_day(context, "alert_statistics", work)
        last = days_of(context)[-1]
        days = days_between(last - timedelta(days=PLOTTED_DAYS - 1), last)
        trailing = alert_figures(database, days[0], last)
        # The newest version stands for a day that several versions raised alerts of.
        precision = dict(zip(trailing["event_day"], trailing["alert_precision"], strict=True))
        yield dg.MaterializeResult(
            metadata={
                "alerts_by_risk": plots.alerts_by_risk(alert_counts(database, days[0], last), days),
                "precision": plots.precision_by_day(precision, days),
            }
        )

    return [alert_statistics]


def _by_version(figures: pd.DataFrame) -> Figures:
    """Name the known figures of a day, by version where there are several."""
    several = len(figures) > 1
    return {
        f"{metric} of version {row['model_version']}" if several else metric: float(row[metric])
        for row in figures.to_dict("records")
        for metric in ALERT_METRICS
        if row[metric] == row[metric]
    }
