"""How far recent days have moved away from what the champion was made on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore, StoredModel
from fraud_pipeline.core import drift
from fraud_pipeline.core.detectors.base import Floats
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.orchestration import plots
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.partitions import days_between, days_of
from fraud_pipeline.orchestration.reports import DayReports
from fraud_pipeline.settings import Settings

_CHECK: Final = "no_retraining_requested"


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
                _CHECK,
                asset="drift_report",
                description="Features, scores and alert volume are still like what the champion was made on.",
            )
        ],
    )
    def drift_report(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], model_store: dg.ResourceParam[ModelStore]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """Population stability index of each feature and of the score, and alert volume, over trailing days."""
        champion = model_store.champion()
        if champion is None:
            yield _nothing_to_compare(context, "No champion model yet, so there is nothing to compare with.")
            return
        reports = DayReports(context, "drift_report")
        newest: _Compared | None = None
        for day in days_of(context):
            found = _compare(settings, lake, champion, day)
            if found is None:
                reports.add(day, pd.DataFrame(), {"compared_days": 0})
                continue
            lake.write("drift_report", day, found.report.rows)
            reports.add(day, found.report.rows, found.figures)
            newest = found
        if newest is None:
            yield _nothing_to_compare(
                context, "The champion scored none of these days, so there is nothing to compare."
            )
            return
        calibration = champion.model.calibration
        yield dg.MaterializeResult(
            metadata={
                "stability": plots.stability_bars(newest.report.rows, settings.drift_moderate, settings.drift_major),
                "alert_volume": plots.alert_volume(newest.alerts, expected=calibration.alerts_per_day.value),
                "score_distributions": plots.score_distributions(
                    calibration.reference.scores, newest.scores, calibration.threshold
                ),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=_CHECK,
                    passed=not newest.report.retraining_requested,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata=newest.figures,
                )
            ],
        )

    return [drift_report]


def _nothing_to_compare(context: dg.AssetExecutionContext, reason: str) -> dg.AssetCheckResult:
    """Leave the asset unmaterialised; Dagster insists on the check."""
    context.log.warning(reason)
    return dg.AssetCheckResult(
        check_name=_CHECK, passed=True, severity=dg.AssetCheckSeverity.WARN, metadata={"reason": reason}
    )


@dataclass(frozen=True)
class _Compared:
    """The trailing days of one day, compared with what the champion was made on."""

    report: drift.DriftReport
    scores: Floats
    alerts: Mapping[date, int]

    @property
    def figures(self) -> dict[str, Any]:
        return {
            "compared_days": len(self.alerts),
            "retraining_requested": self.report.retraining_requested,
            "reason": self.report.reason,
            **self.report.figures,
        }


def _compare(settings: Settings, lake: Lake, champion: StoredModel, day: date) -> _Compared | None:
    """Compare the days up to ``day``; None if the champion scored none of them."""
    window = days_between(day - timedelta(days=settings.drift_days - 1), day)
    features = lake.read_days("transaction_features", window, FEATURE_COLUMNS)
    scored = lake.read_days("anomaly_scores", window, ("anomaly_score", "is_alert", "model_version"))
    # Scores of the champion before are on another scale.
    version = str(champion.version.version)
    own = {each: rows for each, rows in scored.items() if len(rows) and (rows["model_version"] == version).all()}
    if not own or not features:
        return None
    scores = pd.concat(own.values(), ignore_index=True)["anomaly_score"].to_numpy()
    alerts = {each: int(rows["is_alert"].sum()) for each, rows in own.items()}
    compared = drift.report(
        # A stacked classifier reads scores as well, which are no features.
        {name: each for name, each in champion.feature_references.items() if name in FEATURE_COLUMNS},
        pd.concat(features.values(), ignore_index=True),
        score_reference=champion.model.calibration.reference,
        scores=scores,
        alerts_per_day=sum(alerts.values()) / len(alerts),
        expected_alerts_per_day=champion.model.calibration.alerts_per_day.value,
        moderate=settings.drift_moderate,
        major=settings.drift_major,
        max_drifted_share=settings.max_drifted_share,
        max_alert_change=settings.max_alert_change,
    )
    return _Compared(compared, scores, alerts)
