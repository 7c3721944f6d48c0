"""Read a label file as delivered into canonical rows with the day on which each becomes known."""

from collections.abc import Iterator
from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.adapters.source import LabelTable, Source
from fraud_pipeline.adapters.tabular_files import parse_text_table
from fraud_pipeline.core.errors import ConfigurationError, InputFileError
from fraud_pipeline.core.schema import LANDED_LABEL_COLUMNS, TIME_DTYPE
from fraud_pipeline.core.transactions import parse_times

LANDED_LABEL_DTYPES: Final = dict.fromkeys(LANDED_LABEL_COLUMNS, "str") | {
    "is_fraud": "bool",
    "label_known_at": TIME_DTYPE,
    "delay_days": "float64",
    "row_number": "int64",
}
_DATE = r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|\+00:00)?)?"
_YEARS = (1970, 2199)


def read_labels(data: bytes, name: str, sha256: str, source: Source) -> pd.DataFrame:
    """Read a label file of `source`, all of it or nothing.

    Parameters
    ----------
    data, name, sha256
        The bytes of the file, its name and the SHA-256 of the bytes.
    source
        With `labels` described.

    Returns
    -------
    DataFrame
        `LANDED_LABEL_COLUMNS` in the order of the file. ``event_day`` is text, ``YYYY-MM-DD``.

    Raises
    ------
    ConfigurationError
        `source` describes no labels.
    InputFileError
        The file cannot be read, or a row is unusable: names file, row, column, value and remedy.
    """
    table = source.labels
    if table is None:
        raise ConfigurationError(f"Source {source.name} describes no labels: add the key labels to read {name}.")
    text = parse_text_table(data, name, table)
    _refuse(text["transaction_id"].fillna("").str.strip() == "", text, "transaction_id", name, table, "give an id")
    rows = text[["transaction_id"]].assign(
        is_fraud=_truths(text, name, table),
        label_known_at=_known_times(text, name, table, source.time_zone),
        delay_days=np.nan if table.delay_days is None else table.delay_days,
        event_day=_event_days(text, name, table),
        source_name=source.name,
        source_file=name,
        row_number=np.arange(1, len(text) + 1),
        file_sha256=sha256,
    )
    return rows.astype(LANDED_LABEL_DTYPES)


def read_scenarios(data: bytes, name: str, source: Source) -> pd.DataFrame:
    """Read which kind of fraud each labelled transaction was.

    Returns
    -------
    DataFrame
        ``transaction_id`` and ``scenario`` as text, one row for each transaction that has one; empty if the source
        names no such column.
    """
    table = source.labels
    if table is None or table.columns.scenario is None:
        return pd.DataFrame({"transaction_id": pd.Series(dtype="str"), "scenario": pd.Series(dtype="str")})
    text = parse_text_table(data, name, table)[["transaction_id", "scenario"]]
    known = text[text["scenario"].fillna("").str.strip() != ""]
    return known.drop_duplicates("transaction_id", ignore_index=True)


def by_known_day(labels: pd.DataFrame, time_zone: str) -> Iterator[tuple[date, pd.DataFrame]]:
    """Split `LANDED_LABEL_COLUMNS` by the day on which the labels are known, in order.

    That is the day of ``label_known_at`` in `time_zone`, the zone of the deployment's days, or
    ``event_day`` plus the delay, rounded up to whole days.
    """
    due = pd.to_datetime(labels["event_day"]) + pd.to_timedelta(np.ceil(labels["delay_days"]), unit="D")
    known_day = labels["label_known_at"].dt.tz_convert(time_zone).dt.tz_localize(None).dt.normalize().fillna(due)
    for day, rows in labels.groupby(known_day, sort=True):
        yield pd.Timestamp(str(day)).date(), rows.reset_index(drop=True)


def _truths(text: pd.DataFrame, name: str, table: LabelTable) -> pd.Series:
    word = text["is_fraud"].str.strip().str.casefold()
    is_fraud = word.isin(table.true_values)
    is_unknown = ~is_fraud & ~word.isin(table.false_values)
    _refuse(is_unknown, text, "is_fraud", name, table, "add it to labels.true_values or labels.false_values")
    return is_fraud


def _known_times(text: pd.DataFrame, name: str, table: LabelTable, time_zone: str) -> pd.Series:
    if table.columns.label_known_at is None:
        return pd.Series(pd.NaT, index=text.index, dtype=TIME_DTYPE)
    times = parse_times(text["label_known_at"], pd.Series(time_zone, index=text.index, dtype="str"))
    remedy = "give an ISO 8601 date with a time of day, such as 2026-03-01T12:30:00+01:00"
    _refuse(~times.dt.year.between(*_YEARS), text, "label_known_at", name, table, remedy)
    return times


def _event_days(text: pd.DataFrame, name: str, table: LabelTable) -> pd.Series:
    if table.columns.event_day is None:
        return pd.Series(np.nan, index=text.index, dtype="str")
    digits = text["event_day"].str.strip().str.extract(f"^{_DATE}$")
    days = pd.to_datetime(digits[0] + "-" + digits[1] + "-" + digits[2], format="%Y-%m-%d", errors="coerce")
    _refuse(~days.dt.year.between(*_YEARS), text, "event_day", name, table, "give a date such as 2026-03-01")
    return days.dt.strftime("%Y-%m-%d")


def _refuse(is_bad: pd.Series, text: pd.DataFrame, field: str, name: str, table: LabelTable, remedy: str) -> None:
    """Raise for the first bad row of `field`, if there is one."""
    if not is_bad.any():
        return
    row = int(is_bad.to_numpy().argmax())
    value = text[field].iloc[row]
    shown = "an empty cell" if pd.isna(value) else repr(value)
    others = int(is_bad.sum()) - 1
    more = f" (and {others} more rows)" if others else ""
    raise InputFileError(
        f"{name}, row {row + 1}, column {table.mapping[field]!r}: {shown} cannot be used as {field}{more}; {remedy}."
    )
