"""Scores of the registered champion."""

from collections.abc import Iterator

import dagster as dg
import numpy as np

from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import anomaly_scores as scores_table
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.core import scoring
from fraud_pipeline.orchestration import plots
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.partitions import days_of
from fraud_pipeline.orchestration.reports import DayReports
from fraud_pipeline.settings import Settings


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``anomaly_scores``."""

    @daily_asset(
        settings,
        group_name="scoring",
        kinds={"parquet", "postgres", "scikitlearn"},
        deps=["transaction_features"],
        output_required=False,
    )
    def anomaly_scores(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        database: dg.ResourceParam[Database],
        model_store: dg.ResourceParam[ModelStore],
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Score of each detector, the ensemble's score, percentile, confidence, risk level and priority."""
        champion = model_store.champion()
        if champion is None:
            # History is prepared before a first model exists: then there is nothing to score with.
            context.log.warning("No champion model yet, so nothing is scored; train one with `fraud-pipeline train`.")
            return
        lineage = champion.lineage(context.run.run_id)
        reports = DayReports(context, "anomaly_scores")
        all_scores = []
        for day in days_of(context):
            scores = scoring.score(lake.read("transaction_features", day), champion.model).assign(**lineage)
            lake.write("anomaly_scores", day, scores)
            rows = scores.drop(columns=["merchant_id", "amount"])
            replace_day(database, scores_table, day, rows, run_id=context.run.run_id, asset="anomaly_scores")
            all_scores.append(scores["anomaly_score"].to_numpy())
            figures = {
                "alerts": int(scores["is_alert"].sum()),
                "model_version": champion.version.version,
                "in_training_window": day <= champion.windows.calibrate_to,
            }
            reports.add(day, scores, figures)
        threshold = champion.model.calibration.threshold
        histogram = plots.score_histogram(np.concatenate(all_scores), threshold)
        yield dg.MaterializeResult(metadata={"score_histogram": histogram, "threshold": threshold})

    return [anomaly_scores]
