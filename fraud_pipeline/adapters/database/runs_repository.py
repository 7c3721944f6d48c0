"""Which run wrote which day of what."""

from datetime import date

from sqlalchemy import Connection, func, text
from sqlalchemy.dialects.postgresql import insert

from fraud_pipeline.adapters.database.tables import pipeline_runs


def record_written(connection: Connection, run_id: str, asset: str, day: date, rows: int) -> None:
    """Note that a run wrote a day of an asset; again by the same run, the row is renewed and gets the next number.

    Parameters
    ----------
    connection : Connection
        In the transaction that writes the rows, so that both are there or neither.
    run_id : str
    asset : str
    day : date
        The partition day.
    rows : int
        How many rows the day has of the asset.
    """
    statement = insert(pipeline_runs).values(run_id=run_id, asset=asset, event_day=day, rows=rows)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["run_id", "asset", "event_day"],
            set_={
                "pipeline_run_id": text("DEFAULT"),
                "rows": statement.excluded.rows,
                "written_at": func.now(),
            },
        )
    )
