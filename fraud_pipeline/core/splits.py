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
