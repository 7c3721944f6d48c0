"""Which days train, which calibrate, and what was known when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Self

from fraud_pipeline.core.errors import ConfigurationError

ONE_DAY: Final = timedelta(days=1)

WARM_UP_DAYS: Final = 7
"""Days at the very beginning that are not trained on: no user has habits and no merchant a history yet."""


@dataclass(frozen=True)
class TrainingWindows:
    """Days of one training cycle; both ends of a window are included.

    Parameters
    ----------
    train_from, train_to : date
        Days the detectors are fitted on.
    calibrate_from, calibrate_to : date
        Later days, on which the threshold is found.
    as_of : date
        Only labels known before the start (00:00 UTC) of this day are used.

    Raises
    ------
    ConfigurationError
        If the windows overlap, run backwards, or reach past ``as_of``.
    """

    train_from: date
    train_to: date
    calibrate_from: date
    calibrate_to: date
    as_of: date

    def __post_init__(self) -> None:
        if not self.train_from <= self.train_to < self.calibrate_from <= self.calibrate_to < self.as_of:
            raise ConfigurationError(
                f"training windows must follow one another: train {self.train_from} to {self.train_to}, "
                f"calibrate {self.calibrate_from} to {self.calibrate_to}, as of {self.as_of}; "
                "give train before calibrate before as-of."
            )

    @classmethod
    def of(cls, dates: Mapping[str, str]) -> Self:
        """Build windows from ISO dates by name.

        Raises
        ------
        ConfigurationError
            If a date is missing, unknown or not a date.
        """
        names = list(cls.__dataclass_fields__)
        if set(dates) != set(names):
            raise ConfigurationError(f"training needs the dates {', '.join(names)}; given are {', '.join(dates)}.")
        try:
            return cls(**{name: date.fromisoformat(dates[name]) for name in names})
        except ValueError as error:
            raise ConfigurationError(f"training dates must be YYYY-MM-DD: {error}.") from error

    @classmethod
    def ending(
        cls, as_of: date, *, first_day: date, maturity_days: int, calibration_days: int = 14, training_days: int = 28
    ) -> Self:
        """Lay the windows so that every calibrated day has matured by ``as_of``.

        Parameters
        ----------
        as_of : date
            The day before whose start everything must be known.
        first_day : date
            First day with transactions; the training window begins ``WARM_UP_DAYS`` after it at the earliest.
        maturity_days : int
            After how many days a transaction without a label counts as genuine.
        calibration_days, training_days : int
            Lengths of the windows.

        Returns
        -------
        TrainingWindows
        """
        calibrate_to = as_of - timedelta(days=maturity_days + 1)
        calibrate_from = calibrate_to - timedelta(days=calibration_days - 1)
        train_to = calibrate_from - timedelta(days=1)
        train_from = max(first_day + timedelta(days=WARM_UP_DAYS), train_to - timedelta(days=training_days - 1))
        if train_from > train_to:
            raise ConfigurationError(
                f"there is no day left to train on: first day {first_day}, as of {as_of}, {WARM_UP_DAYS} days of "
                f"warm-up, {maturity_days} of label maturity and {calibration_days} of calibration; "
                "wait for more history or shorten the windows."
            )
        return cls(train_from, train_to, calibrate_from, calibrate_to, as_of)

    @property
    def known_before(self) -> datetime:
        """The instant before which a label must be known to be used."""
        return datetime.combine(self.as_of, time.min, tzinfo=UTC)


@dataclass(frozen=True)
class BacktestRound:
    """One round of a backtest: train, calibrate, wait until labels are known, test.

    Parameters
    ----------
    windows : TrainingWindows
        ``as_of`` is the first day of the test: only what was known before it is used.
    test_to : date
        Last day of the test.
    """

    windows: TrainingWindows
    test_to: date

    @property
    def test_from(self) -> date:
        """First day of the test."""
        return self.windows.as_of

    def shifted(self, days: int, last: date) -> "BacktestRound":
        """Move all windows by ``days``; the test ends on ``last`` at the latest."""
        dates = {name: getattr(self.windows, name) + days * ONE_DAY for name in TrainingWindows.__dataclass_fields__}
        return BacktestRound(TrainingWindows(**dates), min(self.test_to + days * ONE_DAY, last))


def walk_forward(windows: TrainingWindows, test_to: date, *, step_days: int = 7) -> list[BacktestRound]:
    """Cut a test range into rounds of ``step_days``; all windows move along.

    Parameters
    ----------
    windows : TrainingWindows
        Of the first round; ``as_of`` is the first day of the test range.
    test_to : date
        Last day of the test range.
    step_days : int

    Returns
    -------
    list of BacktestRound
        In order; together their tests cover the range.
    """
    first = BacktestRound(windows, min(windows.as_of + (step_days - 1) * ONE_DAY, test_to))
    days = (test_to - windows.as_of).days + 1
    return [first.shifted(shift, test_to) for shift in range(0, days, step_days)]


def parse_day(text: str) -> date:
    """Read a day given on the command line.

    Raises
    ------
    ConfigurationError
        If it is not a date, or one that no transaction can have.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a day; give YYYY-MM-DD.") from error
    if not 1970 <= day.year < 2200:
        raise ConfigurationError(f"{day} is out of range; give a day from 1970 to 2199.")
    return day


def parse_window(text: str) -> tuple[date, date]:
    """Read a window ``FROM:TO`` given on the command line, both ends included.

    Raises
    ------
    ConfigurationError
        If it is not two dates in order.
    """
    first, separator, last = text.partition(":")
    if not separator:
        raise ConfigurationError(f"{text!r} is not a window; give FROM:TO as YYYY-MM-DD:YYYY-MM-DD.")
    window = parse_day(first), parse_day(last)
    if window[0] > window[1]:
        raise ConfigurationError(f"{text!r} runs backwards; give the earlier day first.")
    return window
