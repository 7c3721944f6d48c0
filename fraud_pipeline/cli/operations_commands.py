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


def erase_user(
    user_id: Annotated[
        str,
        typer.Argument(
            help="The user as a source delivers or the tables name them; a card number becomes its token. "
            "- reads it from standard input, which keeps it out of the shell's history."
        ),
    ],
    by: Annotated[str, typer.Option("--by", help="Who erases.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
) -> None:
    """Erase a user from lake and database, history included, and name the landing files that still hold them."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import erasure

    erasure.erase(settings, user_id, by, dry_run=dry_run)
