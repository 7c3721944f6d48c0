"""Asset checks: each loads the rows of a day, calls one function of ``core.data_quality`` and reports its figures.

The checks of an asset are one step, which runs after it and before what depends on it. They are
evaluated and recorded for every day of a run; a range adds the verdict over all its days.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import dagster as dg
import pandas as pd
from sqlalchemy import Table

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.reconciliation import day_total
from fraud_pipeline.adapters.database.tables import anomaly_scores, transaction_features, transactions
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore, StoredModel
from fraud_pipeline.core import data_quality as quality
from fraud_pipeline.core.data_quality import Finding, Hop, Total
from fraud_pipeline.core.schema import TRANSACTION_FIELDS
from fraud_pipeline.orchestration.partitions import TrailingDays, daily_partitions
from fraud_pipeline.settings import Settings

_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


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


def _volume(evidence: Evidence, day: date) -> Finding:
    weeks = [day - timedelta(weeks=back) for back in range(1, quality.VOLUME_WEEKS + 1)]
    found = evidence.lake.read_days("raw_transactions", [day, *weeks], ["row_number"])
    rows = {each: len(frame) for each, frame in found.items()}
    return quality.volume(rows.pop(day), list(rows.values()), evidence.settings.max_volume_change)


def _late_rows(evidence: Evidence, day: date) -> Finding:
    raw = evidence.lake.read("raw_transactions", day, ["event_time", "time_zone"])
    return quality.late_rows(raw, day, evidence.settings.time_zone, evidence.settings.max_late_rate)


def _null_rates(evidence: Evidence, day: date) -> Finding:
    raw = evidence.lake.read("raw_transactions", day, TRANSACTION_FIELDS)
    return quality.null_rates(raw, evidence.settings.max_null_rate)


def _duplicates(evidence: Evidence, day: date) -> Finding:
    ids = evidence.lake.read("raw_transactions", day, ["transaction_id"])["transaction_id"]
    return quality.duplicates(ids, evidence.earlier_ids(day), evidence.settings.max_duplicate_rate)


def _schema(evidence: Evidence, day: date) -> Finding:
    return quality.schema(evidence.lake.read("validated_transactions", day))


def _received_are_kept(evidence: Evidence, day: date) -> Finding:
    raw, valid, rejected = (
        evidence.lake.read(f"{kind}_transactions", day, ["amount"])["amount"]
        for kind in ("raw", "validated", "rejected")
    )
    total = Total.of(valid)
    return quality.reconcile(
        [
            Hop("raw to validated and rejected", Total.of_text(raw), total + Total.of_text(rejected)),
            Hop("validated to table transactions", total, evidence.in_table(transactions, day)),
        ]
    )


def _all_have_features(evidence: Evidence, day: date) -> Finding:
    valid, features = (
        Total.of(evidence.lake.read(name, day, ["amount"])["amount"])
        for name in ("validated_transactions", "transaction_features")
    )
    return quality.reconcile(
        [
            Hop("validated to features", valid, features),
            Hop("features to table transaction_features", features, evidence.in_table(transaction_features, day)),
        ]
    )


def _all_have_scores(evidence: Evidence, day: date) -> Finding:
    features, scores = (
        Total.of(evidence.lake.read(name, day, ["amount"])["amount"])
        for name in ("transaction_features", "anomaly_scores")
    )
    return quality.reconcile(
        [
            Hop("features to scores", features, scores),
            Hop("scores to table anomaly_scores", scores, evidence.in_table(anomaly_scores, day)),
        ]
    )


def _alert_rate(evidence: Evidence, day: date) -> Finding:
    scores = evidence.lake.read("anomaly_scores", day, ["is_alert", "model_version"])
    model = evidence.model_of(scores)
    if model is None:
        return quality.nothing_to_judge("the day has no transaction")
    expected = model.model.calibration.alerts_per_day.value
    limits = evidence.settings
    return quality.alert_rate(
        int(scores["is_alert"].sum()), expected, limits.max_alert_change, limits.max_alerts_per_day
    )


def _model_age(evidence: Evidence, day: date) -> Finding:
    model = evidence.model_of(evidence.lake.read("anomaly_scores", day, ["model_version"]))
    if model is None:
        return quality.nothing_to_judge("the day has no transaction")
    return quality.model_age(day, model.windows.as_of, evidence.settings.max_model_age_days)


def _label_coverage(evidence: Evidence, day: date) -> Finding:
    maturity = timedelta(days=evidence.settings.label_maturity_days)
    due_day = day - maturity
    due = evidence.lake.read_days("validated_transactions", [due_day], ["transaction_id"]).get(due_day)
    if due is None:
        return quality.nothing_to_judge(f"there are no transactions of {due_day}, which matures on this day")
    days = [due_day + timedelta(days=offset) for offset in range(maturity.days)]
    known = [evidence.lake.read("fraud_labels", day, ["transaction_id"])]
    known += evidence.lake.read_days("fraud_labels", days, ["transaction_id"]).values()
    labelled = pd.concat(known, ignore_index=True)["transaction_id"]
    return quality.label_coverage(due["transaction_id"], labelled, evidence.settings.min_label_coverage)


def _drift_report(evidence: Evidence, day: date) -> pd.DataFrame | None:
    return evidence.lake.read_days("drift_report", [day]).get(day)


def _feature_drift(evidence: Evidence, day: date) -> Finding:
    report = _drift_report(evidence, day)
    if report is None:
        return quality.nothing_to_judge("the champion scored none of the days compared")
    return quality.feature_drift(report, evidence.settings.max_drifted_share)


def _score_drift(evidence: Evidence, day: date) -> Finding:
    report = _drift_report(evidence, day)
    if report is None:
        return quality.nothing_to_judge("the champion scored none of the days compared")
    return quality.score_drift(report, evidence.settings.drift_major)


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
    """

    name: str
    judge: Callable[[Evidence, date], Finding]
    description: str
    severity: dg.AssetCheckSeverity = _WARN
    is_blocking: bool = False


CHECKS: Final[Mapping[str, Sequence[Check]]] = {
    "raw_transactions": (
        Check("volume", _volume, "Rows against the median of the same weekday in four weeks before."),
        Check(
            "duplicates", _duplicates, "Share of rows whose identity comes before, that day or in seven days before."
        ),
        Check("late_rows", _late_rows, "Share of rows that are of an earlier day than their file."),
        Check("null_rates", _null_rates, "Share of empty cells of the field that has most of them."),
    ),
    "validated_transactions": (
        Check("schema", _schema, "Columns, types, values, unique identities and order.", _ERROR, is_blocking=True),
        Check(
            "reconciliation",
            _received_are_kept,
            "Rows and money: received = valid + rejected, and valid = table `transactions`.",
            _ERROR,
            is_blocking=True,
        ),
    ),
    "transaction_features": (
        Check(
            "reconciliation",
            _all_have_features,
            "Rows and money: valid = features = table `transaction_features`.",
            _ERROR,
            is_blocking=True,
        ),
    ),
    "anomaly_scores": (
        Check(
            "reconciliation",
            _all_have_scores,
            "Rows and money: features = scores; rows = table `anomaly_scores`.",
            _ERROR,
            is_blocking=True,
        ),
        Check("alert_rate", _alert_rate, "Alerts of the day against what the threshold was calibrated to."),
        Check("model_age", _model_age, "Days from the newest labels that the model knows to the day it scored."),
    ),
    "fraud_labels": (
        Check("label_coverage", _label_coverage, "Share of the transactions matured on the day that have a label."),
    ),
    "drift_report": (
        Check("feature_drift", _feature_drift, "Share of compared features whose distribution has moved far."),
        Check("score_drift", _score_drift, "Population stability index of the anomaly score."),
    ),
}
_NEEDS: Final = {
    "raw_transactions": {"lake"},
    "fraud_labels": {"lake"},
    "drift_report": {"lake"},
    "anomaly_scores": {"lake", "database", "model_store"},
}


def build_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Declare the checks, those of an asset as one step."""
    return [_declare(settings, asset, checks) for asset, checks in CHECKS.items()]


def _declare(settings: Settings, asset: str, checks: Sequence[Check]) -> dg.AssetChecksDefinition:
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
        required_resource_keys=_NEEDS.get(asset, {"lake", "database"}),
    )
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
