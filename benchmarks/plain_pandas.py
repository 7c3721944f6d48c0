"""The same features with pandas alone: grouped rolling windows, cumulative sums and as-of joins.

Written to be fast: identifiers become integers once, every sort is done once, the baseline
is rolled over daily sums instead of rows, and labels are counted by differences of
cumulative counts. Its variances are differences of sums of squares, so it holds for amounts
of ordinary size only.
"""

from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.schema import FEATURE_COLUMNS

WINDOWS: Final = (1, 7, 30)


def pandas_features(transactions: pd.DataFrame, label_events: pd.DataFrame) -> pd.DataFrame:
    """Compute every feature of a whole history in UTC, as ``features.build`` defines them.

    Parameters
    ----------
    transactions, label_events : DataFrame
        As ``features.build`` takes them, of all days.

    Returns
    -------
    DataFrame
        ``FEATURE_COLUMNS``, in the order of ``transactions``.
    """
    rows, events = _as_integers(transactions, label_events)
    built = _of_transaction(rows)
    by_user = rows.sort_values(["user", "position"])
    built = built.assign(**_baseline(by_user), **_windows(by_user, "user"))
    built["user_count_transactions_24h"] = built.pop("user_count_transactions_1d")
    built["zscore_x_velocity"] = built["user_amount_zscore_90d"] * built["user_count_transactions_24h"]
    built = built.assign(**_windows(rows.sort_values(["merchant", "position"]), "merchant"))
    gap = rows.groupby(["user", "merchant"])["event_time"].diff()
    built["is_new_merchant_30d"] = (gap.isna() | (gap > pd.Timedelta(days=30))).astype(float)
    events["is_unexplained"] = _is_unexplained(events, built["user_amount_zscore_90d"], transactions)
    built = built.assign(**_labels(rows, events, "merchant", WINDOWS), **_labels(rows, events, "user", WINDOWS[1:]))
    for days in WINDOWS[1:]:
        share = built[f"merchant_known_genuine_{days}d"] / built[f"merchant_count_transactions_{days}d"]
        built[f"merchant_genuine_share_{days}d"] = share.clip(upper=1.0)
    return built[list(FEATURE_COLUMNS)]


def _as_integers(transactions: pd.DataFrame, label_events: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = transactions[["event_time", "amount"]].assign(position=np.arange(len(transactions)))
    events = label_events[["transaction_id", "label_known_at", "is_fraud"]].copy()
    for entity in ("user", "merchant"):
        rows[entity], names = pd.factorize(transactions[f"{entity}_id"])
        codes, event_names = pd.factorize(label_events[f"{entity}_id"])
        events[entity] = names.get_indexer(event_names)[codes]
    return rows, events.sort_values("label_known_at")


def _of_transaction(rows: pd.DataFrame) -> pd.DataFrame:
    amount, time = rows["amount"], rows["event_time"].dt
    hour, weekday = time.hour, time.weekday
    return pd.DataFrame(
        {
            "amount": amount,
            "amount_log1p": np.sign(amount) * np.log1p(amount.abs()),
            "amount_sqrt": np.sign(amount) * np.sqrt(amount.abs()),
            "hour_of_day": hour.astype(float),
            "day_of_week": weekday.astype(float),
            "is_weekend": (weekday >= 5).astype(float),
            "is_night": (hour < 6).astype(float),
            "amount_x_hour": amount * hour,
            "amount_x_night": amount.where(hour < 6, 0.0),
        }
    )


def _baseline(by_user: pd.DataFrame) -> dict[str, pd.Series]:
    amount = by_user["amount"]
    work = by_user[["user", "event_time"]].assign(
        day=by_user["event_time"].dt.floor("D"), n=1.0, total=amount, squares=amount**2
    )
    sums = ["n", "total", "squares"]
    grouped = work.groupby(["user", "day"], sort=False)
    daily = grouped[sums].sum().reset_index("user")
    before = daily.groupby("user")[sums].rolling("90D", closed="left").sum().fillna(0.0).reset_index()
    first = grouped["event_time"].first().reset_index("user")
    oldest = first["event_time"].astype("int64")
    earliest = oldest.groupby(first["user"]).rolling("90D", closed="both").min().reset_index(drop=True)
    keys = grouped.ngroup().to_numpy()
    today = grouped[sums].cumsum() - work[sums]
    n, total, squares = (before[name].to_numpy()[keys] + today[name] for name in sums)
    mean = (total / n).fillna(0.0)
    std = np.sqrt(((squares - n * mean**2) / (n - 1)).clip(lower=0.0)).where(n > 1, 0.0)
    deviation = (amount - mean).where(n > 0, 0.0)
    spread = np.maximum(np.maximum(std, 0.1 * mean.abs()), 0.01)
    since = by_user.groupby("user")["event_time"].diff().dt.total_seconds().where(n > 0)
    age = (by_user["event_time"].astype("int64") - earliest.to_numpy()[keys]) / 86_400e6
    return {
        "user_amount_ratio_90d": (amount / mean.clip(lower=1.0)).where(n > 0, 1.0),
        "user_amount_zscore_90d": (deviation / spread).where(n > 1, 0.0),
        "user_seconds_since_last": since.fillna(np.inf).clip(upper=90 * 86_400.0),
        "user_mean_amount_90d": mean,
        "user_std_amount_90d": std,
        "user_transactions_per_day_90d": n / age.clip(lower=1.0),
        "user_amount_deviation_90d": deviation,
    }


def _windows(ordered: pd.DataFrame, entity: str) -> dict[str, pd.Series]:
    columns = {}
    for days in WINDOWS:
        window = ordered.groupby(entity, sort=False).rolling(f"{days}D", on="event_time", closed="both")["amount"]
        found = window.agg(["count", "sum"])
        count = pd.Series(found["count"].to_numpy(), index=ordered.index)
        total = found["sum"].to_numpy() - ordered["amount"]
        columns[f"{entity}_count_transactions_{days}d"] = count
        columns[f"{entity}_mean_amount_{days}d"] = total / (count - 1).clip(lower=1.0)
    return columns


def _is_unexplained(events: pd.DataFrame, zscore: pd.Series, transactions: pd.DataFrame) -> pd.Series:
    frauds = events[events["is_fraud"]].sort_values(["user", "label_known_at"])
    rows = pd.Series(transactions.index, index=transactions["transaction_id"])
    own = zscore[rows.reindex(frauds["transaction_id"])].abs().to_numpy()
    in_7_days = frauds.groupby("user", sort=False).rolling("7D", on="label_known_at", closed="both")["is_fraud"].count()
    unexplained = pd.Series((own < 3) & (in_7_days.to_numpy() == 1), index=frauds.index)
    return unexplained.reindex(events.index, fill_value=False)


def _labels(rows: pd.DataFrame, events: pd.DataFrame, entity: str, windows: tuple[int, ...]) -> dict[str, pd.Series]:
    own = events[events[entity] >= 0]
    counted = own[["is_fraud", "is_unexplained"]].astype(float).assign(known=1.0).groupby(own[entity]).cumsum()
    running = counted.assign(time=own["label_known_at"], **{entity: own[entity]})
    left = rows[["event_time", entity]]

    def until(shift: int, exact: bool) -> pd.DataFrame:
        at = left.assign(time=left["event_time"] - pd.Timedelta(days=shift))
        return pd.merge_asof(at, running, on="time", by=entity, allow_exact_matches=exact).fillna(0.0)

    columns: dict[str, pd.Series] = {}
    now = until(0, False)
    for days in windows:
        # A label exactly at the beginning of the window still counts.
        then = until(days, False)
        known, frauds, unexplained = (now[name] - then[name] for name in ("known", "is_fraud", "is_unexplained"))
        columns[f"{entity}_known_frauds_{days}d"] = frauds
        columns[f"{entity}_known_genuine_{days}d"] = known - frauds
        columns[f"{entity}_fraud_rate_{days}d"] = frauds / known.clip(lower=1.0)
        columns[f"{entity}_unexplained_frauds_{days}d"] = unexplained
    reported = own.loc[own["is_fraud"], [entity, "label_known_at"]].assign(time=lambda frame: frame["label_known_at"])
    last = pd.merge_asof(
        left.rename(columns={"event_time": "time"}), reported, on="time", by=entity, allow_exact_matches=False
    )
    since = (left["event_time"] - last["label_known_at"]).dt.total_seconds() / 86_400
    return columns | {f"{entity}_days_since_known_fraud": since.fillna(np.inf).clip(upper=30.0)}
