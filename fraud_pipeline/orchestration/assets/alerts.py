"""Alert rows for analysts."""

from datetime import date

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters.clock import utc_now
from fraud_pipeline.adapters.database import alert_repository, workflow_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.core import alerts as core_alerts
from fraud_pipeline.core.schema import LINEAGE_COLUMNS
from fraud_pipeline.orchestration.assets.daily import daily_asset
from fraud_pipeline.orchestration.reports import Figures, for_each_day
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
        """Rows of the table `alerts`: one a transaction for ever, whatever is scored again, in its user's open case."""
        run_id = context.run.run_id

        def work(day: date) -> tuple[pd.DataFrame, Figures]:
            scores = lake.read("anomaly_scores", day)
            raised = pd.DataFrame(columns=list(alert_repository.ALERT_COLUMNS))
            if len(scores):
                scored_by = model_store.model(int(scores["model_version"].iloc[0]))
                features = lake.read("transaction_features", day)
                raised = core_alerts.raise_alerts(scores, features, scored_by.model, scored_by.feature_references)
                lineage = scores[["transaction_id", *LINEAGE_COLUMNS]]
                raised = raised.merge(lineage, on="transaction_id", how="left", validate="one_to_one")
            left = alert_repository.raise_day(
                database, day, raised.assign(event_day=day), scores, sla_hours=settings.sla_hours, run_id=run_id
            )
            levels = {str(level): int(n) for level, n in raised["risk_level"].value_counts().items()}
            # Lists of reasons have no column type of their own.
            return raised.astype({"reasons": "str"}), {"new": left.new, "rescored": left.rescored, **levels}

        for_each_day(context, "alerts", work)
        escalated = workflow_repository.escalate_overdue(database, utc_now(), settings.sla_hours, run_id=run_id)
        context.log.info("%d overdue alerts are more urgent now.", escalated)

    return [alerts]
