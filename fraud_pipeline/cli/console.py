"""What commands share: output, progress, and arguments that are days."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fraud_pipeline.core.errors import ConfigurationError

if TYPE_CHECKING:
    from fraud_pipeline.orchestration.runs import Progress as RunProgress

# Without markup and emoji: names of files, users and merchants are printed as they are.
console: Final = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


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


@contextmanager
def progress(title: str) -> Iterator["RunProgress"]:
    """Show a bar while work goes on; yields what to call after every finished part."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None)

        def advance(part: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=f"{title}: {part}" if done < total else title)

        yield advance
        # Parts that had nothing to do were not told of: without a model nothing is scored.
        bar.update(task, description=title, total=bar.tasks[task].completed)
