"""Features in plain words: what a value of each of them says of a transaction.

A phrase states a fact and does not judge it: what is large for one model is small for another.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from fraud_pipeline.core import entity_risk, profiles

_DAY: Final = 86_400
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WINDOW: Final = re.compile(r"_(\d+)([dh])$")


def phrase(feature: str, value: float) -> str:
    """Say what a feature's value means.

    Parameters
    ----------
    feature : str
        Of ``FEATURE_COLUMNS``, or the score column of a detector.
    value : float

    Returns
    -------
    str
        A phrase without full stop; ``<feature> is <value>`` for a feature that is not known.
    """
    stem, window = _split(feature)
    if stem not in _PHRASES:
        return f"{feature} is {value:.4g}"
    return _PHRASES[stem](value, window)


def topic(feature: str) -> str:
    """Name what a feature is about: features of one topic differ in their window or in their scale."""
    stem, _ = _split(feature)
    return _TOPICS.get(stem, stem)


def is_known(feature: str) -> bool:
    """Tell whether there are words for a feature."""
    return _split(feature)[0] in _PHRASES


def _split(feature: str) -> tuple[str, str]:
    """Split ``merchant_known_frauds_7d`` into its stem and ``7 days``."""
    match = _WINDOW.search(feature)
    if not match:
        return feature, ""
    unit = "day" if match[2] == "d" else "hour"
    return feature[: match.start()], _count(int(match[1]), unit)


def _count(number: float, thing: str, none: str = "no") -> str:
    whole = round(number)
    return f"{whole or none} {thing}{'' if whole == 1 else 's'}"


def _share(value: float) -> str:
    percent = 100 * value
    return f"{percent:.0f}%" if percent >= 1 else f"{percent:.1g}%"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 0.95 else f"{value:.2g}"


def _duration(seconds: float) -> str:
    for unit, size in (("day", _DAY), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return _count(seconds / size, unit)
    return _count(seconds, "second", none="0")


def _amount(value: float, _: str = "") -> str:
    return f"amount {value:.2f}" if value >= 0 else f"refund of {-value:.2f}"


def _amount_ratio(value: float, _: str) -> str:
    return f"{'amount' if value >= 0 else 'refund'} {_number(abs(value))} times the user's mean"


def _amount_zscore(value: float, _: str) -> str:
    if abs(value) < 0.05:
        return "amount at the user's mean"
    return f"amount {abs(value):.1f} standard deviations {'above' if value > 0 else 'below'} the user's mean"


def _amount_deviation(value: float, _: str) -> str:
    if abs(value) < 0.005:
        return "amount at the user's mean"
    return f"amount {abs(value):.2f} {'above' if value > 0 else 'below'} the user's mean"


def _since_last(value: float, _: str) -> str:
    longest = profiles.BASELINE_DAYS
    if value >= longest * _DAY:
        return f"user's first transaction in {longest} days"
    return f"{_duration(value)} after the user's previous transaction"


def _transactions(entity: str) -> Callable[[float, str], str]:
    def say(value: float, window: str) -> str:
        if round(value) <= 1:
            return f"{entity}'s only transaction in {window}"
        return f"{value:.0f} transactions of the {entity} in {window}"

    return say


def _known_frauds(entity: str, kind: str = "") -> Callable[[float, str], str]:
    return lambda value, window: f"{entity} had {_count(value, f'{kind}confirmed fraud')} in {window}"


def _known_genuine(entity: str) -> Callable[[float, str], str]:
    return lambda value, window: f"{entity} had {_count(value, 'transaction')} confirmed genuine in {window}"


def _since_known_fraud(entity: str) -> Callable[[float, str], str]:
    def say(value: float, _: str) -> str:
        if value >= entity_risk.WINDOW_DAYS:
            return f"{entity} had no confirmed frauds in {entity_risk.WINDOW_DAYS} days"
        return f"{entity}'s latest fraud was confirmed {_duration(value * _DAY)} before"

    return say


def _merchant_fraud_rate(value: float, window: str) -> str:
    labels = f"of the merchant's labels of the last {window.removeprefix('1 ')}"
    return f"{_share(value)} {labels} are fraud" if value > 0 else f"none {labels} is fraud"


def _merchant_genuine_share(value: float, window: str) -> str:
    transactions = f"of the merchant's transactions of the last {window.removeprefix('1 ')}"
    return f"{_share(value)} {transactions} are known genuine" if value > 0 else f"none {transactions} is known genuine"


def _new_merchant(value: float, window: str) -> str:
    if value:
        return f"user's first payment at this merchant in {window}"
    return f"user had paid at this merchant within {window}"


_PHRASES: Final[Mapping[str, Callable[[float, str], str]]] = {
    "amount": _amount,
    "amount_log1p": lambda value, _: _amount(float(np.sign(value) * np.expm1(abs(value)))),
    "amount_sqrt": lambda value, _: _amount(float(np.sign(value) * value**2)),
    "user_amount_ratio": _amount_ratio,
    "user_amount_zscore": _amount_zscore,
    "user_amount_deviation": _amount_deviation,
    "hour_of_day": lambda value, _: f"time of day {value:02.0f}:00 to {value:02.0f}:59",
    "day_of_week": lambda value, _: f"on a {_WEEKDAYS[round(value) % 7]}",
    "is_weekend": lambda value, _: "at the weekend" if value else "on a working day",
    "is_night": lambda value, _: "at night" if value else "not at night",
    "user_seconds_since_last": _since_last,
    "user_mean_amount": lambda value, window: f"user's mean amount {value:.2f} in {window}",
    "user_std_amount": lambda value, window: f"user's amounts vary by {value:.2f} in {window} (standard deviation)",
    "user_transactions_per_day": lambda value, _: f"user makes {_number(value)} transactions a day",
    "user_count_transactions": _transactions("user"),
    "merchant_count_transactions": _transactions("merchant"),
    "merchant_mean_amount": lambda value, window: f"merchant's mean amount {value:.2f} in {window}",
    "amount_x_hour": lambda value, _: f"amount times hour of day is {value:.0f}",
    "amount_x_night": lambda value, _: f"{_amount(value)} at night" if value else "no amount at night",
    "zscore_x_velocity": lambda value, _: f"amount's z-score times the user's transactions of 24 hours is {value:.1f}",
    "user_known_frauds": _known_frauds("user"),
    "merchant_known_frauds": _known_frauds("merchant"),
    "merchant_unexplained_frauds": _known_frauds("merchant", "otherwise unexplained "),
    "user_known_genuine": _known_genuine("user"),
    "merchant_known_genuine": _known_genuine("merchant"),
    "merchant_fraud_rate": _merchant_fraud_rate,
    "merchant_genuine_share": _merchant_genuine_share,
    "user_days_since_known_fraud": _since_known_fraud("user"),
    "merchant_days_since_known_fraud": _since_known_fraud("merchant"),
    "is_new_merchant": _new_merchant,
    "isolation_forest_score": lambda value, _: f"Isolation Forest score {value:.2f}",
    "local_outlier_factor_score": lambda value, _: f"Local Outlier Factor {value:.1f}",
}

_TOPICS: Final[Mapping[str, str]] = {
    "amount_log1p": "amount",
    "amount_sqrt": "amount",
    "amount_x_hour": "amount",
    "user_amount_ratio": "user_amount",
    "user_amount_zscore": "user_amount",
    "user_amount_deviation": "user_amount",
    "zscore_x_velocity": "user_amount",
    "amount_x_night": "is_night",
}
