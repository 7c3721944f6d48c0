"""What can be typed after ``fraud-pipeline alert``.

As in ``commands``, each command imports what does its work when it runs.
"""

import typer

from fraud_pipeline.cli.review_commands import AlertId
from fraud_pipeline.settings import Settings


def alert_verify(alert_id: AlertId) -> None:
    """Compute an alert again from the recorded versions and compare; exit code 1 if anything differs."""
    settings = Settings.from_env()
    from fraud_pipeline.cli import alerts

    raise typer.Exit(0 if alerts.verify(settings, alert_id) else 1)
