"""Erasing a user from every table, through the one function of the database that may."""

from collections.abc import Collection, Mapping

from sqlalchemy import Text, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from fraud_pipeline.adapters.database.engine import Database, lock_until_commit
from fraud_pipeline.adapters.database.workflow_repository import sign


def erase_user(
    database: Database,
    user_ids: Collection[str],
    transaction_ids: Collection[str],
    lake_rows: Mapping[str, int],
    *,
    actor: str,
    dry_run: bool = False,
) -> dict[str, int]:
    """Delete a user's rows of every table, detached months and history included, and record that it was done.

    Parameters
    ----------
    database : Database
        With the current schema, as its owner.
    user_ids : collection of str
        The identifiers that the user has in tables.
    transaction_ids : collection of str
        Transactions known to be the user's, besides those that the tables tell.
    lake_rows : mapping of str to int
        What the lake lost, for the record.
    actor : str
        Who erases.
    dry_run : bool
        Only count: everything is rolled back.

    Returns
    -------
    dict of str to int
        Rows by table, without those that lost none.

    Raises
    ------
    InvalidDataError
        The name of who erases is empty; nothing was changed.
    DatabaseError
        PostgreSQL cannot be reached or fails, or the login is not the owner; nothing was changed.
    """
    names = (cast(sorted(each), ARRAY(Text)) for each in (user_ids, transaction_ids))
    with database.begin() as connection:
        sign(connection, actor)
        lock_until_commit(connection, "new alerts")  # so that no run raises one meanwhile
        attempt = connection.begin_nested()
        counts = connection.execute(select(func.erase_user(*names, cast(dict(lake_rows), JSONB)))).scalar_one()
        if dry_run:
            attempt.rollback()
    return dict(sorted(counts.items()))
