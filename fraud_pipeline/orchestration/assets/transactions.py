"""Raw file → typed rows and rejects."""

from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.partitions import create_partitions, detach_partitions
from fraud_pipeline.adapters.database.reject_repository import replace_day_rejects
from fraud_pipeline.adapters.database.tables import transactions as transactions_table
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.core import transactions
from fraud_pipeline.orchestration.assets.daily import DAILY_POOL, DAILY_TAGS, OWNERS, daily_asset, retry_transient
from fraud_pipeline.orchestration.partitions import daily_partitions, days_of
from fraud_pipeline.orchestration.reports import DayReports, Figures, for_each_day
from fraud_pipeline.settings import Settings

MONTH_AHEAD = timedelta(days=31)


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``raw_transactions``, ``validated_transactions`` and ``rejected_transactions``."""

    @daily_asset(settings, group_name="ingestion", kinds={"parquet"})
    def raw_transactions(
        context: dg.AssetExecutionContext,
        landing_zone: dg.ResourceParam[LandingZone],
        lake: dg.ResourceParam[Lake],
    ) -> None:
        """Rows of the day's files exactly as received, as text, with file, row number and checksum."""

        def work(day: date) -> tuple[pd.DataFrame, Figures]:
            rows = landing_zone.read_transactions(day)
            lake.write("raw_transactions", day, rows)
            return rows, {"files": sorted(rows["source_file"].unique().tolist())}

        for_each_day(context, "raw_transactions", work)

    @dg.multi_asset(
        specs=[
            dg.AssetSpec(
                "validated_transactions",
                deps=[raw_transactions],
                description="Typed, de-duplicated rows of the day; also the table `transactions`.",
                kinds={"parquet", "postgres"},
                owners=OWNERS,
            ),
            dg.AssetSpec(
                "rejected_transactions",
                deps=[raw_transactions],
                description="Rows that could not be used, each with the reason, its file and row number; also a table.",
                kinds={"parquet", "postgres"},
                owners=OWNERS,
            ),
        ],
        group_name="ingestion",
        pool=DAILY_POOL,
        partitions_def=daily_partitions(settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        op_tags=DAILY_TAGS,
    )
    @retry_transient
    def validate_transactions(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], database: dg.ResourceParam[Database]
    ) -> Iterator[dg.MaterializeResult[None]]:
        run_id = context.run.run_id
        valid_days, rejected_days = (DayReports(context, f"{kind}_transactions") for kind in ("validated", "rejected"))
        for day in days_of(context):
            raw = lake.read("raw_transactions", day)
            valid, rejected = transactions.validate(raw, day, settings.time_zone, max_amount=settings.max_amount)
            lake.write("validated_transactions", day, valid)
            lake.write("rejected_transactions", day, rejected)
            replace_day(database, transactions_table, day, valid, run_id=run_id, asset="validated_transactions")
            replace_day_rejects(database, day, rejected, run_id=run_id)
            valid_days.add(day, valid, {"amount": round(float(valid["amount"].sum()), 2)})
            reasons = rejected["reason"].str.replace(r"[:;].*", "", regex=True).value_counts()
            rejected_days.add(day, rejected, {"reasons": reasons.to_dict()})
        yield dg.MaterializeResult(
            asset_key="validated_transactions",
            metadata=keep_months(database, days_of(context)[-1], settings.retention_days),
        )
        yield dg.MaterializeResult(asset_key="rejected_transactions")

    return [raw_transactions, validate_transactions]


def keep_months(database: Database, newest: date, retention_days: int) -> Figures:
    """Make the months ahead of a day, so that whoever decides or scores then finds them, and detach the old ones."""
    with database.begin() as connection:
        create_partitions(connection, newest, newest + MONTH_AHEAD)
    with database.begin() as connection:
        return {"months_detached": detach_partitions(connection, newest - timedelta(days=retention_days))}
