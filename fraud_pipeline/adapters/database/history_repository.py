"""What single transactions look back on: the rows and labels of their users and merchants.

Every query asks for a few entities by an index and for a range of days, so that PostgreSQL opens only the months
of that range.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    Connection,
    Date,
    Double,
    Integer,
    Interval,
    Text,
    and_,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from fraud_pipeline.adapters.database.tables import fraud_labels, pipeline_runs, transaction_features, transactions
from fraud_pipeline.core.entity_risk import ZSCORE
from fraud_pipeline.core.labels import ANALYST

Entity = Literal["user", "merchant"]

_IDS: Final = bindparam("ids", type_=ARRAY(Text))
_FIRST, _LAST = bindparam("first", type_=Date), bindparam("last", type_=Date)
_NO_ROWS: Final[tuple[tuple[Any, ...], ...]] = ((),) * 6
_NO_LABELS: Final[tuple[tuple[Any, ...], ...]] = ((),) * 8


class Decision(NamedTuple):
    """A label that an analyst left."""

    transaction_id: str
    label_known_at: datetime
    user_id: str
    merchant_id: str


class LabelRows(NamedTuple):
    """Labels, in any order: each field has one value a label; times are microseconds since the epoch.

    ``zscore`` is the ``user_amount_zscore_90d`` of the transaction of a fraud, None where it is not known.
    """

    transaction_id: tuple[str, ...]
    label_source: tuple[str, ...]
    known_at: tuple[int, ...]
    user_id: tuple[str, ...]
    merchant_id: tuple[str, ...]
    is_fraud: tuple[bool, ...]
    event_time: tuple[int, ...]
    zscore: tuple[float | None, ...]


class TransactionRows(NamedTuple):
    """Transactions, those of an entity together and in the order of ``(event_time, transaction_id)``.

    Parameters
    ----------
    entity, other : tuple of str
        Identifiers of the entities that were asked for, and of those on the other side.
    ids : tuple of str
        ``transaction_id``.
    time, day : int64, shape (n,)
        Microseconds, and partition day since the epoch.
    amount : float64, shape (n,)
        Money.
    """

    entity: tuple[str, ...]
    other: tuple[str, ...]
    ids: tuple[str, ...]
    time: NDArray[np.int64]
    day: NDArray[np.int64]
    amount: NDArray[np.float64]


def _epoch(time: Any) -> Any:  # noqa: ANN401 - the columns make no type of an expression
    """Microseconds since the epoch: exact, since PostgreSQL's is a numeric."""
    return cast(func.extract("epoch", time) * 1_000_000, BigInteger)


def _rows_of(entity: Entity) -> Any:  # noqa: ANN401 - the columns make no type of a statement
    table = transactions.c
    own, other = (table.user_id, table.merchant_id) if entity == "user" else (table.merchant_id, table.user_id)
    return (
        select(
            own,
            other,
            table.transaction_id,
            _epoch(table.event_time),
            cast(table.event_day - literal(date(1970, 1, 1)), Integer),
            cast(table.amount, Double),
        )
        .where(own == any_(_IDS), table.event_day.between(_FIRST, _LAST))
        .order_by(own.collate("C"), table.event_time, table.transaction_id.collate("C"))
    )


def _labels_of(entity: Entity) -> Any:  # noqa: ANN401 - as above
    features = transaction_features.c
    own = fraud_labels.c.user_id if entity == "user" else fraud_labels.c.merchant_id
    label = fraud_labels.c
    columns = [
        label.transaction_id,
        label.label_source,
        _epoch(label.label_known_at),
        label.user_id,
        label.merchant_id,
        label.is_fraud,
        _epoch(label.event_time),
        features[ZSCORE],
    ]
    same = and_(
        features.event_day == label.event_day,
        # No index is looked into for the many that are genuine.
        features.transaction_id == case((label.is_fraud, label.transaction_id)),
    )
    return (
        select(*columns)
        .join_from(fraud_labels, transaction_features, same, isouter=True)
        .where(own == any_(_IDS), fraud_labels.c.known_day.between(_FIRST, _LAST))
    )


_ROWS: Final[dict[Entity, Any]] = {"user": _rows_of("user"), "merchant": _rows_of("merchant")}
_LABELS: Final[dict[Entity, Any]] = {"user": _labels_of("user"), "merchant": _labels_of("merchant")}
_ALONE: Final = select(func.set_config("max_parallel_workers_per_gather", "0", True))
_WRITTEN_BY: Final = ("validated_transactions", "fraud_labels", "transaction_features")
"""Assets whose runs write what is read here."""
_VERSION: Final = select(func.max(pipeline_runs.c.pipeline_run_id)).where(pipeline_runs.c.asset.in_(_WRITTEN_BY))
_DECISIONS: Final = select(
    fraud_labels.c.transaction_id, fraud_labels.c.label_known_at, fraud_labels.c.user_id, fraud_labels.c.merchant_id
).where(
    # A day of a time zone begins within 14 hours of that of another.
    fraud_labels.c.known_day >= func.current_date() - 2,
    fraud_labels.c.label_source == ANALYST,
    fraud_labels.c.label_known_at >= func.now() - bindparam("memory", type_=Interval),
)
_MERCHANTS: Final = (
    select(fraud_labels.c.merchant_id)
    .distinct()
    .where(
        fraud_labels.c.user_id == any_(_IDS),
        fraud_labels.c.known_day >= func.current_date() - bindparam("days_back", type_=Integer),
        fraud_labels.c.is_fraud,
    )
)


def read_alone(connection: Connection) -> None:
    """Take no parallel workers in this transaction: they take longer to start than a few rows to read."""
    connection.execute(_ALONE)


def read_transactions(
    connection: Connection, entity: Entity, ids: Sequence[str], first: date, last: date
) -> TransactionRows:
    """Read the transactions of users or merchants.

    Parameters
    ----------
    connection : Connection
        In a transaction.
    entity : {"user", "merchant"}
    ids : sequence of str
    first, last : date
        Partition days, both included.

    Returns
    -------
    TransactionRows
    """
    found = connection.execute(_ROWS[entity], {"ids": list(ids), "first": first, "last": last}).all()
    own, other, names, time, day, amount = zip(*found, strict=True) if found else _NO_ROWS
    return TransactionRows(
        own, other, names, np.array(time, dtype=np.int64), np.array(day, dtype=np.int64), np.array(amount, dtype=float)
    )


def read_labels(connection: Connection, entity: Entity, ids: Sequence[str], first: date, last: date) -> LabelRows:
    """Read the labels of users' or merchants' transactions that became known in some days.

    Parameters
    ----------
    connection, entity, ids
        As for :func:`read_transactions`.
    first, last : date
        Days on which they became known, both included.

    Returns
    -------
    LabelRows
    """
    found = connection.execute(_LABELS[entity], {"ids": list(ids), "first": first, "last": last}).all()
    return LabelRows(*(zip(*found, strict=True) if found else _NO_LABELS))


def data_version(connection: Connection) -> int:
    """Return a number that rises with every day of an asset that a run writes; 0 before the first."""
    return int(connection.execute(_VERSION).scalar() or 0)


def recent_decisions(connection: Connection, memory: timedelta) -> set[Decision]:
    """List what analysts decided lately, by the clock of the database.

    Parameters
    ----------
    connection : Connection
        In a transaction.
    memory : timedelta
        How long ago it may be. Decisions show when their transaction ends, but have the time at which it began.

    Returns
    -------
    set of Decision
    """
    return {Decision(*row) for row in connection.execute(_DECISIONS, {"memory": memory})}


def merchants_of_cards(connection: Connection, users: Collection[str], days_back: int) -> set[str]:
    """Name the merchants at which users were known as frauds in the last days: each tells the others apart."""
    return set(connection.scalars(_MERCHANTS, {"ids": list(users), "days_back": days_back}))
