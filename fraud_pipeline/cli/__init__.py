"""The command ``fraud-pipeline``."""

import sys

import typer

from fraud_pipeline.cli import data, demo, runs, servers
from fraud_pipeline.core.errors import FraudPipelineError

app = typer.Typer(
    help="Finds fraudulent card transactions every night: raw file to alert row.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    demo.demo,
    data.simulate,
    data.ingest,
    runs.run,
    runs.train,
    runs.measure,
    runs.summary,
    servers.migrate,
    servers.ui,
    servers.psql,
    servers.stop,
):
    app.command()(command)


def main() -> None:
    """Run a command; an error that the user can act on is one sentence and exit code 2."""
    try:
        app()
    except FraudPipelineError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
