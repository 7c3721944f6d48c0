"""What became of the scores of a day once its labels matured."""

from datetime import date, timedelta

import dagster as dg
import numpy as np
import pandas as pd

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.metrics_repository import replace_day_metrics
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.core import labels, metrics
from fraud_pipeline.core.schema import LABEL_COLUMNS
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.partitions import TrailingDays
from fraud_pipeline.orchestration.reports import Figures, for_each_day
from fraud_pipeline.settings import Settings


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``model_metrics``."""
    # Every transaction has a label by then: reported, or matured unreported.
    horizon = settings.label_maturity_days + 1

    @daily_asset(settings, group_name="monitoring", kinds={"postgres"}, deps=["anomaly_scores", "fraud_labels"])
    def model_metrics(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], database: dg.ResourceParam[Database]
    ) -> None:
        """Recall, false-positive rate, precision, AP and AUC of the day's scores, on the labels known so far."""
        known = TrailingDays(lake, "fraud_labels", horizon + 1, LABEL_COLUMNS)

        def work(day: date) -> tuple[pd.DataFrame, Figures]:
            scores = lake.read("anomaly_scores", day)
            labelled, _ = known.through(day + timedelta(days=horizon))
            truth = labels.current(labels.no_labels() if labelled is None else labelled)
            figures = metrics.evaluate(scores, truth)
            table = pd.DataFrame({"metric": list(figures), "value": list(figures.values())}).assign(
                event_day=day,
                model_version=scores["model_version"].iloc[0] if len(scores) else "none",
                low=np.nan,
                high=np.nan,
                computed_as_of=truth["label_known_at"].max() if len(truth) else pd.Timestamp(day, tz="UTC"),
            )
            replace_day_metrics(database, day, table, run_id=context.run.run_id)
            return table, {name: value for name, value in figures.items() if value == value}

        for_each_day(context, "model_metrics", work)

    return [model_metrics]
