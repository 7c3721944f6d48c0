"""A backtest of a source, as the command and the Dagster job run it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from fraud_pipeline.adapters import backtest_report
from fraud_pipeline.adapters.backtest_input import read_source
from fraud_pipeline.core import backtest, splits
from fraud_pipeline.core.backtest_summary import summarise
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.evaluation import BacktestReport
from fraud_pipeline.core.labelled_history import LabelledHistory
from fraud_pipeline.core.schema import FEATURE_SET_VERSION
from fraud_pipeline.orchestration.training_config import training_config
from fraud_pipeline.settings import Settings

DEFAULT_SEEDS: Final = 3
DEFAULT_REVIEW_CAPACITY: Final = 100

Window = tuple[date, date]


@dataclass(frozen=True)
class BacktestRequest:
    """What to test on which days.

    Parameters
    ----------
    source : Path
        YAML of the source.
    train, calibrate, test : pair of date
        Both ends included; one after the other.
    output : Path
        Folder of the report.
    folder : Path, optional
        Where the source's files are; see :func:`~fraud_pipeline.adapters.backtest_input.read_source`.
    label_delay_days : float, optional
        After how many days each label is known; by default as the source says.
    walk_forward : bool
        Train anew for every week of the test window, all windows moving along.
    review_capacity : int, optional
        Closes the loop with so many reviews a day.
    seeds : int, optional
        How many trainings are averaged; by default 3, and 1 for a walk or a closed loop.
    """

    source: Path
    train: Window
    calibrate: Window
    test: Window
    output: Path
    folder: Path | None = None
    label_delay_days: float | None = None
    walk_forward: bool = False
    review_capacity: int | None = None
    seeds: int | None = None

    @property
    def rounds(self) -> list[splits.BacktestRound]:
        """The rounds in order.

        Raises
        ------
        ConfigurationError
            If the windows do not follow one another.
        """
        if not self.train[1] < self.calibrate[0] <= self.calibrate[1] < self.test[0]:
            train, calibrate, test = ("{} to {}".format(*days) for days in (self.train, self.calibrate, self.test))
            raise ConfigurationError(
                f"backtest windows must follow one another: train {train}, calibrate {calibrate}, test {test}; "
                "give train before calibrate before test."
            )
        windows = splits.TrainingWindows(*self.train, *self.calibrate, self.test[0])
        if self.walk_forward:
            return splits.walk_forward(windows, self.test[1])
        return [splits.BacktestRound(windows, self.test[1])]


def run_backtest(
    settings: Settings, request: BacktestRequest, on_progress: Callable[[str, int, int], None] | None = None
) -> tuple[BacktestReport, list[Path]]:
    """Read the source, run every round with every seed, and write the report.

    Returns
    -------
    report, files
        What was found, and the files it was written to.
    """
    rounds = request.rounds
    backtest_report.require_writable(request.output)
    tell = on_progress or (lambda _text, _done, _total: None)
    given = read_source(
        request.source,
        folder=request.folder,
        time_zone=settings.time_zone,
        max_amount=settings.max_amount,
        label_delay_days=request.label_delay_days,
        maturity_days=settings.label_maturity_days,
        on_day=lambda day, done, total: tell(f"read {day}", done, total + 1),
    )
    history = LabelledHistory(
        given.transactions, given.truth, time_zone=settings.time_zone, baseline_days=settings.baseline_days
    )
    cheap = request.walk_forward or request.review_capacity is not None
    seeds = range(settings.seed, settings.seed + (request.seeds or (1 if cheap else DEFAULT_SEEDS)))
    total = len(seeds) * len(rounds)
    results: dict[int, list[backtest.RoundResult]] = {}
    for seed in seeds:
        results[seed] = []
        # A closed loop changes what is known when.
        seen = history if request.review_capacity is None else history.copy()
        config = training_config(settings, seed=seed)
        for result in backtest.run(seen, rounds, config, review_capacity=request.review_capacity):
            results[seed].append(result)
            tell(f"seed {seed}", sum(map(len, results.values())), total)
    first, last = given.transactions["event_time"].iloc[[0, -1]]
    report = summarise(
        rounds,
        results,
        {
            "source": request.source.name,
            "label_delay_days": request.label_delay_days,
            "walk_forward": request.walk_forward,
            "closed_loop": request.review_capacity is not None,
            "review_capacity": request.review_capacity,
            "seeds": list(seeds),
            "days": f"{first.date()} to {last.date()}",
            "rows": len(given.transactions),
            "rejected": given.rejected,
            "frauds": int(given.truth["is_fraud"].sum()),
            "feature_set_version": FEATURE_SET_VERSION,
        },
    )
    return report, backtest_report.write_report(report, request.output)


def require_capacity(closed_loop: bool, review_capacity: int | None) -> int | None:
    """Resolve the two options of a closed loop.

    Raises
    ------
    ConfigurationError
        If a capacity is given without the loop.
    """
    if not closed_loop and review_capacity is not None:
        raise ConfigurationError("a review capacity belongs to the closed loop; add --closed-loop or leave it out.")
    return (review_capacity or DEFAULT_REVIEW_CAPACITY) if closed_loop else None
