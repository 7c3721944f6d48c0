"""What operators type; each command imports what does its work when it runs."""

from typing import Annotated

import typer

from fraud_pipeline.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]


def doctor(as_json: AsJson = False) -> None:
    """Examine every connection, right, disk, clock and model, and say how to mend what is wrong; exit code 1 if any."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import doctor

    raise typer.Exit(doctor.doctor(settings, as_json=as_json))


def status(as_json: AsJson = False) -> None:
    """Print the last scored day, open and overdue alerts, the model and its age, and the last runs."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import status

    status.status(settings, as_json=as_json)
