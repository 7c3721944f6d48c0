import math
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.schema import RAW_COLUMNS, REJECTED_COLUMNS, TIME_DTYPE, TRANSACTION_COLUMNS
from fraud_pipeline.core.transactions import (
    MAX_AMOUNT,
    _require_balance,
    check,
    parse_times,
    round_amounts,
    validate,
)

DAY = date(2026, 1, 31)
Row = dict[str, Any]


def raw(*rows: Row) -> pd.DataFrame:
    """Rows that are valid apart from what is given."""
    plain = {
        "user_id": "u",
        "merchant_id": "m",
        "event_time": "2026-01-31T12:00:00Z",
        "amount": "10.5",
        "time_zone": "UTC",
        "currency": "EUR",
        "source_name": "s",
        "source_file": "day.csv",
        "file_sha256": "f" * 64,
    }
    complete = [{"transaction_id": f"t{n}", "row_number": n} | plain | row for n, row in enumerate(rows, start=1)]
    frame = pd.DataFrame(complete, columns=list(RAW_COLUMNS))
    return frame.astype(dict.fromkeys(RAW_COLUMNS, "str") | {"row_number": "int64"})


def reason_for(**row: object) -> str:
    valid, rejected = validate(raw(row), DAY, "UTC")
    assert len(valid) == 0
    return str(rejected["reason"].item())


def amount_of(text: str) -> float:
    valid, _ = validate(raw({"amount": text}), DAY, "UTC")
    return float(valid["amount"].item())


def instants(*texts: str | None, zone: str = "UTC") -> list[object]:
    times = parse_times(pd.Series(texts, dtype="str"), pd.Series([zone] * len(texts), dtype="str"))
    assert times.dtype == TIME_DTYPE
    return [None if pd.isna(time) else time.isoformat() for time in times]


def test_valid_rows_are_typed_and_sorted_by_time_and_id() -> None:
    valid, rejected = validate(
        raw(
            {"transaction_id": "b", "event_time": "2026-01-31T12:00:00Z"},
            {"transaction_id": "c", "event_time": "2026-01-31T11:00:00.000001Z"},
            {"transaction_id": "a", "event_time": "2026-01-31T13:00:00+01:00", "amount": "-3"},
        ),
        DAY,
        "UTC",
    )
    assert valid["transaction_id"].tolist() == ["c", "a", "b"]
    assert valid["amount"].tolist() == [10.5, -3.0, 10.5]
    assert valid["row_number"].tolist() == [2, 3, 1]
    assert list(valid) == list(TRANSACTION_COLUMNS)
    assert valid.dtypes.astype("str").to_dict() == dict.fromkeys(TRANSACTION_COLUMNS, "str") | {
        "event_time": TIME_DTYPE,
        "amount": "float64",
        "row_number": "int64",
    }
    assert rejected.empty


def test_no_rows_give_no_rows_of_the_same_types() -> None:
    some, no = validate(raw({}, {"amount": "x"}), DAY, "UTC"), validate(raw(), DAY, "UTC")
    for with_rows, without_rows in zip(some, no, strict=True):
        pd.testing.assert_frame_equal(with_rows.head(0), without_rows, check_index_type=False)


@pytest.mark.parametrize("field", ["transaction_id", "user_id", "merchant_id"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "is missing"),
        ("", "is missing"),
        (" \t", "is missing"),
        ("x" * 129, "is longer than 128 characters"),
        ("a\x00b", "holds a control character"),
        ("a\n", "holds a control character"),
    ],
)
def test_an_unusable_id_is_rejected(field: str, value: str | None, reason: str) -> None:
    assert reason_for(**{field: value}) == f"{field} {reason}"


def test_ids_are_kept_to_the_letter() -> None:
    ids = ["007", " 7", "é" * 128, "NA", "1e5"]
    valid, _ = validate(raw(*({"transaction_id": text} for text in ids)), DAY, "UTC")
    assert set(valid["transaction_id"]) == set(ids)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0", 0.0), ("-12.50", -12.5), ("+5.", 5.0), (".5", 0.5), (" 7 ", 7.0), ("1e3", 1000.0), ("1000000", 1e6)],
)
def test_an_amount_is_read(text: str, amount: float) -> None:
    assert amount_of(text) == amount


def test_there_is_no_negative_zero() -> None:
    assert np.copysign(1, amount_of("-0.0")) == 1


@given(st.lists(st.decimals(-MAX_AMOUNT, MAX_AMOUNT, places=4), min_size=1, max_size=200))
@settings(max_examples=20, deadline=None)
def test_amounts_of_four_decimals_are_read_exactly(amounts: list[Decimal]) -> None:
    rows = [{"transaction_id": f"{n:03}", "amount": f"{amount:f}"} for n, amount in enumerate(amounts)]
    valid, _ = validate(raw(*rows), DAY, "UTC", max_amount=MAX_AMOUNT)
    assert valid["amount"].tolist() == [float(amount) for amount in amounts]


@given(st.lists(st.floats(-MAX_AMOUNT, MAX_AMOUNT), min_size=1, max_size=200))
@settings(max_examples=50, deadline=None)
def test_amounts_are_rounded_to_what_four_decimals_can_say(amounts: list[float]) -> None:
    for amount, rounded in zip(amounts, round_amounts(pd.Series(amounts)), strict=True):
        in_decimals = Decimal(repr(rounded)).quantize(Decimal("0.0001"))
        assert float(in_decimals) == rounded
        # Half a ten-thousandth, and what floats of this size cannot tell apart.
        assert abs(in_decimals - Decimal(amount)) <= Decimal("0.00005") + Decimal(math.ulp(amount))


@pytest.mark.parametrize(("text", "amount"), [("1.23456", 1.2346), ("-0.00004", 0.0), ("0.1", 0.1), ("1e-9", 0.0)])
def test_an_amount_is_rounded_to_a_ten_thousandth(text: str, amount: float) -> None:
    assert amount_of(text) == amount


def test_no_setting_lets_through_an_amount_that_loses_decimals() -> None:
    valid, rejected = validate(raw({"amount": "2e11"}), DAY, "UTC", max_amount=1e15)
    assert valid.empty
    assert rejected["reason"].tolist() == ["amount is beyond the limit: 100000000000"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "amount is missing"),
        (" ", "amount is missing"),
        ("nan", "amount is not a number"),
        ("NaN", "amount is not a number"),
        ("12 EUR", "amount is not a number"),
        ("€5", "amount is not a number"),
        ("0x10", "amount is not a number"),
        ("१२", "amount is not a number"),
        ("--5", "amount is not a number"),
        (".", "amount is not a number"),
        ("1,234.50", "amount has thousands separators or a second decimal mark"),
        ("1.234,50", "amount has thousands separators or a second decimal mark"),
        ("1,5", "amount has thousands separators or a second decimal mark"),
        ("1.234.567", "amount has thousands separators or a second decimal mark"),
        ("1 234", "amount has thousands separators or a second decimal mark"),
        ("1\u00a0234", "amount has thousands separators or a second decimal mark"),
        ("1'234", "amount has thousands separators or a second decimal mark"),
        ("1_000", "amount has thousands separators or a second decimal mark"),
        ("inf", "amount is infinite"),
        ("-Infinity", "amount is infinite"),
        ("1e999", "amount is infinite"),
        ("1000000.01", "amount is beyond the limit: 1000000"),
        ("-1e7", "amount is beyond the limit: 1000000"),
    ],
)
def test_an_unusable_amount_is_rejected(text: str | None, reason: str) -> None:
    assert reason_for(amount=text) == reason


def test_the_largest_amount_is_a_setting() -> None:
    valid, rejected = validate(raw({"amount": "-20"}, {"amount": "20.01"}), DAY, "UTC", max_amount=20)
    assert valid["amount"].tolist() == [-20]
    assert rejected["reason"].tolist() == ["amount is beyond the limit: 20"]


@pytest.mark.parametrize(
    "text",
    ["2026-01-31", "12:00", "31.01.2026 12:00", "2026-02-30T12:00Z", "2026-01-31T25:00", "2026-01-31T12", "1769860800",
     "2026-01-31T12:00:60Z", "2026-01-31T12:00Z+01:00", "2026-01-31T12:00+99:00", "20260131T120000Z", "now"],
)  # fmt: skip
def test_a_time_that_cannot_be_read_is_rejected(text: str) -> None:
    assert reason_for(event_time=text) == "event_time is no ISO 8601 date with a time of day"


@pytest.mark.parametrize("text", [None, " "])
def test_a_missing_time_is_rejected(text: str | None) -> None:
    assert reason_for(event_time=text) == "event_time is missing"


def test_an_hour_that_the_clocks_skip_is_rejected() -> None:
    row = {"event_time": "2026-03-29 02:30", "time_zone": "Europe/Paris"}
    _, rejected = validate(raw(row), date(2026, 3, 29), "UTC")
    assert rejected["reason"].tolist() == ["event_time is in an hour that the clocks skip"]
    assert rejected["event_time"].tolist() == ["2026-03-29 02:30"]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        (" 2026-01-31 12:00 ", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00.5+01:00", "2026-01-31T11:00:00.500000+00:00"),
        ("2026-01-31T12:00-0530", "2026-01-31T17:30:00+00:00"),
        ("2026-01-31T12:00+01", "2026-01-31T11:00:00+00:00"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456+00:00"),
    ],
)
def test_times_are_read(text: str, instant: str) -> None:
    assert instants(text) == [instant]


def test_one_odd_time_does_not_change_how_others_are_read() -> None:
    texts = ["2026-01-31T12:00:00.123456789Z", "9999-12-31T23:59:59Z", "x", None, "2026-01-31T12:00:00.1"]
    assert instants(*texts) == [instants(text)[0] for text in texts]


def test_a_time_without_an_offset_is_in_the_zone_of_its_row() -> None:
    text = pd.Series(["2026-07-01T12:00", "2026-07-01T12:00", "2026-07-01T12:00+00:00"], dtype="str", index=[5, 3, 9])
    zones = pd.Series(["Europe/Paris", "America/New_York", "Europe/Paris"], dtype="str", index=[5, 3, 9])
    times = parse_times(text, zones)
    assert times.index.tolist() == [5, 3, 9]
    assert times.dt.hour.tolist() == [10, 16, 12]


def test_of_a_time_that_comes_twice_the_first_is_meant() -> None:
    assert instants("2026-10-25T02:30", zone="Europe/Paris") == ["2026-10-25T00:30:00+00:00"]
    assert instants("2026-10-25T01:30", zone="Europe/Dublin") == ["2026-10-25T00:30:00+00:00"]


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1)),  # noqa: DTZ001  # a wall clock
    st.sampled_from(["Europe/Paris", "America/Havana", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
)
@settings(deadline=None)
def test_wall_clocks_agree_with_zoneinfo(wall_clock: datetime, zone: str) -> None:
    first = wall_clock.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    exists = first.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall_clock
    assert instants(wall_clock.isoformat(), zone=zone) == [pd.Timestamp(first).isoformat() if exists else None]


@given(st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
@settings(deadline=None)
def test_offsets_agree_with_the_standard_library(moment: datetime, minutes: int) -> None:
    text = moment.replace(tzinfo=timezone(timedelta(minutes=minutes))).isoformat()
    assert instants(text) == [pd.Timestamp(datetime.fromisoformat(text).astimezone(UTC)).isoformat()]


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("2026-01-30T22:59:59.999999Z", False),
        ("2026-01-30T23:00:00Z", True),
        ("2026-01-31T22:59:59.999999Z", True),
        ("2026-01-31T23:00:00Z", False),
    ],
)
def test_the_day_is_meant_in_the_zone_of_the_deployment(text: str, is_valid: bool) -> None:
    valid, rejected = validate(raw({"event_time": text}), DAY, "Europe/Paris")
    assert len(valid) == is_valid
    assert rejected["reason"].tolist() == ["event_time is not on the day: 2026-01-31 in Europe/Paris"] * (not is_valid)


def test_the_first_row_of_an_id_wins_by_file_and_row() -> None:
    rows = raw(
        {"transaction_id": "t", "source_file": "b.csv", "row_number": 1, "amount": "1"},
        {"transaction_id": "t", "source_file": "a.csv", "row_number": 9, "amount": "2"},
        {"transaction_id": "t", "source_file": "a.csv", "row_number": 7, "amount": "3"},
        {"transaction_id": "other", "source_file": "a.csv", "row_number": 8},
    )
    valid, rejected = validate(rows, DAY, "UTC")
    assert sorted(valid["amount"]) == [3, 10.5]
    assert rejected["amount"].tolist() == ["2", "1"]
    assert rejected["reason"].tolist() == ["transaction_id is a duplicate: row 7 of a.csv"] * 2


def test_a_rejected_row_does_not_make_a_duplicate() -> None:
    valid, rejected = validate(raw({"transaction_id": "t", "amount": "x"}, {"transaction_id": "t"}), DAY, "UTC")
    assert valid["row_number"].tolist() == [2]
    assert rejected["reason"].tolist() == ["amount is not a number"]


def test_a_row_with_several_faults_has_one_reason() -> None:
    assert reason_for(user_id=None, amount="x", event_time="y") == "user_id is missing"


def test_rejected_rows_are_as_received() -> None:
    row = {"transaction_id": " t", "user_id": None, "amount": "1,5", "event_time": "soon", "source_file": "x.csv"}
    _, rejected = validate(raw({}, row), DAY, "UTC")
    assert list(rejected) == list(REJECTED_COLUMNS)
    found = rejected.iloc[0]
    assert {name: found[name] for name in row if name != "user_id"} == {n: v for n, v in row.items() if v is not None}
    assert pd.isna(found["user_id"])
    assert found["row_number"] == 2


CELLS = {
    "transaction_id": st.sampled_from(["a", "b", "c", "", None]),
    "user_id": st.sampled_from(["u", None]),
    "amount": st.none() | st.text(max_size=8) | st.floats().map(repr) | st.decimals(places=2).map(str),
    "event_time": st.none() | st.text(max_size=8) | st.datetimes(datetime(2026, 1, 30), datetime(2026, 2, 2)).map(str),  # noqa: DTZ001
    "time_zone": st.sampled_from(["UTC", "Europe/Paris", "Pacific/Auckland"]),
    "source_file": st.sampled_from(["a.csv", "b.csv"]),
}


@given(st.lists(st.fixed_dictionaries(CELLS), max_size=12), st.randoms())
@settings(max_examples=30, deadline=None)
def test_every_row_is_accounted_for_once_in_any_order(rows: list[Row], random: Any) -> None:  # noqa: ANN401
    frame = raw(*rows)
    shuffled = frame.sample(frac=1, random_state=random.randrange(2**32))
    before = shuffled.copy()
    valid, rejected = validate(shuffled, DAY, "Europe/Paris")
    pd.testing.assert_frame_equal(shuffled, before)
    assert sorted([*valid["row_number"], *rejected["row_number"]]) == list(range(1, len(rows) + 1))
    assert rejected["reason"].ne("").all()
    assert valid["transaction_id"].is_unique
    check(valid)
    for found, expected in zip((valid, rejected), validate(frame, DAY, "Europe/Paris"), strict=True):
        pd.testing.assert_frame_equal(found, expected)


def test_a_frame_without_a_column_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="Raw transactions of 2026-01-31 lack amount, currency"):
        validate(raw({}).drop(columns=["amount", "currency"]), DAY, "UTC")


def test_rows_that_get_lost_are_noticed() -> None:
    _require_balance(3, 2, 1, DAY)
    with pytest.raises(InvalidDataError, match="Of 3 rows of 2026-01-31, 1 came out valid and 1 rejected"):
        _require_balance(3, 1, 1, DAY)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"amount": [1, 2]}, "amount"),
        ({"amount": [np.nan, 1.0]}, "amount"),
        ({"amount": [np.inf, 1.0]}, "finite"),
        ({"transaction_id": ["a", "a"]}, "transaction_id"),
        ({"transaction_id": ["b", "a"]}, "not sorted by event_time and transaction_id"),
        ({"user_id": ["", "u"]}, "user_id"),
        ({"row_number": [0, 1]}, "row_number"),
        ({"extra": [0, 1]}, "extra"),
        ({"event_time": pd.to_datetime(["2026-01-31T12:00", "2026-01-31T12:00"])}, "event_time"),
    ],
)
def test_a_frame_that_breaks_the_promise_is_found(changes: Row, complaint: str) -> None:
    valid, _ = validate(raw({}, {}), DAY, "UTC")
    check(valid)
    with pytest.raises(InvalidDataError, match=rf"(?s)^Transactions .*{re.escape(complaint)}"):
        check(valid.assign(**changes))


def test_order_within_a_day_is_strict() -> None:
    times = [f"2026-01-31T12:00:00.{n:06}Z" for n in range(50)]
    valid, _ = validate(raw(*({"event_time": time} for time in reversed(times))), DAY, "UTC")
    assert all(earlier < later for earlier, later in pairwise(valid["event_time"]))
