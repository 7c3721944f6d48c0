"""What commands share: output, progress, and arguments that are days."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from fraud_pipeline.orchestration.runs import Progress as RunProgress

# Without markup and emoji: names of files, users and merchants are printed as they are.
console: Final = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


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
