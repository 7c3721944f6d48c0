"""Every feature computed a second time, in plain Python straight from its definition."""

import math
import statistics
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline_tests.builders import DAY, SECOND, Event, Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local_time(time: int, time_zone: str) -> datetime:
    return (EPOCH + timedelta(microseconds=time)).astimezone(ZoneInfo(time_zone))


def local_day(time: int, time_zone: str) -> date:
    return local_time(time, time_zone).date()


def plain_features(
    rows: Sequence[Row], events: Sequence[Event], time_zone: str, baseline_days: int = 90
) -> list[dict[str, float]]:
    """Features of each row, in the order of ``sorted(rows)``."""
    ordered = sorted(rows)
    users = [_of_user(row, ordered[:position], time_zone, baseline_days) for position, row in enumerate(ordered)]
    zscores = {row.transaction_id: habits["user_amount_zscore_90d"] for row, habits in zip(ordered, users, strict=True)}
    return [
        {
            **_of_transaction(row, time_zone),
            **users[position],
            **_of_windows(row, ordered[:position]),
            **_of_labels(row, ordered[:position], events, zscores),
        }
        for position, row in enumerate(ordered)
    ]


def _of_transaction(row: Row, time_zone: str) -> dict[str, float]:
    local = local_time(row.time, time_zone)
    size = abs(row.amount)
    return {
        "amount": row.amount,
        "amount_log1p": math.copysign(math.log(1 + size), row.amount),
        "amount_sqrt": math.copysign(math.sqrt(size), row.amount),
        "hour_of_day": local.hour,
        "day_of_week": local.weekday(),
        "is_weekend": local.weekday() in (5, 6),
        "is_night": local.hour in range(6),
        "amount_x_hour": row.amount * local.hour,
        "amount_x_night": row.amount if local.hour in range(6) else 0.0,
    }


def _of_user(row: Row, earlier: Sequence[Row], time_zone: str, baseline_days: int) -> dict[str, float]:
    own = [other for other in earlier if other.user_id == row.user_id]
    today = local_day(row.time, time_zone)
    baseline = [other for other in own if (today - local_day(other.time, time_zone)).days <= baseline_days]
    amounts = [other.amount for other in baseline]
    velocity = 1 + sum(row.time - other.time <= DAY for other in own)
    mean = statistics.fmean(amounts) if amounts else 0.0
    std = statistics.stdev(amounts) if len(amounts) > 1 else 0.0
    zscore = (row.amount - mean) / max(std, 0.1 * abs(mean), 0.01) if len(amounts) > 1 else 0.0
    age = (row.time - baseline[0].time) / DAY if baseline else 0.0
    since_last = (row.time - baseline[-1].time) / SECOND if baseline else math.inf
    return {
        "user_amount_ratio_90d": row.amount / max(mean, 1.0) if baseline else 1.0,
        "user_amount_zscore_90d": zscore,
        "user_seconds_since_last": min(since_last, baseline_days * 86_400),
        "user_mean_amount_90d": mean,
        "user_std_amount_90d": std,
        "user_transactions_per_day_90d": len(baseline) / max(age, 1.0),
        "user_amount_deviation_90d": row.amount - mean if baseline else 0.0,
        "user_count_transactions_24h": velocity,
        "zscore_x_velocity": zscore * velocity,
    }


def _of_windows(row: Row, earlier: Sequence[Row]) -> dict[str, float]:
    found: dict[str, float] = {}
    for entity in ("user", "merchant"):
        own = [other for other in earlier if getattr(other, f"{entity}_id") == getattr(row, f"{entity}_id")]
        for days in (1, 7, 30):
            amounts = [other.amount for other in own if row.time - other.time <= days * DAY]
            found[f"{entity}_count_transactions_{days}d"] = 1 + len(amounts)
            found[f"{entity}_mean_amount_{days}d"] = statistics.fmean(amounts) if amounts else 0.0
    del found["user_count_transactions_1d"]
    known = any(
        (other.user_id, other.merchant_id) == (row.user_id, row.merchant_id) and row.time - other.time <= 30 * DAY
        for other in earlier
    )
    return found | {"is_new_merchant_30d": float(not known)}


def _of_labels(
    row: Row, earlier: Sequence[Row], events: Sequence[Event], zscores: dict[str, float]
) -> dict[str, float]:
    def is_unexplained(fraud: Event) -> bool:
        zscore = zscores.get(fraud.transaction_id, math.nan) if math.isnan(fraud.zscore) else fraud.zscore
        company = any(
            other.is_fraud
            and other.user_id == fraud.user_id
            and other.transaction_id != fraud.transaction_id
            and fraud.time - 7 * DAY <= other.time <= fraud.time
            for other in events
        )
        return not abs(zscore) >= 3 and not company

    known = [event for event in events if event.time < row.time]
    found: dict[str, float] = {}
    for entity in ("user", "merchant"):
        own = [event for event in known if getattr(event, f"{entity}_id") == getattr(row, f"{entity}_id")]
        last = max((event.time for event in own if event.is_fraud), default=-math.inf)
        found[f"{entity}_days_since_known_fraud"] = min((row.time - last) / DAY, 30.0)
        for days in (1, 7, 30):
            within = [event for event in own if row.time - days * DAY <= event.time]
            frauds = [event for event in within if event.is_fraud]
            genuine = len(within) - len(frauds)
            at_merchant = 1 + sum(
                other.merchant_id == row.merchant_id and row.time - other.time <= days * DAY for other in earlier
            )
            found |= {
                f"{entity}_known_frauds_{days}d": len(frauds),
                f"{entity}_known_genuine_{days}d": genuine,
                f"{entity}_fraud_rate_{days}d": len(frauds) / len(within) if within else 0.0,
                f"{entity}_genuine_share_{days}d": min(genuine / at_merchant, 1.0),
                f"{entity}_unexplained_frauds_{days}d": sum(map(is_unexplained, frauds)),
            }
    return {name: value for name, value in found.items() if name in FEATURE_COLUMNS}
