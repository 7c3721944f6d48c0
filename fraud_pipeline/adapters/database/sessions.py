"""How long a session waits for PostgreSQL, and how it notices that nobody is there any more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

if TYPE_CHECKING:
    from psycopg.abc import PQGen

Result = TypeVar("Result")

GRACE_SECONDS: Final = 2.0
"""So much later than the server should have, the client gives a statement up: the server hangs, or is out of reach."""
# Whoever waits for a host that is gone learns it within two minutes; systems let them wait for two hours.
_KEEPALIVES: Final = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}


@dataclass(frozen=True)
class Patience:
    """How long to wait for PostgreSQL, in seconds.

    Parameters
    ----------
    connect : int
        For a connection, 2 at least.
    statement : float, optional
        For the answer to a statement; for ever by default.
    lock : float, optional
        For a lock, within that time.
    """

    connect: int = 10
    statement: float | None = None
    lock: float | None = None

    @property
    def connect_arguments(self) -> Mapping[str, int]:
        """Arguments for libpq."""
        return {"connect_timeout": self.connect, **_KEEPALIVES}

    def impose(self, session: "psycopg.Connection[Any]") -> None:
        """Let the server give up a statement in time, as long as a session that is in no transaction lives."""
        for name, seconds in (("statement_timeout", self.statement), ("lock_timeout", self.lock)):
            if seconds is not None:
                session.execute("SELECT set_config(%s, %s, false)", [name, f"{max(1, round(1000 * seconds))}ms"])


class Session(psycopg.Connection[Any]):
    """A connection that does not wait for ever, even if the server cannot end a statement any more."""

    answer_within: float | None = None
    """Seconds for the answer to a statement; for ever by default."""

    def wait(self, gen: "PQGen[Result]", interval: float = 0.1, timeout: float | None = None) -> Result:
        """Wait for an answer.

        Raises
        ------
        OperationalError
            There is none in time; the connection is closed.
        """
        within = self.answer_within if timeout is None else timeout
        try:
            return super().wait(gen, interval, within)
        except psycopg.errors._WaitTimeout:  # it has no public name
            if timeout is not None:
                raise
            self.close()
            raise psycopg.OperationalError(f"no answer within {within:g} s") from None
