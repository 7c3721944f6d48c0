"""How far recent days have moved away from what the champion was made on."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.core import drift
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.orchestration import plots
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.partitions import days_between, days_of, report
from fraud_pipeline.settings import Settings


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``drift_report``."""

    @daily_asset(
        settings,
        group_name="monitoring",
        kinds={"parquet"},
        deps=["transaction_features", "anomaly_scores"],
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(
                "no_retraining_requested",
                asset="drift_report",
                description="Features, scores and alert volume are still like what the champion was made on.",
            )
        ],
    )
    def drift_report(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], model_store: dg.ResourceParam[ModelStore]
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Population stability index of each feature and of the score, and alert volume, over trailing days."""
        champion = model_store.champion()
        if champion is None:
            context.log.warning("No champion model yet, so there is nothing to compare with.")
            return
        newest: drift.DriftReport | None = None
        # A stacked classifier reads scores as well, which are no features.
        references = {name: each for name, each in champion.feature_references.items() if name in FEATURE_COLUMNS}
        expected = champion.model.calibration.alerts_per_day.value
        for day in days_of(context):
            window = days_between(day - timedelta(days=settings.drift_days - 1), day)
            features = lake.read_days("transaction_features", window, FEATURE_COLUMNS)
            scored = lake.read_days("anomaly_scores", window, ("anomaly_score", "is_alert"))
            rows = pd.concat(scored.values(), ignore_index=True) if scored else pd.DataFrame()
            if rows.empty or not features:
                report(context, "drift_report", day, {"compared_days": 0})
                continue
            newest = drift.report(
                references,
                pd.concat(features.values(), ignore_index=True),
                score_reference=champion.model.calibration.reference,
                scores=rows["anomaly_score"].to_numpy(),
                alerts_per_day=float(rows["is_alert"].sum()) / len(scored),
                expected_alerts_per_day=expected,
                moderate=settings.drift_moderate,
                major=settings.drift_major,
            )
            lake.write("drift_report", day, newest.rows)
            volumes = {each: int(frame["is_alert"].sum()) for each, frame in scored.items()}
            report(
                context,
                "drift_report",
                day,
                {
                    "compared_days": len(scored),
                    "retraining_requested": newest.retraining_requested,
                    "reason": newest.reason,
                    **newest.figures,
                },
            )
        if newest is None:
            return
        yield dg.MaterializeResult(
            metadata={
                "stability": plots.stability_bars(newest.rows),
                "alert_volume": plots.alert_volume(volumes, expected=expected),
                "score_distributions": plots.score_distributions(
                    champion.model.calibration.reference.scores,
                    rows["anomaly_score"].to_numpy(),
                    champion.model.calibration.threshold,
                ),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name="no_retraining_requested",
                    passed=not newest.retraining_requested,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"reason": newest.reason, **newest.figures},
                )
            ],
        )

    return [drift_report]
