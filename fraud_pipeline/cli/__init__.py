"""The command ``fraud-pipeline``."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Final

import typer

from fraud_pipeline.cli import alert_commands, api_commands, commands, operations_commands, review_commands
from fraud_pipeline.core.errors import FraudPipelineError

_STORAGE_FAULTS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
_PANELS: Final = {
    "See it work": (commands.demo, commands.simulate),
    "Run the pipeline": (commands.ingest, commands.run, commands.train, commands.measure, commands.summary),
    "Models": (commands.backtest, commands.models, commands.promote, commands.rollback),
    "Look after it": (operations_commands.status, operations_commands.doctor, operations_commands.erase_user),
    "Servers": (commands.ui, api_commands.api, commands.psql, commands.migrate, commands.stop),
}
_REVIEWS: Final[dict[str, Callable[..., None]]] = {
    "queue": review_commands.review_queue,
    "related": review_commands.review_related,
    "take": review_commands.review_take,
    "assign": review_commands.review_assign,
    "comment": review_commands.review_comment,
    "snooze": review_commands.review_snooze,
    "escalate": review_commands.review_escalate,
    "close": review_commands.review_close,
    "reopen": review_commands.review_reopen,
    "case": review_commands.review_case,
    "history": review_commands.review_history,
    "decide": review_commands.review_decide,
    "recall": review_commands.review_recall,
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

review_app = typer.Typer(
    help="Look at alerts, work on them, decide on them, and see what the decisions say.", no_args_is_help=True
)
for name, review_command in _REVIEWS.items():
    review_app.command(name)(review_command)
app.add_typer(review_app, name="review", rich_help_panel="Run the pipeline")

alert_app = typer.Typer(help="Show where an alert comes from.", no_args_is_help=True)
alert_app.command("verify")(alert_commands.alert_verify)
app.add_typer(alert_app, name="alert", rich_help_panel="Run the pipeline")

key_app = typer.Typer(help="Make, list and revoke the keys of the REST API's clients.", no_args_is_help=True)
key_app.command("create")(api_commands.key_create)
key_app.command("list")(api_commands.key_list)
key_app.command("revoke")(api_commands.key_revoke)
app.add_typer(key_app, name="api-key", rich_help_panel="Servers")


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
