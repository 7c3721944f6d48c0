"""What the UI says of every asset beside its docstring: columns, where they come from, code version, freshness."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import dagster as dg
from sqlalchemy import Column, Dialect, Table
from sqlalchemy.dialects import postgresql

from fraud_pipeline.adapters.database import alert_tables, tables
from fraud_pipeline.core import schema
from fraud_pipeline.core.drift import REPORT_COLUMNS
from fraud_pipeline.orchestration.freshness import freshness_policy
from fraud_pipeline.settings import Settings

CODE_VERSIONS: Final[dict[str, int]] = {}
"""By asset, 1 where none is given. Raise it when the same input gives other rows: the UI then shows what is older."""

_SCORES: Final = (*schema.SCORE_COLUMNS, *schema.LINEAGE_COLUMNS)
_COLUMNS: Final[dict[str, Sequence[str]]] = {
    "raw_transactions": schema.RAW_COLUMNS,
    "validated_transactions": schema.TRANSACTION_COLUMNS,
    "rejected_transactions": schema.REJECTED_COLUMNS,
    "fraud_labels": schema.LABEL_COLUMNS,
    "user_daily_activity": schema.ACTIVITY_COLUMNS,
    "user_profiles": tables.user_profiles.c.keys(),
    "transaction_features": (*schema.EVENT_KEYS, *schema.FEATURE_COLUMNS),
    "anomaly_scores": _SCORES,
    "alerts": alert_tables.alerts.c.keys(),
    "random_reviews": _SCORES,
    "model_metrics": tables.model_metrics.c.keys(),
    "alert_statistics": tables.model_metrics.c.keys(),
    "drift_report": REPORT_COLUMNS,
}
_TABLES: Final[dict[str, Table]] = {
    "validated_transactions": tables.transactions,
    "rejected_transactions": tables.rejected_transactions,
    "fraud_labels": tables.fraud_labels,
    "user_profiles": tables.user_profiles,
    "transaction_features": tables.transaction_features,
    "anomaly_scores": tables.anomaly_scores,
    "alerts": alert_tables.alerts,
    "random_reviews": tables.anomaly_scores,
    "model_metrics": tables.model_metrics,
    "alert_statistics": tables.model_metrics,
}
_ONLY_IN_THE_LAKE: Final = {
    "time_zone": ("text", "IANA zone of times without an offset"),
    "currency": ("text", "Currency of the source (ISO 4217)"),
    "reason": ("text", "Why the row cannot be used"),
    "n": ("bigint", "Transactions of the user on the day"),
    "mean": ("double precision", "Mean amount"),
    "m2": ("double precision", "Sum of squared deviations of the amounts from their mean"),
    "first_event_time": ("timestamp with time zone", "First event of the day"),
    "last_event_time": ("timestamp with time zone", "Last event of the day"),
    "name": ("text", "Feature, or anomaly_score"),
    "psi": ("double precision", "Population stability index against what the champion was made on"),
    "chance": ("double precision", "Index that equal distributions would show by chance"),
    "level": ("text", "stable, moderate or major"),
    "reference_rows": ("bigint", "Rows that the champion was made on"),
    "rows": ("bigint", "Rows of the trailing days"),
}
_POSTGRESQL: Final[Dialect] = postgresql.dialect()  # type: ignore[no-untyped-call]  # so SQLAlchemy has it
_AS_TEXT: Final = {"raw_transactions", "rejected_transactions"}
"""Their fields are as they were received."""


def described(settings: Settings, assets: Iterable[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Add code version, columns and freshness to assets, by their names."""
    return [asset.map_asset_specs(partial(_describe, settings)) for asset in assets]


def column_schema(asset: str) -> dg.TableSchema | None:
    """Give the columns of an asset with types and comments; None if it is no table."""
    if asset not in _COLUMNS:
        return None
    return dg.TableSchema([_column(asset, name) for name in _COLUMNS[asset]])


def column_lineage(asset: str) -> dg.TableColumnLineage | None:
    """Say from which columns of other assets those of an asset are made, as far as that is known."""
    known = {name: _sources(asset, name) for name in _COLUMNS.get(asset, ())}
    return dg.TableColumnLineage({name: deps for name, deps in known.items() if deps}) if any(known.values()) else None


def _describe(settings: Settings, spec: dg.AssetSpec) -> dg.AssetSpec:
    name = spec.key.to_user_string()
    found = {"dagster/column_schema": column_schema(name), "dagster/column_lineage": column_lineage(name)}
    return spec.replace_attributes(
        code_version=f"{schema.FEATURE_SET_VERSION}.{CODE_VERSIONS.get(name, 1)}",
        freshness_policy=freshness_policy(settings, name),
        metadata={**spec.metadata, **{label: value for label, value in found.items() if value is not None}},
    )


def _column(asset: str, name: str) -> dg.TableColumn:
    column: Column[Any] | None = _TABLES[asset].c.get(name) if asset in _TABLES else None
    if column is None and name not in _ONLY_IN_THE_LAKE:
        column = next(table.c[name] for table in _TABLES.values() if name in table.c)
    if column is None:
        kind, comment = _ONLY_IN_THE_LAKE[name]
        is_required = False
    else:
        kind, comment = column.type.compile(_POSTGRESQL).lower(), column.comment or ""
        is_required = not column.nullable
    if asset in _AS_TEXT and name in schema.TRANSACTION_FIELDS:
        kind, is_required = "text", False
    return dg.TableColumn(name, kind, comment, dg.TableColumnConstraints(nullable=not is_required))


def _sources(asset: str, name: str) -> list[dg.TableColumnDep]:
    if asset == "transaction_features" and name not in schema.EVENT_KEYS:
        return _of_feature(name)
    upstream = {
        "validated_transactions": ("raw_transactions", schema.RAW_COLUMNS),
        "rejected_transactions": ("raw_transactions", schema.RAW_COLUMNS),
        "fraud_labels": ("validated_transactions", schema.EVENT_KEYS),
        "transaction_features": ("validated_transactions", schema.EVENT_KEYS),
        "anomaly_scores": ("transaction_features", (*schema.EVENT_KEYS, "amount")),
        "alerts": ("anomaly_scores", _SCORES),
        "random_reviews": ("anomaly_scores", _SCORES),
    }
    if asset in ("user_daily_activity", "user_profiles"):
        return _of_activity(asset, name)
    source, columns = upstream.get(asset, ("", ()))
    if name in columns:
        return _deps(source, name)
    if asset == "anomaly_scores" and name.endswith(("_score", "_percentile", "confidence", "risk_level", "is_alert")):
        return _deps("transaction_features", *schema.FEATURE_COLUMNS)
    return _deps("transaction_features", *schema.FEATURE_COLUMNS) if (asset, name) == ("alerts", "reasons") else []


def _of_activity(asset: str, name: str) -> list[dg.TableColumnDep]:
    own = {"user_id": "user_id", "first_event_time": "event_time", "last_event_time": "event_time"}
    merged = {"mean_amount": ("n", "mean"), "std_amount": ("n", "mean", "m2")}
    if asset == "user_daily_activity":
        return _deps("validated_transactions", own.get(name, "amount"))
    return [] if name == "as_of_day" else _deps("user_daily_activity", *merged.get(name, (name,)))


def _of_feature(name: str) -> list[dg.TableColumnDep]:
    """Tell by its name what a feature is made of: ``<entity>_<aggregate>_<measure>_<window>``."""
    transactions = "validated_transactions"
    if name in ("hour_of_day", "day_of_week", "is_weekend", "is_night"):
        return _deps(transactions, "event_time")
    if name.startswith("amount"):
        return _deps(transactions, "amount", *(("event_time",) if "_x_" in name else ()))
    if "_90d" in name or name == "zscore_x_velocity":
        return [*_deps("user_daily_activity", "user_id", "n", "mean", "m2"), *_deps(transactions, "amount")]
    entity = "merchant_id" if name.startswith("merchant_") else "user_id"
    if any(part in name for part in ("known", "fraud", "genuine")):
        return _deps("fraud_labels", entity, "is_fraud", "label_known_at", "event_time", "label_source")
    columns = [entity, "event_time", *(["amount"] if "amount" in name else [])]
    return _deps(transactions, *columns, *(["merchant_id"] if name.startswith("is_new_merchant") else []))


def _deps(asset: str, *columns: str) -> list[dg.TableColumnDep]:
    return [dg.TableColumnDep(dg.AssetKey(asset), column) for column in columns]
