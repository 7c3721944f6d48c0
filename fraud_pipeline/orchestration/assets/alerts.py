"""Alert rows for analysts."""

from datetime import date

import dagster as dg

from fraud_pipeline.adapters.database import alert_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.core import alerts as core_alerts
from fraud_pipeline.core.schema import LINEAGE_COLUMNS
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.partitions import MetadataOfDay, for_each_day
from fraud_pipeline.settings import Settings


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``alerts``."""

    @daily_asset(settings, group_name="scoring", kinds={"postgres"}, deps=["anomaly_scores", "transaction_features"])
    def alerts(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        database: dg.ResourceParam[Database],
        model_store: dg.ResourceParam[ModelStore],
    ) -> None:
        """Rows of the table `alerts`: one a transaction for ever, whatever is scored again."""

        def work(day: date) -> MetadataOfDay:
            scores = lake.read("anomaly_scores", day)
            features = lake.read("transaction_features", day)
            if not len(scores):
                return {"alerts": 0, "new": 0}
            scored_by = model_store.model(int(scores["model_version"].iloc[0]))
            raised = core_alerts.raise_alerts(scores, features, scored_by.model, scored_by.feature_references)
            lineage = scores[["transaction_id", *LINEAGE_COLUMNS]]
            rows = raised.merge(lineage, on="transaction_id", how="left", validate="one_to_one")
            new = alert_repository.insert_new(database, rows.assign(event_day=day))
            levels = raised["risk_level"].value_counts()
            return {"alerts": len(raised), "new": new, **{str(level): int(n) for level, n in levels.items()}}

        for_each_day(context, "alerts", work)

    return [alerts]
