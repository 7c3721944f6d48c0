"""The asset checks: each loads the rows of a day and has ``core.data_quality`` or ``reconciliation`` judge them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import dagster as dg
import pandas as pd
from sqlalchemy import Table

from fraud_pipeline.adapters.database.tables import anomaly_scores, transaction_features, transactions
from fraud_pipeline.core import data_quality as quality
from fraud_pipeline.core.data_quality import Finding
from fraud_pipeline.core.reconciliation import Hop, Total, reconcile
from fraud_pipeline.core.schema import TRANSACTION_FIELDS
from fraud_pipeline.orchestration import check_steps
from fraud_pipeline.orchestration.check_steps import Check, Evidence, Judge
from fraud_pipeline.settings import Settings


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


def _reject_rate(evidence: Evidence, day: date) -> Finding:
    rejected, valid = (
        len(evidence.lake.read(f"{kind}_transactions", day, ["transaction_id"])) for kind in ("rejected", "validated")
    )
    return quality.reject_rate(rejected, rejected + valid, evidence.settings.max_reject_rate)


def _schema(evidence: Evidence, day: date) -> Finding:
    return quality.schema(evidence.lake.read("validated_transactions", day))


def _received_are_kept(evidence: Evidence, day: date) -> Finding:
    raw, valid, rejected = (
        evidence.lake.read(f"{kind}_transactions", day, ["amount"])["amount"]
        for kind in ("raw", "validated", "rejected")
    )
    total = Total.of(valid)
    return reconcile(
        [
            Hop("raw to validated and rejected", Total.of_text(raw), total + Total.of_text(rejected)),
            Hop("validated to table transactions", total, evidence.in_table(transactions, day)),
        ]
    )


def _passed_on(before: str, after: str, table: Table) -> Judge:
    """Judge whether all of a dataset is in the next one, and that in its table."""

    def judge(evidence: Evidence, day: date) -> Finding:
        totals = [Total.of(evidence.lake.read(name, day, ["amount"])["amount"]) for name in (before, after)]
        return reconcile(
            [
                Hop(f"{before} to {after}", *totals),
                Hop(f"{after} to table {table.name}", totals[1], evidence.in_table(table, day)),
            ]
        )

    return judge


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


def _of_drift(judge: Callable[[pd.DataFrame, Settings], Finding]) -> Judge:
    """Judge the drift report of a day."""

    def of_day(evidence: Evidence, day: date) -> Finding:
        report = evidence.lake.read_days("drift_report", [day]).get(day)
        if report is None:
            return quality.nothing_to_judge("the champion scored none of the days compared")
        return judge(report, evidence.settings)

    return of_day


_RUN_AGAIN: Final = "run the day again from its raw files, and report it if the check fails again"


def _blocking(name: str, judge: Judge, description: str, remedy: str) -> Check:
    return Check(name, judge, description, dg.AssetCheckSeverity.ERROR, is_blocking=True, remedy=remedy)


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
        _blocking(
            "reject_rate",
            _reject_rate,
            "Share of rejected rows.",
            "see in rejected_transactions why, then correct the source's description or have its files delivered again",
        ),
        _blocking("schema", _schema, "Columns, types, values, unique identities and order.", _RUN_AGAIN),
        _blocking(
            "reconciliation",
            _received_are_kept,
            "Rows and money: received = valid + rejected, and valid = table `transactions`.",
            _RUN_AGAIN,
        ),
    ),
    "transaction_features": (
        _blocking(
            "reconciliation",
            _passed_on("validated_transactions", "transaction_features", transaction_features),
            "Rows and money: valid = features = table `transaction_features`.",
            _RUN_AGAIN,
        ),
    ),
    "anomaly_scores": (
        _blocking(
            "reconciliation",
            _passed_on("transaction_features", "anomaly_scores", anomaly_scores),
            "Rows and money: features = scores; rows = table `anomaly_scores`.",
            _RUN_AGAIN,
        ),
        Check("alert_rate", _alert_rate, "Alerts of the day against what the threshold was calibrated to."),
        Check("model_age", _model_age, "Days from the newest labels that the model knows to the day it scored."),
    ),
    "fraud_labels": (
        Check("label_coverage", _label_coverage, "Share of the transactions matured on the day that have a label."),
    ),
    "drift_report": (
        Check(
            "feature_drift",
            _of_drift(lambda report, settings: quality.feature_drift(report, settings.max_drifted_share)),
            "Share of compared features whose distribution has moved far.",
        ),
        Check(
            "score_drift",
            _of_drift(lambda report, settings: quality.score_drift(report, settings.drift_major)),
            "Population stability index of the anomaly score.",
        ),
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
    return [
        check_steps.declare(settings, asset, checks, _NEEDS.get(asset, {"lake", "database"}))
        for asset, checks in CHECKS.items()
    ]


def failed_check(instance: dg.DagsterInstance, run_id: str) -> str | None:
    """Say which blocking check ended a run, by which figures, and what people do about it; None if none did."""
    for log in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        result = log.get_dagster_event().asset_check_evaluation_data
        asset, name = result.asset_key.to_user_string(), result.check_name
        remedies = [check.remedy for check in CHECKS.get(asset, ()) if check.name == name and check.is_blocking]
        if remedies and not result.passed:
            figures = ", ".join(f"{label} {value.value}" for label, value in result.metadata.items())
            return (
                f"the check {name} of {asset} failed on {result.partition} ({figures}), so the assets after it were "
                f"not run; {remedies[0]}. See docs/checks.md."
            )
    return None


def held_days(instance: dg.DagsterInstance, asset: str, days: Iterable[date]) -> set[date]:
    """Give the days of an asset that a blocking check held back the last time, in whichever run that was."""
    return check_steps.held_days(instance, asset, CHECKS[asset], days)
