"""How the deployment stands: alerts that wait, days that were written."""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, select

from fraud_pipeline.adapters.database.alert_tables import alerts
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import pipeline_runs
from fraud_pipeline.adapters.database.workflow_repository import is_awake


@dataclass(frozen=True)
class Waiting:
    """Alerts of one priority that are not closed.

    Parameters
    ----------
    priority : int
        1, the most urgent, to 5.
    open : int
        All of them.
    overdue : int
        Those past their due time that nobody put off.
    """

    priority: int
    open: int
    overdue: int


@dataclass(frozen=True)
class Written:
    """The newest day of an asset in the database.

    Parameters
    ----------
    asset : str
    day : date
    rows : int
    written_at : datetime
    """

    asset: str
    day: date
    rows: int
    written_at: datetime


def waiting_alerts(database: Database, now: datetime) -> list[Waiting]:
    """Count the alerts that are not closed by their present priority, most urgent first.

    Raises
    ------
    DatabaseError
        The database cannot be reached or read.
    """
    overdue = func.count().filter(alerts.c.due_at < now, is_awake(now))
    query = (
        select(alerts.c.current_priority, func.count(), overdue)
        # What was drawn at random is no alert.
        .where(alerts.c.status != "closed", alerts.c.selection == "threshold")
        .group_by(alerts.c.current_priority)
        .order_by(alerts.c.current_priority)
    )
    with database.begin() as connection:
        return [Waiting(*row) for row in connection.execute(query)]


def newest_days(database: Database) -> list[Written]:
    """Give the newest day of every asset that writes to the database, by name.

    Raises
    ------
    DatabaseError
        The database cannot be reached or read.
    """
    written = pipeline_runs.c
    query = (
        select(written.asset, written.event_day, written.rows, written.written_at)
        .distinct(written.asset)
        .order_by(written.asset, written.event_day.desc(), written.pipeline_run_id.desc())
    )
    with database.begin() as connection:
        return [Written(*row) for row in connection.execute(query)]


def server_time(database: Database) -> datetime:
    """Ask the server for its clock, aware of its time zone.

    Raises
    ------
    DatabaseError
        The database cannot be reached.
    """
    with database.begin() as connection:
        now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return now
