"""Every feature computed a second time, in plain Python straight from its definition."""

import math
import statistics
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from fraud_pipeline_tests.builders import DAY, SECOND, Event, Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local_time(time: int, time_zone: str) -> datetime:
    return (EPOCH + timedelta(microseconds=time)).astimezone(ZoneInfo(time_zone))


def local_day(time: int, time_zone: str) -> date:
    return local_time(time, time_zone).date()


def plain_features(rows: Sequence[Row], events: Sequence[Event], time_zone: str) -> list[dict[str, float]]:
    """Features of each row, in the order of ``sorted(rows)``."""
    ordered = sorted(rows)
    return [
        {
            **_of_transaction(row, time_zone),
            **_of_user(row, ordered[:position], time_zone),
            **_of_risk(row, ordered[:position], events),
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


def _of_user(row: Row, earlier: Sequence[Row], time_zone: str) -> dict[str, float]:
    own = [other for other in earlier if other.user_id == row.user_id]
    today = local_day(row.time, time_zone)
    baseline = [other for other in own if (today - local_day(other.time, time_zone)).days <= 90]
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
        "user_seconds_since_last": min(since_last, 90 * 86_400),
        "user_mean_amount_90d": mean,
        "user_std_amount_90d": std,
        "user_transactions_per_day_90d": len(baseline) / max(age, 1.0),
        "user_amount_deviation_90d": row.amount - mean if baseline else 0.0,
        "user_count_transactions_24h": velocity,
        "zscore_x_velocity": zscore * velocity,
    }


def _of_risk(row: Row, earlier: Sequence[Row], events: Sequence[Event]) -> dict[str, float]:
    def count(days: int, is_fraud: bool, **who: str) -> int:
        return sum(
            row.time - days * DAY <= event.time < row.time
            and event.is_fraud == is_fraud
            and all(getattr(event, key) == value for key, value in who.items())
            for event in events
        )

    at_merchant = [other.time for other in earlier if other.merchant_id == row.merchant_id]
    found: dict[str, float] = {}
    for days in (1, 7, 30):
        frauds = count(days, True, merchant_id=row.merchant_id)
        genuine = count(days, False, merchant_id=row.merchant_id)
        found |= {
            f"merchant_count_transactions_{days}d": 1 + sum(row.time - time <= days * DAY for time in at_merchant),
            f"merchant_known_frauds_{days}d": frauds,
            f"merchant_known_genuine_{days}d": genuine,
            f"merchant_fraud_rate_{days}d": frauds / (frauds + genuine) if frauds + genuine else 0.0,
            f"user_known_frauds_{days}d": count(days, True, user_id=row.user_id),
        }
    for unused in ("merchant_known_genuine_1d", "merchant_fraud_rate_1d", "user_known_frauds_1d"):
        del found[unused]
    return found
