"""Who calls: API keys with scopes, and how often each may call."""

import asyncio
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from anyio.to_thread import run_sync
from fastapi import Request
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from fraud_pipeline.adapters.clock import utc_now
from fraud_pipeline.adapters.database import api_repository
from fraud_pipeline.adapters.database.api_repository import KEY_PREFIX, ApiKey
from fraud_pipeline.adapters.database.api_tables import SCOPES
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.api.problems import ProblemError
from fraud_pipeline.core.errors import ConfigurationError

UNAUTHENTICATED: Final = "unauthenticated"
FRESH_SECONDS: Final = 5.0
"""For so long a revoked key may still work: keys are read from the database no more often."""


@dataclass(frozen=True)
class Caller:
    """Who makes a request: a key by id and name, and what it may do."""

    key_id: str
    name: str
    scopes: frozenset[str]


_ANYBODY: Final = Caller(UNAUTHENTICATED, UNAUTHENTICATED, frozenset(SCOPES))


@dataclass
class KeyRing:
    """The keys, read again when they are older than ``FRESH_SECONDS``.

    Parameters
    ----------
    database : Database
    is_open : bool
        Whether everybody may do everything as long as no key was ever made: on a loopback address alone.
    """

    database: Database
    is_open: bool
    _keys: Mapping[str, ApiKey] = field(default_factory=dict)
    _read_at: float = float("-inf")
    _reading: "asyncio.Task[None] | None" = None

    async def identify(self, authorization: str | None) -> Caller:
        """Find out who calls from the header ``Authorization``.

        Raises
        ------
        ProblemError
            401: there is no key in it that is in force.
        DatabaseError
            The keys cannot be read.
        """
        if await self.is_unauthenticated():
            return _ANYBODY
        key = self._find(authorization or "")
        return Caller(key.key_id, key.name, frozenset(key.scopes))

    async def is_unauthenticated(self) -> bool:
        """Whether everybody may do everything."""
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            await self._refresh()
        return self.is_open and not self._keys

    async def _refresh(self) -> None:
        """Wait for the keys together with everybody else: while the database hangs, all learn it at once."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)  # a client that leaves takes nothing from the others

    async def _read(self) -> None:
        keys = await run_sync(api_repository.list_keys, self.database)
        self._keys = {key.key_id: key for key in keys}
        self._read_at = time.monotonic()

    def _find(self, authorization: str) -> ApiKey:
        scheme, _, presented = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorised("This needs a key: send it in the header `Authorization: Bearer KEY`.", "")
        presented = presented.strip()
        parts = presented.split("_", 2)
        key = self._keys.get(parts[1]) if len(parts) == 3 and parts[0] == KEY_PREFIX else None
        # Compared even where there is no such key, so that time does not tell the two apart.
        expected = key.key_sha256 if key is not None else api_repository.digest("")
        is_same = hmac.compare_digest(api_repository.digest(presented), expected)
        if key is None or not is_same or not key.is_in_force(utc_now()):
            raise _unauthorised("The key is unknown, expired or revoked: ask for a new one.", ', error="invalid_token"')
        return key


class RateLimit:
    """So many requests each caller may make of this process.

    Parameters
    ----------
    limit : str
        Such as ``600/minute``.

    Raises
    ------
    ConfigurationError
        The limit cannot be read.
    """

    def __init__(self, limit: str) -> None:
        try:
            self._limit: RateLimitItem = parse(limit)
        except ValueError as error:
            raise ConfigurationError(
                f"FRAUD_PIPELINE_API_RATE_LIMIT: {limit!r} is no rate such as 600/minute; correct it."
            ) from error
        # The storage that is not asynchronous starts a thread a request to clean up, for which the loop would wait.
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    async def count(self, caller: Caller) -> None:
        """Count a request.

        Raises
        ------
        ProblemError
            429: the caller has made too many.
        """
        if await self._limiter.hit(self._limit, caller.key_id):
            return
        reset = (await self._limiter.get_window_stats(self._limit, caller.key_id)).reset_time
        seconds = max(1, round(reset - utc_now().timestamp() + 0.5))
        raise ProblemError(
            429,
            "rate-limit",
            f"The key may make {self._limit}: try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )


async def authenticate(request: Request, scope: str | None = None) -> Caller:
    """Find out who calls, count the request, and check that the key has the scope; None: any key will do.

    Raises
    ------
    ProblemError
        401, 403 or 429.
    DatabaseError
        The keys cannot be read.
    """
    state: Any = request.app.state
    caller: Caller = await state.keys.identify(request.headers.get("authorization"))
    request.scope["state"]["client"] = caller.key_id
    await state.rate_limit.count(caller)
    if scope is not None and scope not in caller.scopes:
        raise ProblemError(
            403,
            "missing-scope",
            f"The key lacks the scope {scope}: ask for one that has it.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            missing_scope=scope,
        )
    return caller


def is_loopback(host: str) -> bool:
    """Whether only programs of the same machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_key(host: str, database: Database) -> None:
    """Refuse to serve the network without any key.

    Raises
    ------
    ConfigurationError
        The address is not a loopback one and no key is in force.
    DatabaseError
        The keys cannot be read.
    """
    if not is_loopback(host) and not api_repository.has_key_in_force(database):
        raise ConfigurationError(
            f"The API would listen on {host} without any key in force, open to everybody: make one with "
            "`fraud-pipeline api-key create NAME --scope alerts:read`, or set FRAUD_PIPELINE_API_HOST=127.0.0.1."
        )


def _unauthorised(detail: str, error: str) -> ProblemError:
    return ProblemError(
        401, "unauthorised", detail, headers={"WWW-Authenticate": f'Bearer realm="fraud_pipeline"{error}'}
    )
