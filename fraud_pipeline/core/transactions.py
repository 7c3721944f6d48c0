"""Turn rows as received into typed transactions; a row that cannot be used is rejected with a reason."""

from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.core import card_numbers
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import (
    RAW_COLUMNS,
    REJECTED_COLUMNS,
    TIME_DTYPE,
    TRANSACTION_COLUMNS,
)

MAX_ID_LENGTH: Final = 128
MAX_AMOUNT: Final = 1e11
"""Largest amount that a float keeps to four decimals, whatever the limit of a deployment."""
ID_FIELDS: Final = ("transaction_id", "user_id", "merchant_id")

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GROUPED_DIGITS = "[+-]?[0-9][0-9.,'_ \u2019\u00a0\u202f]*"
_INFINITY = r"(?i)[+-]?inf(?:inity)?"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
_OFFSET = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"


def validate(
    raw: pd.DataFrame, day: date, time_zone: str, *, max_amount: float = 1_000_000.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the rows of a day into typed transactions and rejected rows.

    A row is rejected for the first of these reasons: an id is missing, blank, longer than `MAX_ID_LENGTH` or
    holds a control character; the user is a card number, which then is withheld; the amount is missing, has
    separators that leave its value in doubt, is no number, infinite or beyond `max_amount`; the time is
    missing, cannot be read (see :func:`parse_times`) or not on `day`; an otherwise valid row with the same
    ``transaction_id`` comes before it in the order of source file and row number. Negative amounts are valid
    (refunds), and so is zero (a card that is only verified). Amounts are rounded (see :func:`round_amounts`).

    Parameters
    ----------
    raw
        Rows as received (`RAW_COLUMNS`).
    day
        The partition day.
    time_zone
        IANA zone in which `day` is meant.
    max_amount
        Largest absolute amount, in the reporting currency; `MAX_AMOUNT` at most.

    Returns
    -------
    valid, rejected
        `TRANSACTION_COLUMNS` sorted by ``(event_time, transaction_id)``, and `REJECTED_COLUMNS` as
        received but for card numbers, sorted by file and row. Together they have as many rows as `raw`.

    Raises
    ------
    InvalidDataError
        `raw` lacks a column, or rows in and rows out do not add up.
    """
    if missing := [column for column in RAW_COLUMNS if column not in raw]:
        raise InvalidDataError(f"Raw transactions of {day} lack {', '.join(missing)}: materialise them again.")
    rows = raw.sort_values(["source_file", "row_number", "source_name"], kind="stable", ignore_index=True)
    rows["user_id"] = card_numbers.withhold(rows["user_id"])
    amount, amount_faults = _amounts(rows["amount"], max_amount)
    event_time, time_faults = _event_times(rows["event_time"], rows["time_zone"], day, time_zone)
    faults = {**_id_faults(rows), **amount_faults, **time_faults}
    reason = pd.Series(np.select(list(faults.values()), list(faults), default=""), index=rows.index, dtype="str")
    reason.update(_duplicate_reasons(rows[reason == ""]))

    typed = rows.assign(amount=amount, event_time=event_time)
    valid = typed.loc[reason == "", list(TRANSACTION_COLUMNS)]
    valid = valid.sort_values(["event_time", "transaction_id"], ignore_index=True)
    rejected = rows.assign(reason=reason).loc[reason != "", list(REJECTED_COLUMNS)].reset_index(drop=True)
    _require_balance(len(raw), len(valid), len(rejected), day)
    check(valid)
    return valid, rejected


def round_amounts(amount: pd.Series) -> pd.Series:
    """Round to a ten-thousandth of the currency unit, halves to even: what a database column of four decimals keeps.

    No currency has a smaller unit. The result is the float nearest to a number of four decimals, so it survives
    the way through decimals and back bit by bit.

    Parameters
    ----------
    amount
        float64, at most `MAX_AMOUNT` away from zero.

    Returns
    -------
    Series
        float64, without negative zeros.
    """
    return amount.round(4) + 0.0


def check(transactions: pd.DataFrame) -> None:
    """Raise unless the frame is what :func:`validate` promises of valid transactions.

    Raises
    ------
    InvalidDataError
        A column, type, value or the order is wrong.
    """
    import pandera.pandas as pa

    text = {name: pa.Column("str") for name in TRANSACTION_COLUMNS}
    ids = {name: pa.Column("str", pa.Check.str_length(1, MAX_ID_LENGTH)) for name in ID_FIELDS}
    typed = {
        "transaction_id": pa.Column("str", pa.Check.str_length(1, MAX_ID_LENGTH), unique=True),
        "event_time": pa.Column(TIME_DTYPE),
        "amount": pa.Column("float64", pa.Check(np.isfinite, name="finite")),
        "row_number": pa.Column("int64", pa.Check.ge(1)),
    }
    schema = pa.DataFrameSchema(text | ids | typed, strict=True, ordered=True)
    try:
        schema.validate(transactions)
    except (pa.errors.SchemaError, pa.errors.SchemaErrors) as error:
        raise InvalidDataError(f"Transactions break their schema: {error}") from error
    order = transactions[["event_time", "transaction_id"]].reset_index(drop=True)
    if not order.equals(order.sort_values(["event_time", "transaction_id"], ignore_index=True)):
        raise InvalidDataError("Transactions are not sorted by event_time and transaction_id: sort them.")


def parse_amounts(text: pd.Series) -> pd.Series:
    """Read amounts as received: rounded as by :func:`round_amounts`, NaN for what is no plain number."""
    text = text.str.strip()
    return round_amounts(text.where(text.str.fullmatch(_NUMBER)).astype("float64"))


def parse_times(text: pd.Series, time_zones: pd.Series) -> pd.Series:
    """Read ISO 8601 dates with times of day.

    A time without an offset is in the zone of its row. Where the clocks go back such a time comes twice
    and the first is meant; an hour that the clocks skip does not exist. Digits after the microsecond are
    dropped.

    Parameters
    ----------
    text
        Such as ``2026-03-01T12:30:00.5+01:00`` or ``2026-03-01 12:30``; outer blanks do not count.
    time_zones
        IANA zone of each row, with the index of `text`.

    Returns
    -------
    Series
        ``datetime64[us, UTC]`` with the index of `text`; NaT for what is no such time or does not exist.
    """
    times = _read_iso(text, _TIME + _OFFSET)
    wall_clock = _read_iso(text, _TIME).dt.tz_localize(None)
    for zone in time_zones[wall_clock.notna()].unique():
        here = wall_clock[time_zones == zone]
        first = np.ones(len(here), dtype=bool)  # of two, the one in daylight saving time
        times = times.fillna(here.dt.tz_localize(zone, ambiguous=first, nonexistent="NaT").dt.tz_convert("UTC"))
    return times


def _require_balance(received: int, valid: int, rejected: int, day: date) -> None:
    if valid + rejected != received:
        raise InvalidDataError(
            f"Of {received} rows of {day}, {valid} came out valid and {rejected} rejected: "
            "a fault of this program, please report it with the raw rows."
        )


def _read_iso(text: pd.Series, pattern: str = _TIME + _OFFSET + "?") -> pd.Series:
    """Read texts of the form `pattern`, without an offset as if it were UTC; NaT for all others."""
    text = text.str.strip().str.replace(r"(\.[0-9]{6})[0-9]+", r"\1", regex=True)
    is_time = text.str.fullmatch(pattern)
    return pd.to_datetime(text.where(is_time), format="ISO8601", utc=True, errors="coerce").astype(TIME_DTYPE)


def _id_faults(rows: pd.DataFrame) -> dict[str, pd.Series]:
    faults = {}
    for field in ID_FIELDS:
        ids = rows[field]
        faults[f"{field} is missing"] = ids.isna() | (ids.str.strip() == "")
        faults[f"{field} is longer than {MAX_ID_LENGTH} characters"] = ids.str.len() > MAX_ID_LENGTH
        faults[f"{field} holds a control character"] = ids.str.contains(r"[\x00-\x1f\x7f]", regex=True)
    faults["user_id looks like a card number: list user_id under tokenise in source.yaml"] = (
        rows["user_id"] == card_numbers.WITHHELD
    )
    return faults


def _amounts(text: pd.Series, max_amount: float) -> tuple[pd.Series, dict[str, pd.Series]]:
    text = text.str.strip()
    is_number = text.str.fullmatch(_NUMBER)
    amount = text.where(is_number).astype("float64")
    limit = min(max_amount, MAX_AMOUNT)
    return round_amounts(amount), {
        "amount is missing": text.isna() | (text == ""),
        "amount has thousands separators or a second decimal mark": ~is_number & text.str.fullmatch(_GROUPED_DIGITS),
        "amount is infinite": text.str.fullmatch(_INFINITY) | np.isinf(amount),
        "amount is not a number": ~is_number,
        f"amount is beyond the limit: {limit:.15g}": amount.abs() > limit,
    }


def _event_times(
    text: pd.Series, source_zones: pd.Series, day: date, time_zone: str
) -> tuple[pd.Series, dict[str, pd.Series]]:
    event_time = parse_times(text, source_zones)
    local = event_time.dt.tz_convert(time_zone).dt.tz_localize(None)
    return event_time, {
        "event_time is missing": text.isna() | (text.str.strip() == ""),
        "event_time is no ISO 8601 date with a time of day": _read_iso(text).isna(),
        "event_time is in an hour that the clocks skip": event_time.isna(),
        f"event_time is not on the day: {day} in {time_zone}": local.dt.normalize() != pd.Timestamp(day),
    }


def _duplicate_reasons(rows: pd.DataFrame) -> pd.Series:
    """Return a reason for each row whose id an earlier row has."""
    is_later = rows["transaction_id"].duplicated()
    later = rows.loc[is_later, "transaction_id"]
    first = rows[~is_later & rows["transaction_id"].isin(later)].set_index("transaction_id").loc[later]
    reason = "transaction_id is a duplicate: row " + first["row_number"].astype("str") + " of " + first["source_file"]
    return reason.set_axis(later.index)
