"""Whether the API is fit to serve: the database, its schema, the model, and how old the data are."""

import asyncio
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from fraud_pipeline.adapters.clock import today
from fraud_pipeline.adapters.database import alert_queries, api_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.core.errors import FraudPipelineError

PATIENCE_SECONDS: Final = 1.5
_log = logging.getLogger("fraud_pipeline.api")


@dataclass(frozen=True)
class DatabaseState:
    """What the database says of itself."""

    schema_revision: str
    last_scored_day: date | None


class DatabaseWatch:
    """Asks the database, and answers in time even if the database does not.

    A question that hangs is not asked again before it ends: it would only hang another thread.

    Parameters
    ----------
    database : Database
    patience : float
        Seconds to wait for an answer.
    """

    def __init__(self, database: Database, patience: float = PATIENCE_SECONDS) -> None:
        self._database = database
        self._patience = patience
        # A thread of its own: requests that hang as well may have taken all others.
        self._thread = ThreadPoolExecutor(1, "health")
        self._question: Future[DatabaseState] | None = None

    async def state(self) -> DatabaseState | str:
        """Ask the database; a text says why it does not answer."""
        if self._question is None or self._question.done():
            self._question = self._thread.submit(_ask, self._database)
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._question)), self._patience)
        except TimeoutError:
            return f"the database did not answer within {self._patience} s"
        except FraudPipelineError as error:
            # The sentence names places, which are for the log alone.
            _log.warning("health: %s", error)
            return "the database cannot be used; the log of the server says why"

    def stop(self) -> None:
        """Ask nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _ask(database: Database) -> DatabaseState:
    with database.begin() as connection:
        return DatabaseState(api_repository.schema_revision(connection), alert_queries.newest_alert_day(connection))


def age_in_days(last_scored_day: date | None, time_zone: str) -> int | None:
    """Days since the last scored day in the zone of the deployment, None before the first."""
    return None if last_scored_day is None else (today(time_zone) - last_scored_day).days


def report(
    database: DatabaseState | str,
    *,
    needed_revision: str,
    model_version: str | None,
    time_zone: str,
    max_age_days: int,
) -> tuple[bool, dict[str, Any]]:
    """Say of each part whether it is fit, and what is wrong.

    Returns
    -------
    bool, dict
        Whether all parts are fit, and for each its ``ok``, ``detail`` and figures.
    """
    unknown = "not known, since the database does not answer"
    revision = last_day = None
    schema_fault, stale = unknown, unknown
    if not isinstance(database, str):
        revision, last_day = database.schema_revision, database.last_scored_day
        schema_fault = f"revision {needed_revision} is needed: run `fraud-pipeline migrate`"
    age = age_in_days(last_day, time_zone)
    if not isinstance(database, str):
        stale = "no day was scored yet"
    if age is not None:
        stale = f"the last scored day is {age} days old, {max_age_days} are allowed: look at the nightly run"
    checks = {
        "database": _check(not isinstance(database, str), str(database)),
        "schema": _check(revision == needed_revision, schema_fault, revision=revision),
        "model": _check(
            model_version is not None, "none is loaded: it still loads, or none was trained yet", version=model_version
        ),
        "freshness": _check(age is not None and age <= max_age_days, stale, last_scored_day=last_day, age_days=age),
    }
    return all(check["ok"] for check in checks.values()), checks


def _check(ok: bool, fault: str, **figures: object) -> dict[str, Any]:
    return {"ok": ok, "detail": None if ok else fault, **figures}
