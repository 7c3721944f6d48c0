"""What became known of users and merchants, as the events that features count."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection

from fraud_pipeline.adapters.database import history_repository
from fraud_pipeline.adapters.database.history_repository import Entity, LabelRows
from fraud_pipeline.core import entity_risk, labels
from fraud_pipeline.core.days import microseconds
from fraud_pipeline.core.schema import TIME_DTYPE


class LabelEvents(NamedTuple):
    """Labels that changed what was in force, by the time they became known.

    Parameters
    ----------
    user, merchant : object, shape (n,)
        Identifiers.
    known_at, rank : int64, shape (n,)
        Microseconds since the epoch, and as of ``entity_risk.rank_events``.
    """

    user: NDArray[np.object_]
    merchant: NDArray[np.object_]
    known_at: NDArray[np.int64]
    rank: NDArray[np.int64]

    def of(self, entity: Entity) -> tuple[Sequence[str], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Entities, with times and ranks: those of each together, by time."""
        names: NDArray[np.object_] = getattr(self, entity)
        order = np.argsort(names, kind="stable")
        return names[order].tolist(), (self.known_at[order], self.rank[order])


def read_events(
    connection: Connection, users: Sequence[str], merchants: Sequence[str], first: date, last: date
) -> LabelEvents:
    """Read what became known of users and merchants in some days.

    Parameters
    ----------
    connection : Connection
        In a transaction.
    users, merchants : sequence of str
    first, last : date
        Both included.

    Returns
    -------
    LabelEvents
        Complete for these users and merchants; there may be others.
    """
    here = history_repository.read_labels(connection, "merchant", merchants, first, last)
    # A card's other frauds, wherever they were, tell whether the card explains one.
    cards = {user for user, is_fraud in zip(here.user_id, here.is_fraud, strict=True) if is_fraud}
    there = history_repository.read_labels(connection, "user", [*{*users, *cards}], first, last)
    # A label of one of the users at one of the merchants is in both.
    return events_of(list(dict.fromkeys([*zip(*here, strict=True), *zip(*there, strict=True)])))


def events_of(rows: Sequence[tuple[object, ...]]) -> LabelEvents:
    """Tell which labels are changes, and rank them.

    Parameters
    ----------
    rows : sequence of tuple
        With the fields of LabelRows, each label once.

    Returns
    -------
    LabelEvents
    """
    # Most transactions have one label, which is a change whatever it says: frames are for the others alone.
    times = Counter(row[0] for row in rows)
    single = [row for row in rows if times[row[0]] == 1]
    several = labels.changes(_frame([row for row in rows if times[row[0]] > 1]))
    frauds = pd.concat([_frame([row for row in single if row[5]]), several[several["is_fraud"]]], ignore_index=True)
    genuine = several[~several["is_fraud"]]
    quiet = [row for row in single if not row[5]]
    known_at = np.array([row[2] for row in quiet], dtype=np.int64)
    parts = (
        (np.array([row[3] for row in quiet], dtype=object), np.array([row[4] for row in quiet], dtype=object)),
        *(
            (part["user_id"].to_numpy(dtype=object), part["merchant_id"].to_numpy(dtype=object))
            for part in (genuine, frauds)
        ),
    )
    known_at = np.concatenate(
        [known_at, microseconds(genuine["label_known_at"]), microseconds(frauds["label_known_at"])]
    )
    rank = np.zeros(len(known_at), dtype=np.int64)
    rank[len(known_at) - len(frauds) :] = entity_risk.rank_events(frauds)
    order = np.argsort(known_at, kind="stable")
    user, merchant = (np.concatenate(side)[order] for side in zip(*parts, strict=True))
    return LabelEvents(user, merchant, known_at[order], rank[order])


def _frame(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    found = LabelRows(*(zip(*rows, strict=True) if rows else ((),) * len(LabelRows._fields)))
    texts = ("transaction_id", "label_source", "user_id", "merchant_id")
    frame = pd.DataFrame({name: pd.Series(getattr(found, name), dtype="str") for name in texts})
    for name, column in (("label_known_at", found.known_at), ("event_time", found.event_time)):
        instants = np.array(column, dtype=np.int64).astype("datetime64[us]")
        frame[name] = pd.Series(instants).dt.tz_localize("UTC").astype(TIME_DTYPE)
    return frame.assign(
        is_fraud=np.array(found.is_fraud, dtype=bool),
        **{entity_risk.ZSCORE: np.array(found.zscore, dtype=np.float64)},
    )
