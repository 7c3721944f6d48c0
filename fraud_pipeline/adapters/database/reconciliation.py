"""Rows and money of a day in the tables, to hold against what was written."""

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Numeric, Table, cast, func, select, type_coerce

from fraud_pipeline.adapters.database.engine import Database


def day_total(database: Database, table: Table, day: date) -> tuple[int, Decimal | None]:
    """Count the rows of a day and add up their money.

    Parameters
    ----------
    database : Database
    table : Table
        With the column ``event_day``, and perhaps ``amount``.
    day : date
        The partition day.

    Returns
    -------
    rows, amount : int, Decimal or None
        The sum to four decimals, exact; None without rows or without that column.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    figures: list[ColumnElement[Any]] = [func.count()]
    if "amount" in table.c:
        figures.append(type_coerce(func.sum(cast(table.c.amount, Numeric(18, 4))), Numeric(asdecimal=True)))
    with database.begin() as connection:
        found = connection.execute(select(*figures).select_from(table).where(table.c.event_day == day)).one()
    return int(found[0]), (found[1] if len(found) > 1 else None)
