"""The history of users and merchants, read from the database and kept as long as it is the same there."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from fraud_pipeline.adapters.database import history_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.history_repository import Entity, TransactionRows
from fraud_pipeline.api import history_labels
from fraud_pipeline.core.features import LABEL_CALENDAR_DAYS, RECENT_CALENDAR_DAYS, days_back
from fraud_pipeline.core.live_features import EntityHistory

MAX_ROWS: Final = 2_000_000
"""Transactions and labels of all entities together; one takes about 150 bytes."""
SLACK_DAYS: Final = 7
"""So many days more are read on both sides, for late transactions and the next days."""
IDS_PER_QUERY: Final = 1_000

_EPOCH: Final = date(1970, 1, 1)


Days = tuple[int, int]


class _Kept(NamedTuple):
    """A history, and the partition days (since the epoch) whose transactions can be looked at with it."""

    history: EntityHistory
    first_day: int
    last_day: int

    @property
    def size(self) -> int:
        return 1 + len(self.history.time) + len(self.history.known_at)


class HistoryCache:
    """Histories by user and by merchant; those not asked for longest make room for others.

    Safe for one thread that reads and others that call :meth:`clear` and :meth:`forget`.

    Parameters
    ----------
    database : Database
    baseline_days : int
        Days before a transaction's own that its user's baseline covers.
    max_rows : int
    """

    def __init__(self, database: Database, baseline_days: int, *, max_rows: int = MAX_ROWS) -> None:
        self._database = database
        self._days_back = days_back(baseline_days)
        self._max_rows = max_rows
        self._kept: OrderedDict[tuple[Entity, str], _Kept] = OrderedDict()
        self._rows = 0
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._generation = 0

    def number(self, merchant_id: str) -> int:
        """Give the number of a merchant in the rows of users."""
        return self._numbers.setdefault(merchant_id, len(self._numbers))

    def get(
        self, users: Mapping[str, Days], merchants: Mapping[str, Days]
    ) -> tuple[list[EntityHistory], list[EntityHistory]]:
        """Give the histories of users and merchants; those not kept are read in one transaction.

        Parameters
        ----------
        users, merchants : mapping of str to Days
            First and last partition day, since the epoch, of the transactions that are looked at.

        Returns
        -------
        list of EntityHistory, list of EntityHistory
            In the order of the mappings.

        Raises
        ------
        DatabaseError
            If something has to be read and the database cannot be reached.
        """
        wanted: dict[Entity, Mapping[str, Days]] = {"user": users, "merchant": merchants}
        found: dict[Entity, dict[str, EntityHistory | None]] = {"user": {}, "merchant": {}}
        missing: dict[Days, dict[Entity, list[str]]] = {}
        with self._lock:
            generation = self._generation
            for entity, names in wanted.items():
                for name, (first, last) in names.items():
                    kept = self._kept.get((entity, name))
                    if kept is not None and kept.first_day <= first and kept.last_day >= last:
                        self._kept.move_to_end((entity, name))
                        found[entity][name] = kept.history
                    else:
                        # By whole weeks, so that the entities of a batch of many days share their queries.
                        weeks = (first // 7 * 7 - SLACK_DAYS, last // 7 * 7 + 6 + SLACK_DAYS)
                        missing.setdefault(weeks, {"user": [], "merchant": []})[entity].append(name)
                        found[entity][name] = None
        for weeks, ids in missing.items():
            read = self._read(ids["user"], ids["merchant"], *weeks)
            self._keep(read, generation)
            for (entity, name), kept in read.items():
                found[entity][name] = kept.history
        # None is left: what was missing has been read.
        return list(found["user"].values()), list(found["merchant"].values())  # type: ignore[arg-type]

    def clear(self) -> None:
        """Forget everything: the tables have changed."""
        with self._lock:
            self._kept.clear()
            self._rows = 0
            self._generation += 1

    def forget(self, users: Iterable[str], merchants: Iterable[str]) -> None:
        """Forget some entities: what is known of them has changed."""
        with self._lock:
            self._generation += 1
            for key in [*(("user", name) for name in users), *(("merchant", name) for name in merchants)]:
                self._drop(key)  # type: ignore[arg-type]  # the literals of Entity

    def _drop(self, key: tuple[Entity, str]) -> None:
        if (old := self._kept.pop(key, None)) is not None:
            self._rows -= old.size

    def _keep(self, read: dict[tuple[Entity, str], _Kept], generation: int) -> None:
        with self._lock:
            # What was read before a change was noticed may be older than the change.
            if generation != self._generation:
                return
            for key, kept in read.items():
                self._drop(key)
                self._kept[key] = kept
                self._rows += kept.size
            while self._rows > self._max_rows and len(self._kept) > 1:
                self._rows -= self._kept.popitem(last=False)[1].size

    def _read(
        self, users: list[str], merchants: list[str], first_day: int, last_day: int
    ) -> dict[tuple[Entity, str], _Kept]:
        first, last = (_EPOCH + timedelta(days=day) for day in (first_day, last_day))
        found: dict[tuple[Entity, str], _Kept] = {}
        with self._database.begin() as connection:
            history_repository.read_alone(connection)
            events = history_labels.read_events(
                connection, users, merchants, first - timedelta(days=LABEL_CALENDAR_DAYS), last
            )
            reaches: tuple[tuple[Entity, list[str], int], ...] = (
                ("user", users, self._days_back),
                ("merchant", merchants, RECENT_CALENDAR_DAYS),
            )
            for entity, ids, reach in reaches:
                of_entity = by_entity(*events.of(entity))
                for start in range(0, len(ids), IDS_PER_QUERY):
                    part = ids[start : start + IDS_PER_QUERY]
                    rows = history_repository.read_transactions(
                        connection, entity, part, first - timedelta(days=reach), last
                    )
                    split = self._split_rows(rows)
                    for name in part:
                        history = EntityHistory(*split.get(name, _NO_ROWS), *of_entity.get(name, _NO_EVENTS))
                        found[entity, name] = _Kept(history, first_day, last_day)
        return found

    def _split_rows(self, rows: TransactionRows) -> dict[str, tuple[np.ndarray, ...]]:
        """Cut rows into the first six fields of an EntityHistory, by entity."""
        other = np.array([self.number(name) for name in rows.other], dtype=np.int64)
        key = np.array([hash_of(name) for name in rows.ids], dtype=np.int64)
        columns = (rows.time, rows.day, rows.amount, other, key, texts(rows.ids))
        return by_entity(rows.entity, columns)


def hash_of(transaction_id: str) -> int:
    """Hash an identifier to 64 bits; two of one entity and day do not share theirs."""
    return hash(transaction_id)


def texts(values: Sequence[str]) -> np.ndarray:
    """Put texts into an array of objects."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def by_entity(names: Sequence[str], columns: tuple[np.ndarray, ...]) -> dict[str, tuple[np.ndarray, ...]]:
    """Cut columns where the next entity begins."""
    begins = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1]), len(names)] if names else [0]
    return {
        # Copies, since a view would keep the whole alive.
        names[begin]: tuple(column[begin:end].copy() for column in columns)
        for begin, end in pairwise(begins)
    }


_INTS: Final = np.empty(0, dtype=np.int64)
_NO_ROWS: Final = (_INTS, _INTS, np.empty(0), _INTS, _INTS, texts([]))
_NO_EVENTS: Final = (_INTS, _INTS)
