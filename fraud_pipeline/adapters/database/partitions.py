"""The monthly partitions of the large tables, made and detached by functions of the database."""

import re
from datetime import date
from typing import Final

from psycopg import errors
from sqlalchemy import Connection, Table, func, select
from sqlalchemy.exc import DBAPIError

from fraud_pipeline.core.errors import DatabaseError

_DO_NOT_FIT: Final = (errors.DatatypeMismatch, errors.InvalidTableDefinition)
"""What PostgreSQL says of a table that lacks a column, a check or the key of the one it shall be a part of."""


def is_partitioned(table: Table) -> bool:
    """Whether a table has partitions."""
    return table.dialect_options["postgresql"]["partition_by"] is not None


def create_partitions(connection: Connection, first: date, last: date) -> int:
    """Make the months of all partitioned tables from one day to another, as far as they are missing.

    A month that was detached is attached again, with its rows. Where nothing is missing this only looks.

    Parameters
    ----------
    connection : Connection
        In a transaction that has not touched a partitioned table yet: several that make months take turns.
    first, last : date
        Both included.

    Returns
    -------
    int
        Number of partitions made or attached.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails, or a detached month does not fit its table any more.
    """
    try:
        made: int = connection.execute(select(func.create_partitions(first, last))).scalar_one()
    except DBAPIError as error:
        if not isinstance(error.orig, _DO_NOT_FIT):
            raise
        said = error.orig.diag
        month = re.search(r"ATTACH PARTITION (\S+)", said.context or "")
        raise DatabaseError(
            f"The detached month {month[1] if month else ''} does not fit its table any more ({said.message_primary}): "
            "rename it, and an empty one takes its place, or change it to what its table is now "
            "(docs/operations.md, Old months)."
        ) from error
    return made


def detach_partitions(connection: Connection, before: date) -> list[str]:
    """Detach the months that end before a day; they stay as plain tables, to archive or to drop.

    A month that somebody reads at this moment for longer than two seconds stays for the next time.

    Parameters
    ----------
    connection : Connection
        In a transaction of its own, since the tables are locked until its end.
    before : date
        First day that has to stay.

    Returns
    -------
    list of str
        Names of the tables that were detached.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    return list(connection.scalars(select(func.detach_partitions(before))))
