"""Where an alert comes from, computed again."""

from rich.table import Table

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.cli.console import console
from fraud_pipeline.cli.runs import quieten_libraries
from fraud_pipeline.connections import open_database, open_model_store
from fraud_pipeline.orchestration import alert_verification
from fraud_pipeline.settings import Settings


def verify(settings: Settings, alert_id: int) -> bool:
    """Print what was recorded of an alert beside what comes out today, and say whether it is the same."""
    quieten_libraries()
    database = open_database(settings)
    try:
        found = alert_verification.verify(
            database,
            Lake(settings.lake),
            open_model_store(settings),
            alert_id,
            time_zone=settings.time_zone,
            baseline_days=settings.baseline_days,
        )
    finally:
        database.dispose()
    table = Table(title=f"Alert {alert_id}", title_justify="left")
    for heading in ("", "recorded", "computed again", "same"):
        table.add_column(heading, overflow="fold")
    for check in found.checks:
        table.add_row(check.what, check.recorded, check.recomputed, "yes" if check.same else "NO")
    console.print(table, soft_wrap=False)
    if found.passed:
        console.print(f"Alert {alert_id} follows from what was recorded.")
        return True
    different = ", ".join(check.what for check in found.checks if not check.same)
    console.print(f"Alert {alert_id} differs in: {different}.")
    for changed in found.changed_inputs:
        console.print(f"Changed since it was raised: {changed}.")
    return False
