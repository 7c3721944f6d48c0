"""An alert computed again from the recorded versions and the lake, beside what was recorded."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import pandas as pd
from sqlalchemy import select

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import pipeline_runs
from fraud_pipeline.adapters.database.workflow_repository import read_alert
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.core import alerts as core_alerts
from fraud_pipeline.core import features, scoring
from fraud_pipeline.core.schema import FEATURE_COLUMNS, FEATURE_SET_VERSION
from fraud_pipeline.orchestration.assets.features import FeatureBuilder

TOLERANCE: Final = 1e-9
_NAMED: Final = 3
_SCORES: Final = ("anomaly_score", "score_percentile", "confidence")


@dataclass(frozen=True)
class Check:
    """One thing that was recorded and computed again.

    Parameters
    ----------
    what : str
    recorded, recomputed : str
        For people; "-" for what could not be computed.
    same : bool
    """

    what: str
    recorded: str
    recomputed: str
    same: bool


@dataclass(frozen=True)
class Verification:
    """All checks of an alert, and which inputs of it were written after it was raised."""

    checks: Sequence[Check]
    changed_inputs: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether everything is the same."""
        return all(check.same for check in self.checks)


def verify(
    database: Database, lake: Lake, model_store: ModelStore, alert_id: int, *, time_zone: str, baseline_days: int
) -> Verification:
    """Compute features, score, decision and reasons of an alert again and compare them with what was recorded.

    Parameters
    ----------
    database : Database
        With the current schema.
    lake : Lake
    model_store : ModelStore
    alert_id : int
    time_zone : str
        That of partition days.
    baseline_days : int
        Days before a transaction's own that its user's baseline covers.

    Returns
    -------
    Verification
        Numbers are the same within `TOLERANCE`. With another feature set, or a transaction that is no longer there,
        nothing further is computed.

    Raises
    ------
    NotFoundError
        There is no such alert.
    MissingPartitionError
        The lake no longer has the day of the alert.
    ModelArtefactError
        The model version is gone or was altered.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    with database.begin() as connection:
        recorded = read_alert(connection, alert_id)
    feature_set = _check("feature set", recorded["feature_set_version"], FEATURE_SET_VERSION)
    if not feature_set.same:
        return Verification([feature_set], ["the feature definitions: install the version that raised the alert"])
    day: date = recorded["event_day"]
    rows = lake.read("validated_transactions", day)
    built = FeatureBuilder(lake, time_zone, baseline_days).build([day], [rows])
    own = built[built["transaction_id"] == recorded["transaction_id"]].reset_index(drop=True)
    if own.empty:
        gone = Check("transaction", str(recorded["transaction_id"]), "-", False)
        return Verification([feature_set, gone], _written_since(database, recorded["raised_at"], day, baseline_days))
    stored = model_store.model(int(recorded["model_version"]))
    scores = scoring.score(own, stored.model)
    reasons = core_alerts.raise_alerts(scores, own, stored.model, stored.feature_references)["reasons"].tolist()
    is_alert = recorded["selection"] == "threshold"
    checks = [
        feature_set,
        _check("model artefact", recorded["artefact_sha256"], stored.version.sha256),
        _check("threshold version", recorded["threshold_version"], stored.threshold_version),
        _check_features(lake, day, own),
        *(_check_number(name, recorded[name], scores[name].iloc[0]) for name in _SCORES),
        _check("decision", _decision(is_alert), _decision(bool(scores["is_alert"].iloc[0]))),
        *(_check(name, recorded[name], scores[name].iloc[0]) for name in ("risk_level", "priority")),
        # What was drawn at random comes without reasons.
        _check_reasons(recorded["reasons"], reasons[0] if is_alert and reasons else []),
    ]
    same = all(check.same for check in checks)
    changed = [] if same else _written_since(database, recorded["raised_at"], day, baseline_days)
    return Verification(checks, changed)


def _check(what: str, recorded: object, recomputed: object) -> Check:
    return Check(what.replace("_", " "), str(recorded), str(recomputed), str(recorded) == str(recomputed))


def _check_number(what: str, recorded: float, recomputed: float) -> Check:
    return Check(what.replace("_", " "), f"{recorded:.12g}", f"{recomputed:.12g}", _same(recorded, recomputed))


def _check_features(lake: Lake, day: date, own: pd.DataFrame) -> Check:
    """Compare with the stored features of the transaction."""
    stored = lake.read("transaction_features", day)
    stored = stored[stored["transaction_id"] == own["transaction_id"].iloc[0]]
    if stored.empty:
        return Check("features", "-", f"{len(FEATURE_COLUMNS)} features", False)
    pairs = {name: (float(stored[name].iloc[0]), float(own[name].iloc[0])) for name in FEATURE_COLUMNS}
    return _check_values("features", pairs, f"{len(FEATURE_COLUMNS)} features")


def _check_reasons(recorded: Sequence[Mapping[str, Any]], recomputed: Sequence[Mapping[str, Any]]) -> Check:
    """Compare which features are reasons, in which order, with their values and contributions."""
    names = [[str(reason["feature"]) for reason in reasons] for reasons in (recorded, recomputed)]
    if names[0] != names[1]:
        return Check("reasons", _list(names[0]), _list(names[1]), False)
    pairs = {
        f"{before['feature']} {field}": (_number(before.get(field)), _number(after.get(field)))
        for before, after in zip(recorded, recomputed, strict=True)
        for field in ("value", "contribution")
    }
    return _check_values("reasons", pairs, _list(names[0]))


def _check_values(what: str, pairs: Mapping[str, tuple[float, float]], if_same: str) -> Check:
    different = {name: pair for name, pair in pairs.items() if not _same(*pair)}
    if not different:
        return Check(what, if_same, if_same, True)
    before, after = ([f"{name} {pair[side]:.12g}" for name, pair in different.items()] for side in (0, 1))
    return Check(what, _list(before), _list(after), False)


def _written_since(database: Database, raised_at: datetime, day: date, baseline_days: int) -> list[str]:
    """Say which days of transactions and labels that the features read were written after the alert was raised."""
    reaches = {
        "validated_transactions": ("transactions", features.days_back(baseline_days)),
        "fraud_labels": ("labels", features.LABEL_CALENDAR_DAYS),
    }
    written = []
    with database.begin() as connection:
        for asset, (name, reach) in reaches.items():
            statement = (
                select(pipeline_runs.c.event_day)
                .where(
                    pipeline_runs.c.asset == asset,
                    pipeline_runs.c.event_day.between(day - timedelta(days=reach), day),
                    pipeline_runs.c.written_at > raised_at,
                )
                .distinct()
                .order_by(pipeline_runs.c.event_day.desc())
            )
            days = connection.scalars(statement).all()
            if days:
                written.append(f"{name} of {_list([str(each) for each in days])}")
    return written


def _same(recorded: float, recomputed: float) -> bool:
    if math.isnan(recorded) or math.isnan(recomputed):
        return math.isnan(recorded) and math.isnan(recomputed)
    return abs(recorded - recomputed) <= TOLERANCE * max(1.0, abs(recorded))


def _number(value: Any) -> float:  # noqa: ANN401 - from JSON
    return math.nan if value is None else float(value)


def _decision(is_alert: bool) -> str:
    return "alert" if is_alert else "below the threshold"


def _list(parts: Iterable[str]) -> str:
    named = list(parts)
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more if named else "none"
