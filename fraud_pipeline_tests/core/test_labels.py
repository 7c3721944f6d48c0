from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_pipeline.core import labels as labels_stage
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.core.labels import current, merge, nothing_landed, of_day
from fraud_pipeline.core.schema import EVENT_KEYS, LABEL_COLUMNS, LANDED_LABEL_COLUMNS, TIME_DTYPE

START = datetime(2026, 1, 1, tzinfo=UTC)
MATURITY = timedelta(days=7)
LABEL_DTYPES = dict.fromkeys(LABEL_COLUMNS, "str") | {
    "event_time": TIME_DTYPE,
    "is_fraud": "bool",
    "label_known_at": TIME_DTYPE,
}


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def transactions(**days: float) -> pd.DataFrame:
    """One transaction for each name, at its day."""
    frame = pd.DataFrame(
        [(name, f"user of {name}", f"shop of {name}", at(day)) for name, day in days.items()], columns=list(EVENT_KEYS)
    )
    return frame.astype({"event_time": TIME_DTYPE} | dict.fromkeys(EVENT_KEYS[:3], "str"))


def landed(*rows: tuple[str, bool, float | None, float | None]) -> pd.DataFrame:
    """Labels by transaction, truth, day on which it is known and delay in days."""
    frame = pd.DataFrame({name: [None] * len(rows) for name in LANDED_LABEL_COLUMNS})
    frame["transaction_id"] = [row[0] for row in rows]
    frame["is_fraud"] = [row[1] for row in rows]
    frame["label_known_at"] = pd.Series([None if row[2] is None else at(row[2]) for row in rows], dtype=TIME_DTYPE)
    frame["delay_days"] = [row[3] for row in rows]
    frame["row_number"] = range(1, len(rows) + 1)
    texts = dict.fromkeys(("transaction_id", "event_day", "source_name", "source_file", "file_sha256"), "str")
    return frame.astype(
        texts | {"label_known_at": TIME_DTYPE, "delay_days": "float64", "is_fraud": "bool", "row_number": "int64"}
    )


def labels(events: pd.DataFrame, *rows: tuple[str, bool, float]) -> pd.DataFrame:
    found, unmatched = merge(landed(*((*row, None) for row in rows)), events)
    assert unmatched.empty
    return found


def truths(frame: pd.DataFrame) -> dict[str, bool]:
    return dict(zip(frame["transaction_id"], frame["is_fraud"], strict=True))


def day_by_day(events: pd.DataFrame, reports: list[Any], maturity: timedelta, days: int = 10) -> pd.DataFrame:
    """What becomes known on each of the first days, as the daily runs find it."""
    known_days = []
    for day in range(days):
        today = landed(*(report for report in reports if day <= report[2] < day + 1))
        maturing = events[events["event_time"].between(at(day) - maturity, at(day + 1) - maturity, inclusive="left")]
        reported = pd.Series([report[0] for report in reports if report[2] < day], dtype="str")
        matured = maturing if len(maturing) else None
        known, unmatched = of_day(today, nothing_landed(), events, matured, reported, maturity)
        assert known.dtypes.astype("str").to_dict() == LABEL_DTYPES
        assert unmatched["reason"].isin(["no transaction with this id"]).all()
        known_days.append(known)
    return pd.concat(known_days, ignore_index=True)


def plainly(events: pd.DataFrame, reports: list[Any], maturity: timedelta) -> list[tuple[str, datetime, bool]]:
    """Who became known as what, when: the same by a loop over transactions and reports."""
    known: set[tuple[str, datetime, bool]] = set()
    for transaction_id, user_id, event_time in events[["transaction_id", "user_id", "event_time"]].to_numpy().tolist():
        of_event = [(at(day), is_fraud) for name, is_fraud, day, _ in reports if name == transaction_id]
        frauds = {when for when, is_fraud in of_event if is_fraud}
        known |= {(user_id, when, when in frauds) for when, _ in of_event}
        due = event_time + maturity
        if all(when > due for when, _ in of_event):
            known.add((user_id, due, False))
    return sorted(known)


def stream(known: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(known[["user_id", "label_known_at", "is_fraud"]].itertuples(index=False, name=None))


def test_a_label_takes_user_merchant_and_time_from_its_transaction() -> None:
    found, unmatched = merge(landed(("a", True, 3.5, None)), transactions(a=1, b=2))
    assert found.to_dict("records") == [
        {
            "transaction_id": "a",
            "user_id": "user of a",
            "merchant_id": "shop of a",
            "event_time": at(1),
            "is_fraud": True,
            "label_known_at": at(3.5),
            "label_source": "chargeback_file",
        }
    ]
    assert found.dtypes.astype("str").to_dict() == LABEL_DTYPES
    assert list(unmatched) == [*LANDED_LABEL_COLUMNS, "reason"]


def test_a_delay_counts_from_the_time_of_the_transaction() -> None:
    found, _ = merge(landed(("a", True, None, 7.5), ("b", False, None, 0)), transactions(a=1.25, b=2))
    assert dict(zip(found["transaction_id"], found["label_known_at"], strict=True)) == {"a": at(8.75), "b": at(2)}


def test_labels_are_sorted_by_known_time_and_transaction() -> None:
    rows = landed(("b", True, 5, None), ("a", True, 5, None), ("c", True, 4, None))
    assert merge(rows, transactions(a=1, b=1, c=1))[0]["transaction_id"].tolist() == ["c", "a", "b"]


def test_labels_known_at_one_instant_are_one_and_fraud_wins() -> None:
    rows = landed(("a", False, 5, None), ("a", True, 5, None), ("a", True, 5, None), ("a", False, 6, None))
    found, unmatched = merge(rows, transactions(a=1))
    assert found[["label_known_at", "is_fraud"]].to_numpy().tolist() == [[at(5), True], [at(6), False]]
    assert unmatched.empty


def test_labels_that_cannot_be_joined_come_apart_with_a_reason() -> None:
    rows = landed(("x", True, 5, None), ("a", True, 0.5, None), ("a", True, 1, None), ("y", True, None, 7))
    found, unmatched = merge(rows, transactions(a=1))
    assert found["label_known_at"].tolist() == [at(1)]
    assert unmatched[["transaction_id", "row_number", "reason"]].to_numpy().tolist() == [
        ["x", 1, "no transaction with this id"],
        ["a", 2, "known before its transaction"],
        ["y", 4, "no transaction with this id"],
    ]


def test_a_transaction_that_was_delivered_twice_has_its_first_time() -> None:
    twice = pd.concat([transactions(a=1), transactions(a=2)])
    found, _ = merge(landed(("a", True, None, 1)), twice)
    assert found["label_known_at"].tolist() == [at(2)]


@pytest.mark.parametrize("rows", [(), (("a", True, 5.0, None),)])
@pytest.mark.parametrize("events", [transactions(), pd.DataFrame(columns=list(EVENT_KEYS))])
def test_without_transactions_or_labels_the_types_stay(rows: Any, events: pd.DataFrame) -> None:  # noqa: ANN401
    found, unmatched = merge(landed(*rows), events)
    pd.testing.assert_frame_equal(found, labels_stage.no_labels(), check_index_type=False)
    assert found.dtypes.astype("str").to_dict() == LABEL_DTYPES
    assert len(unmatched) == len(rows)
    assert set(labels_stage.EVENT_COLUMNS) <= set(labels_stage.no_labels())


def test_a_label_without_a_time_and_a_delay_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="1 landed labels have neither label_known_at nor delay_days"):
        merge(landed(("a", True, None, None)), transactions(a=1))


def test_the_latest_label_known_before_is_in_force() -> None:
    found = labels(transactions(a=1, b=1), ("a", True, 3), ("a", False, 5), ("b", True, 4))
    assert truths(current(found, at(3))) == {}
    assert truths(current(found, at(3.1))) == {"a": True}
    assert truths(current(found, at(5))) == {"a": True, "b": True}
    assert truths(current(found, at(5.1))) == truths(current(found)) == {"a": False, "b": True}


def test_of_two_sources_at_one_instant_fraud_is_in_force() -> None:
    chargebacks = labels(transactions(a=1), ("a", True, 3))
    analyst = labels(transactions(a=1), ("a", False, 3)).assign(label_source="analyst")
    for both in (pd.concat([chargebacks, analyst]), pd.concat([analyst, chargebacks])):
        assert truths(current(both)) == {"a": True}


def test_labels_in_force_are_sorted_and_have_all_columns() -> None:
    found = current(labels(transactions(a=1, b=1), ("b", True, 3), ("a", False, 5)))
    assert list(found) == list(LABEL_COLUMNS)
    assert found["transaction_id"].tolist() == ["b", "a"]
    assert found.index.tolist() == [0, 1]


def test_an_unreported_transaction_becomes_known_as_genuine_at_maturity() -> None:
    assert stream(day_by_day(transactions(a=1), [], MATURITY)) == [("user of a", at(8), False)]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (3, [(at(3), True)]),
        (8, [(at(8), True)]),
        (8.5, [(at(8), False), (at(8.5), True)]),
        (9.5, [(at(8), False), (at(9.5), True)]),
    ],
)
def test_a_late_label_takes_nothing_back(known: float, expected: list[Any]) -> None:
    found = stream(day_by_day(transactions(a=1), [("a", True, known, None)], MATURITY))
    assert [event[1:] for event in found] == expected


def test_each_label_of_a_transaction_is_kept() -> None:
    found = stream(day_by_day(transactions(a=1), [("a", True, 3, None), ("a", False, 5, None)], MATURITY))
    assert [event[1:] for event in found] == [(at(3), True), (at(5), False)]


def test_what_matures_unreported_is_known_with_the_labels_of_the_day() -> None:
    events = transactions(silent=1, before=1.5, today=1.5, late=1.5, other=6)
    today = landed(("today", True, 8.2, None), ("late", True, 8.8, None), ("other", True, 8.1, None))
    maturing = events[events["transaction_id"] != "other"]
    found, _ = of_day(today, nothing_landed(), events, maturing, pd.Series(["before"], dtype="str"), MATURITY)
    assert found[["transaction_id", "is_fraud", "label_source"]].to_numpy().tolist() == [
        ["silent", False, "unreported"],
        ["other", True, "chargeback_file"],
        ["today", True, "chargeback_file"],
        ["late", False, "unreported"],
        ["late", True, "chargeback_file"],
    ]


NAMES = list("abc")
HOURS = st.integers(0, 5 * 24 - 1).map(lambda hours: hours / 24)
EVENTS = st.dictionaries(st.sampled_from(NAMES), HOURS.map(lambda days: days / 2), max_size=3).map(
    lambda days: transactions(**days)
)
REPORTS = st.lists(st.tuples(st.sampled_from([*NAMES, "unknown"]), st.booleans(), HOURS, st.none()), max_size=8)


@given(EVENTS, REPORTS, HOURS, st.integers(0, 3))
@settings(deadline=None, max_examples=12)
def test_what_is_learnt_later_changes_nothing_before(
    events: pd.DataFrame, reports: list[Any], day: float, maturity_days: int
) -> None:
    reports = timely(reports, events)
    maturity = timedelta(days=maturity_days)
    early, everything = (
        day_by_day(events, some, maturity, days=6)
        for some in ([report for report in reports if report[2] < day], reports)
    )
    before, after = (known[known["label_known_at"] < at(day)].reset_index(drop=True) for known in (early, everything))
    pd.testing.assert_frame_equal(before, after)
    pd.testing.assert_frame_equal(current(early, at(day)), current(everything, at(day)))


@given(EVENTS, REPORTS, st.integers(0, 3))
@settings(deadline=None, max_examples=12)
def test_day_by_day_the_same_becomes_known_as_by_a_plain_loop(
    events: pd.DataFrame, reports: list[Any], maturity_days: int
) -> None:
    reports, maturity = timely(reports, events), timedelta(days=maturity_days)
    daily = day_by_day(events, reports, maturity, days=6)
    assert sorted(stream(daily)) == plainly(events, reports, maturity)
    explicit = daily[daily["label_source"] == labels_stage.CHARGEBACK_FILE]
    assert len(explicit) == len(merge(landed(*reports), events)[0])


def timely(reports: list[Any], events: pd.DataFrame) -> list[Any]:
    """Leave out reports of a transaction that has one from before it happened."""
    time_of = dict(zip(events["transaction_id"], events["event_time"], strict=True))
    premature = {name for name, _, day, _ in reports if name in time_of and at(day) < time_of[name]}
    return [report for report in reports if report[0] not in premature]
