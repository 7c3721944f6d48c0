"""Training windows follow one another and end before what is known ends."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.splits import ONE_DAY, WARM_UP_DAYS, TrainingWindows, parse_day, parse_window, walk_forward

DATES = {
    "train_from": "2026-01-01",
    "train_to": "2026-01-28",
    "calibrate_from": "2026-01-29",
    "calibrate_to": "2026-02-11",
    "as_of": "2026-02-26",
}


def test_windows_are_read_from_iso_dates() -> None:
    windows = TrainingWindows.of(DATES)
    assert (windows.train_from, windows.as_of) == (date(2026, 1, 1), date(2026, 2, 26))


def test_labels_are_known_before_midnight_utc_of_the_as_of_day() -> None:
    assert TrainingWindows.of(DATES).known_before == datetime(2026, 2, 26, tzinfo=UTC)


def test_one_day_of_each_is_enough() -> None:
    days = dict(zip(DATES, ("2026-01-01", "2026-01-01", "2026-01-02", "2026-01-02", "2026-01-03"), strict=True))
    assert TrainingWindows.of(days).train_to == date(2026, 1, 1)


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("train_from", "2026-01-29"),  # runs backwards
        ("train_to", "2026-01-29"),  # trains on a day that calibrates
        ("calibrate_from", "2026-02-12"),  # runs backwards
        ("calibrate_to", "2026-02-26"),  # reaches into the as-of day
        ("as_of", "2026-02-11"),
    ],
)
def test_windows_that_overlap_or_run_backwards_are_refused(name: str, day: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{day}.*give train before calibrate before as-of"):
        TrainingWindows.of(DATES | {name: day})


@pytest.mark.parametrize(
    "dates", [{}, {"train_from": "2026-01-01"}, {**DATES, "until": "2026-03-01"}], ids=["none", "one", "one too many"]
)
def test_missing_and_unknown_dates_are_named(dates: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"training needs the dates train_from, .* as_of; given are"):
        TrainingWindows.of(dates)


@pytest.mark.parametrize("text", ["26.02.2026", "2026-02-30", ""])
def test_text_that_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="must be YYYY-MM-DD"):
        TrainingWindows.of(DATES | {"as_of": text})


@given(
    as_of=st.dates(date(2026, 1, 1), date(2027, 1, 1)),
    history=st.integers(1, 400),
    maturity=st.integers(0, 60),
    calibration=st.integers(1, 40),
    training=st.integers(1, 90),
)
def test_windows_laid_before_a_day_have_matured_and_stay_in_history(
    as_of: date, history: int, maturity: int, calibration: int, training: int
) -> None:
    first_day = as_of - timedelta(days=history)

    def lay() -> TrainingWindows:
        return TrainingWindows.ending(
            as_of,
            first_day=first_day,
            maturity_days=maturity,
            calibration_days=calibration,
            training_days=training,
        )

    days_left = history - maturity - calibration - WARM_UP_DAYS
    if days_left < 1:
        with pytest.raises(ConfigurationError, match="no day left to train on"):
            lay()
        return
    windows = lay()
    assert windows.train_from >= first_day + timedelta(days=WARM_UP_DAYS)
    assert (windows.train_to - windows.train_from).days + 1 == min(training, days_left)
    assert windows.calibrate_from == windows.train_to + ONE_DAY
    assert (windows.calibrate_to - windows.calibrate_from).days + 1 == calibration
    # The last instant of the last calibrated day is exactly `maturity` old when the as-of day begins.
    assert windows.calibrate_to + ONE_DAY + timedelta(days=maturity) == as_of


def test_the_default_windows_are_four_weeks_and_two() -> None:
    windows = TrainingWindows.ending(date(2026, 3, 2), first_day=date(2025, 1, 1), maturity_days=14)
    assert windows == TrainingWindows(
        date(2026, 1, 5), date(2026, 2, 1), date(2026, 2, 2), date(2026, 2, 15), date(2026, 3, 2)
    )


ROUND = TrainingWindows.of(DATES)


@given(st.integers(1, 60), st.integers(1, 10))
def test_a_walk_covers_every_test_day_once_and_all_windows_move_along(days: int, step: int) -> None:
    last = ROUND.as_of + timedelta(days=days - 1)
    rounds = walk_forward(ROUND, last, step_days=step)
    tested = [
        each.test_from + timedelta(days=number)
        for each in rounds
        for number in range((each.test_to - each.test_from).days + 1)
    ]
    assert tested == [ROUND.as_of + timedelta(days=number) for number in range(days)]
    for number, each in enumerate(rounds):
        moved = {name: getattr(ROUND, name) + timedelta(days=number * step) for name in DATES}
        assert each.windows == TrainingWindows(**moved)


def test_a_walk_moves_by_a_week_and_its_last_week_may_be_short() -> None:
    rounds = walk_forward(ROUND, date(2026, 3, 14))
    assert [(each.test_from, each.test_to) for each in rounds] == [
        (date(2026, 2, 26), date(2026, 3, 4)),
        (date(2026, 3, 5), date(2026, 3, 11)),
        (date(2026, 3, 12), date(2026, 3, 14)),
    ]


def test_a_day_and_a_window_are_read_from_a_command() -> None:
    assert parse_day("2026-02-28") == date(2026, 2, 28)
    assert parse_window("2026-02-28:2026-03-01") == (date(2026, 2, 28), date(2026, 3, 1))
    assert parse_window("2026-02-28:2026-02-28") == (date(2026, 2, 28), date(2026, 2, 28))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2026-02-28", "is not a window; give FROM:TO"),
        ("2026-03-01:2026-02-28", "runs backwards; give the earlier day first"),
        ("2026-02-30:2026-03-01", "'2026-02-30' is not a day; give YYYY-MM-DD"),
        ("1969-12-31:2026-03-01", "1969-12-31 is out of range; give a day from 1970 to 2199"),
        ("2026-03-01:2200-01-01", "2200-01-01 is out of range"),
    ],
)
def test_what_is_no_window_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_window(text)
