"""Scores on request: what the nightly run would say of a transaction, from the history in the database.

A transaction is seen with the transactions of its user and its merchant that are before it (by
``event_time``, at equal times by ``transaction_id``) in the database or in the same request, and with what became
known of them. If it is in the database itself, it counts once, as the request has it. What is in neither is not
seen: scoring records nothing, so a transaction that was scored a moment ago is unknown until a nightly run has
brought it in, or the next request names it again. Requests do not see each other.

History is kept in memory and read again when a run has written or an analyst has decided; that shows a second later.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from fraud_pipeline.adapters.database import history_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.history_repository import Decision
from fraud_pipeline.adapters.model_store import ModelStore, StoredModel
from fraud_pipeline.api import detection_warmup, model_info
from fraud_pipeline.api.detection_answers import answers
from fraud_pipeline.api.detection_model import ChampionWatch
from fraud_pipeline.api.detection_queue import DetectionQueue
from fraud_pipeline.api.history import Days, HistoryCache, hash_of, texts
from fraud_pipeline.api.models import Detection, ModelInfo, TransactionIn
from fraud_pipeline.connections import open_model_store
from fraud_pipeline.core import card_numbers, live_features
from fraud_pipeline.core.columns import FeatureColumns
from fraud_pipeline.core.days import DAY, SECOND
from fraud_pipeline.core.errors import DatabaseError, InvalidDataError, ModelArtefactError
from fraud_pipeline.core.features import LABEL_CALENDAR_DAYS
from fraud_pipeline.core.live_features import LiveRows
from fraud_pipeline.settings import Settings

DATA_SECONDS: Final = 1.0
"""Between two looks at what has changed in the database."""
MODEL_SECONDS: Final = 3.0
"""Between two looks at the champion alias."""
LABEL_MEMORY: Final = timedelta(minutes=2)
"""A decision shows when its transaction ends; none is expected to take longer."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MINUTE: Final = 60 * SECOND
_log = logging.getLogger("fraud_pipeline.api")


class _Request(NamedTuple):
    """Transactions that see each other, and whether alerts among them get their reasons."""

    transactions: Sequence[TransactionIn]
    explain: bool


class DetectionService:
    """Scores transactions with the champion; safe to call from many threads.

    Parameters
    ----------
    settings : Settings
    database : Database
        Reads the tables of transactions, features, labels and runs.
    model_store : ModelStore, optional
        By default that of the settings.
    """

    def __init__(self, settings: Settings, database: Database, model_store: ModelStore | None = None) -> None:
        self._database = database
        self._max_amount = settings.max_amount
        self._zone = ZoneInfo(settings.time_zone)
        self._baseline_days = settings.baseline_days
        self._history = HistoryCache(database, settings.baseline_days)
        self._version = -1
        self._decisions: set[Decision] = set()
        store = open_model_store(settings) if model_store is None else model_store
        self._champion = ChampionWatch(store, self._warm_up, MODEL_SECONDS)
        self._described: tuple[StoredModel | None, ModelInfo | None] = (None, None)
        self._queue: DetectionQueue[_Request, list[Detection]] = DetectionQueue(self._compute)
        self._stopped = threading.Event()
        self._watch = threading.Thread(target=self._follow_data, name="history", daemon=True)

    def start(self) -> None:
        """Start the threads, which load the champion in the background; see :meth:`ready`."""
        self._queue.start()
        self._champion.start()
        self._watch.start()

    def stop(self) -> None:
        """Answer what was asked, and end the threads."""
        self._stopped.set()
        self._queue.stop()
        self._champion.stop()
        if self._watch.is_alive():
            self._watch.join()

    def ready(self) -> bool:
        """Whether a model is loaded."""
        return self._champion.current is not None

    def model_info(self) -> ModelInfo | None:
        """Describe the model that scores now; None before one is loaded."""
        current, (described, info) = self._champion.current, self._described
        if current is not described:
            info = None if current is None else model_info.describe(current)
            self._described = (current, info)
        return info

    def detect(self, transactions: Sequence[TransactionIn], *, explain: bool = True) -> list[Detection]:
        """Score transactions, and wait for it; those given together see each other.

        Parameters
        ----------
        transactions : sequence of TransactionIn
            Each identifier once; in any order.
        explain : bool
            Whether alerts get their reasons, which cost as much as scoring dozens of transactions.

        Returns
        -------
        list of Detection
            In the order given. None of them depends on the number or the order of the others, nor on others of
            other users and merchants.

        Raises
        ------
        InvalidDataError
            If an identifier is there twice, a user is a card number or an amount is beyond the limit.
        ModelArtefactError
            If there is no champion yet.
        DatabaseError
            If history has to be read and the database cannot be reached.
        """
        return self._submit(transactions, explain).result()

    async def detect_async(self, transactions: Sequence[TransactionIn], *, explain: bool = True) -> list[Detection]:
        """Like :meth:`detect`, without holding a thread while it waits."""
        return await asyncio.wrap_future(self._submit(transactions, explain))

    def refresh(self) -> None:
        """Look once at what has changed in the database, and forget what it makes old.

        Raises
        ------
        DatabaseError
            If the database cannot be reached; nothing is forgotten then.
        """
        with self._database.begin() as connection:
            version = history_repository.data_version(connection)
            decisions = history_repository.recent_decisions(connection, LABEL_MEMORY)
            new = decisions - self._decisions
            users = {decision.user_id for decision in new}
            company = LABEL_CALENDAR_DAYS
            elsewhere = history_repository.merchants_of_cards(connection, users, company) if new else set()
        if version != self._version:
            self._history.clear()
        elif new:
            self._history.forget(users, elsewhere | {decision.merchant_id for decision in new})
        self._version, self._decisions = version, decisions

    def _follow_data(self) -> None:
        is_reachable = True
        while not self._stopped.wait(DATA_SECONDS):
            try:
                self.refresh()
                is_reachable = True
            except DatabaseError as error:
                if is_reachable:
                    _log.error("history is no longer brought up to date: %s", error)
                is_reachable = False

    def _submit(self, transactions: Sequence[TransactionIn], explain: bool) -> "Future[list[Detection]]":
        self._require_usable(transactions)
        return self._queue.submit(_Request(transactions, explain), len(transactions))

    def _require_usable(self, transactions: Sequence[TransactionIn]) -> None:
        seen: set[str] = set()
        for transaction in transactions:
            if transaction.transaction_id in seen:
                raise InvalidDataError(
                    f"transaction_id {transaction.transaction_id} is there twice; send each transaction once."
                )
            seen.add(transaction.transaction_id)
            if card_numbers.is_card_number(transaction.user_id):
                raise InvalidDataError(
                    f"the user_id of transaction_id {transaction.transaction_id} looks like a card number; "
                    "send the token that stands for it."
                )
            if abs(transaction.amount) > self._max_amount:
                raise InvalidDataError(
                    f"the amount of transaction_id {transaction.transaction_id} is beyond the limit "
                    f"{self._max_amount:.15g}; check its currency and unit."
                )

    def _compute(self, requests: Sequence[_Request]) -> list[list[Detection]]:
        champion = self._champion.current
        if champion is None:
            raise ModelArtefactError("there is no champion model yet; train one with `fraud-pipeline train`.")
        transactions = [transaction for request in requests for transaction in request.transactions]
        if not transactions:
            return [[] for _ in requests]
        sizes = [len(request.transactions) for request in requests]
        explained = np.repeat([request.explain for request in requests], sizes)
        found = answers(transactions, self._features(transactions, sizes), champion, explained)
        ends = np.cumsum(sizes).tolist()
        return [found[end - size : end] for end, size in zip(ends, sizes, strict=True)]

    def _features(self, transactions: Sequence[TransactionIn], sizes: Sequence[int]) -> FeatureColumns:
        times = [(each.event_time - _EPOCH) // _MICROSECOND for each in transactions]
        clock = [time + _utc_offset(self._zone, time // _MINUTE) for time in times]
        users: dict[str, Days] = {}
        merchants: dict[str, Days] = {}
        for each, shown in zip(transactions, clock, strict=True):
            day = shown // DAY
            for known, name in ((users, each.user_id), (merchants, each.merchant_id)):
                first, last = known.get(name, (day, day))
                known[name] = (min(first, day), max(last, day))
        user_history, merchant_history = self._history.get(users, merchants)
        user_at = {name: position for position, name in enumerate(users)}
        merchant_at = {name: position for position, name in enumerate(merchants)}
        rows = LiveRows(
            context=np.repeat(np.arange(len(sizes)), sizes),
            user=np.array([user_at[each.user_id] for each in transactions]),
            merchant=np.array([merchant_at[each.merchant_id] for each in transactions]),
            time=np.array(times, dtype=np.int64),
            clock=np.array(clock, dtype=np.int64),
            amount=np.array([each.amount for each in transactions], dtype=np.float64),
            other=np.array([self._history.number(each.merchant_id) for each in transactions], dtype=np.int64),
            key=np.array([hash_of(each.transaction_id) for each in transactions], dtype=np.int64),
            ids=texts([each.transaction_id for each in transactions]),
        )
        return live_features.build(rows, user_history, merchant_history, self._baseline_days)

    def _warm_up(self, champion: StoredModel) -> None:
        detection_warmup.run(champion, self._baseline_days)


@lru_cache(maxsize=8_192)
def _utc_offset(zone: ZoneInfo, minute: int) -> int:
    """Microseconds that the clocks of a zone are ahead in a minute since the epoch; they change between minutes."""
    offset = (_EPOCH + timedelta(minutes=minute)).astimezone(zone).utcoffset()
    return (offset or timedelta()) // _MICROSECOND
