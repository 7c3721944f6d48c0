"""How asset checks run: those of an asset are one step, after it and before what depends on it.

They are evaluated and recorded for every day of a run; a range adds the verdict over all its days.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from sqlalchemy import Table

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.reconciliation import day_total
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore, StoredModel
from fraud_pipeline.core import data_quality as quality
from fraud_pipeline.core.data_quality import Finding
from fraud_pipeline.core.reconciliation import Total
from fraud_pipeline.orchestration.assets.daily import retry_transient
from fraud_pipeline.orchestration.partitions import TrailingDays, daily_partitions
from fraud_pipeline.settings import Settings


class Evidence:
    """What the checks of one step look at, each part opened when a check first needs it.

    Parameters
    ----------
    settings : Settings
    resources : object
        Of the run; an attribute for each role.
    """

    def __init__(self, settings: Settings, resources: Any) -> None:  # noqa: ANN401 - Dagster makes the type at run time
        self.settings = settings
        self._resources = resources
        self._earlier_ids = TrailingDays(
            self.lake, "validated_transactions", quality.DUPLICATE_DAYS, ["transaction_id"]
        )

    @property
    def lake(self) -> Lake:
        """The lake."""
        lake: Lake = self._resources.lake
        return lake

    def earlier_ids(self, day: date) -> pd.Series | None:
        """Identities of the valid transactions of the days before."""
        found, _ = self._earlier_ids.before(day)
        return None if found is None else found["transaction_id"]

    def in_table(self, table: Table, day: date) -> Total:
        """Rows and money of a day in a table."""
        database: Database = self._resources.database
        rows, amount = day_total(database, table, day)
        return Total.of_sum(rows, amount) if "amount" in table.c else Total(rows, None)

    def model_of(self, scores: pd.DataFrame) -> StoredModel | None:
        """Give the model that scored a day; None if the day has no rows."""
        store: ModelStore = self._resources.model_store
        return store.model(int(scores["model_version"].iloc[0])) if len(scores) else None


Judge = Callable[[Evidence, date], Finding]
"""Loads the rows of a day and gives the finding."""


@dataclass(frozen=True)
class Check:
    """A check of an asset.

    Parameters
    ----------
    name : str
    judge : callable
        Loads the rows of a day and gives the finding.
    description : str
    severity : AssetCheckSeverity
        Of a finding that did not pass.
    is_blocking : bool
        Whether what depends on the asset is left alone then.
    remedy : str
        What people do about it, where the check is blocking.
    """

    name: str
    judge: Judge
    description: str
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN
    is_blocking: bool = False
    remedy: str = ""


def declare(settings: Settings, asset: str, checks: Sequence[Check], resources: set[str]) -> dg.AssetChecksDefinition:
    """Declare the checks of an asset as one step, which needs these resources."""
    partitions = daily_partitions(settings)
    specs = [
        dg.AssetCheckSpec(
            check.name,
            asset=asset,
            description=check.description,
            blocking=check.is_blocking,
            partitions_def=partitions,
        )
        for check in checks
    ]

    @dg.multi_asset_check(
        name=f"{asset}_checks",
        specs=specs,
        can_subset=True,
        required_resource_keys=resources,
    )
    @retry_transient
    def evaluate(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        op = context.op_execution_context
        evidence = Evidence(settings, op.resources)
        days = [date.fromisoformat(key) for key in sorted(op.partition_keys)]
        selected = {key.name for key in context.selected_asset_check_keys}
        for check in checks:
            if check.name in selected:
                findings = {day: check.judge(evidence, day) for day in days}
                if len(days) > 1:
                    for day, finding in findings.items():
                        op.log_event(_evaluation(asset, check, day, finding))  # type: ignore[arg-type]  # it can
                yield _verdict(asset, check, findings)

    return evaluate


def held_days(instance: dg.DagsterInstance, asset: str, checks: Sequence[Check], days: Iterable[date]) -> set[date]:
    """Give the days on which a blocking check of an asset failed the last time, in whichever run that was."""
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), check.name) for check in checks if check.is_blocking]
    names = [day.isoformat() for day in days]
    found = instance.event_log_storage.get_asset_check_partition_info(keys, partition_keys=names) if keys else ()
    return {
        date.fromisoformat(each.partition_key)
        for each in found
        if each.partition_key and each.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED
    }


def _evaluation(asset: str, check: Check, day: date, finding: Finding) -> dg.AssetCheckEvaluation:
    """Record one day of a range; of a single day Dagster does it."""
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=check.name,
        passed=finding.passed,
        severity=check.severity,
        blocking=check.is_blocking,
        partition=day.isoformat(),
        metadata=dict(finding.figures),
    )


def _verdict(asset: str, check: Check, findings: Mapping[date, Finding]) -> dg.AssetCheckResult:
    """Sum up the days of a run: the figures are those of the first day that failed, else of the last."""
    failed = [day for day, finding in findings.items() if not finding.passed]
    shown = failed[0] if failed else max(findings)
    metadata: dict[str, Any] = dict(findings[shown].figures)
    if len(findings) > 1:
        metadata |= {"day": shown.isoformat(), "days": len(findings), "days_failed": len(failed)}
    return dg.AssetCheckResult(
        asset_key=asset, check_name=check.name, passed=not failed, severity=check.severity, metadata=metadata
    )
