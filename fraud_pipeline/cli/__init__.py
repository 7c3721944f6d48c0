"""The command ``fraud-pipeline``."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Final

import typer

from fraud_pipeline.cli import commands
from fraud_pipeline.core.errors import FraudPipelineError

_STORAGE_FAULTS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
_PANELS: Final = {
    "See it work": (commands.demo, commands.simulate),
    "Run the pipeline": (commands.ingest, commands.run, commands.train, commands.measure, commands.summary),
    "Models": (commands.backtest, commands.models, commands.promote, commands.rollback),
    "Servers": (commands.ui, commands.psql, commands.migrate, commands.stop),
}
_REVIEWS: Final[dict[str, Callable[..., None]]] = {
    "queue": commands.review_queue,
    "related": commands.review_related,
    "close": commands.review_close,
    "decide": commands.review_decide,
    "recall": commands.review_recall,
}

app = typer.Typer(
    help="Find fraudulent card transactions every night: raw file to alert row.",
    epilog="Every setting is an environment variable FRAUD_PIPELINE_…; without any, all state is in ./.fraud_pipeline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for panel, panel_commands in _PANELS.items():
    for command in panel_commands:
        app.command(rich_help_panel=panel)(command)

review_app = typer.Typer(help="Look at alerts, decide on them, and see what the decisions say.", no_args_is_help=True)
for name, review_command in _REVIEWS.items():
    review_app.command(name)(review_command)
app.add_typer(review_app, name="review", rich_help_panel="Run the pipeline")


def main() -> None:
    """Run a command; an error that the user can act on is one sentence and exit code 2."""
    try:
        app()
    except FraudPipelineError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        # The adapters say what they could not write; this is for what is written past them, such as the output.
        if error.errno not in _STORAGE_FAULTS:
            raise
        where = error.filename or "the output"
        if not error.filename:
            # What is still buffered would fail again, with a trace, when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo(f"error: {where} cannot be written: {error.strerror}; free the disk, then run again.", err=True)
        sys.exit(2)
