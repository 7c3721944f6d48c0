"""The right to erasure: a user taken out of lake and database."""

import sys
from datetime import datetime
from functools import partial

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.database.erasure_repository import erase_user
from fraud_pipeline.adapters.erasure import Delivered, Person, erase_from_lake, find_in_landing_zone
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.cli.console import console, progress
from fraud_pipeline.cli.runs import DAGSTER_YAML, quieten_libraries
from fraud_pipeline.connections import open_database, open_landing_zone
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.workflow import require_actor
from fraud_pipeline.orchestration.instance_status import RunSummary, active_runs
from fraud_pipeline.orchestration.runs import open_instance
from fraud_pipeline.settings import Settings

STANDARD_INPUT = "-"


def erase(settings: Settings, user_id: str, by: str, *, dry_run: bool) -> None:
    """Erase a user from the lake, then from the database, which records it; say which landing files have them.

    In this order a record says that both are done, and what a killed command left is found by the next one.

    Raises
    ------
    ConfigurationError
        The identifier cannot be used, or a run is at work, which might write the rows again.
    FraudPipelineError
        Lake or database cannot be read or written; run the command again.
    """
    quieten_libraries()
    require_actor(by)
    key = settings.tokenisation_key
    given = sys.stdin.readline() if user_id == STANDARD_INPUT else user_id
    person = Person.of(given, None if key is None else key.get_secret_value())
    began = clock.utc_now()
    if not dry_run:
        _require_idle(settings)
    database = open_database(settings, role=None)
    in_database = partial(erase_user, database, person.stored, actor=by)
    try:
        # The database first without effect: whoever may not erase there leaves the lake alone.
        in_database(set(), {}, dry_run=True)
        with progress("search the lake" if dry_run else "erase from the lake") as advance:
            lake = erase_from_lake(Lake(settings.lake), person, dry_run=dry_run, on_day=advance)
        rows = in_database(lake.transaction_ids, lake.rows, dry_run=dry_run)
    finally:
        database.dispose()
    verb = "would be erased" if dry_run else "erased"
    for place, found in (("lake", lake.rows), ("database", rows)):
        named = ", ".join(f"{name} {number:,}" for name, number in found.items())
        console.print(f"{sum(found.values()):,} rows of the {place} {verb}" + (f": {named}" if named else ""))
    with progress("search the landing zone") as advance:
        _tell(find_in_landing_zone(open_landing_zone(settings), person, lake.transaction_ids, advance))
    if not dry_run and (runs := _active(settings, began)):
        console.print(f"A run was at work meanwhile ({_named(runs[0])}): when it has ended, run this command again.")


def _tell(delivered: Delivered) -> None:
    if delivered.files:
        days = sorted({file.day for file in delivered.files if "/transactions/" in file.key})
        console.print("Landing files that hold the user, which belong to whoever delivers them:")
        for file in delivered.files:
            console.print(f"  {file.key}")
        if days:
            console.print(f"A run of these days would bring the user back: {', '.join(map(str, days))}.")
    else:
        console.print("No landing file holds the user.")
    for problem in delivered.problems:
        console.print(f"Not searched: {problem}")


def _require_idle(settings: Settings) -> None:
    if runs := _active(settings, None):
        raise ConfigurationError(
            f"a run is at work and might write the rows again ({_named(runs[0])}): wait until it has ended, or cancel "
            "it, then run this command again."
        )


def _active(settings: Settings, since: datetime | None) -> list[RunSummary]:
    if not (settings.dagster_home / "dagster.yaml").exists():
        return []
    with open_instance(settings, DAGSTER_YAML) as instance:
        return active_runs(instance, since)


def _named(run: RunSummary) -> str:
    return f"{run.job} {run.days}, run {run.run_id[:8]}".replace(" ,", ",")
