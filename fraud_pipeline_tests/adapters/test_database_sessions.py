"""How long a session waits for PostgreSQL."""

from typing import Any

import pytest
from sqlalchemy import Connection, text

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.sessions import Patience, Session
from fraud_pipeline.core.errors import DatabaseError

NAMES = ("statement_timeout", "lock_timeout")


def shown(connection: Connection) -> list[str]:
    return [str(connection.scalar(text(f"SHOW {name}"))) for name in NAMES]


def parameters(database: Database) -> dict[str, str]:
    """What libpq was told."""
    with database.begin() as connection:
        session: Any = connection.connection.driver_connection
        assert isinstance(session, Session)
        return session.info.get_parameters()


@pytest.fixture
def impatient(database_url: str) -> Database:
    return Database(database_url, "fraud_api", patience=Patience(3, statement=0.2, lock=0.1))


def test_a_run_may_take_as_long_as_it_takes_and_notices_a_host_that_is_gone(database_url: str) -> None:
    database = Database(database_url, "fraud_pipeline")
    with database.begin() as connection:
        assert shown(connection) == ["0", "0"]
    told = parameters(database)
    assert told["connect_timeout"] == "10"
    assert {told[f"keepalives_{name}"] for name in ("idle", "interval", "count")} == {"60", "10", "6"}
    database.dispose()


def test_a_statement_that_takes_too_long_is_given_up_and_the_session_goes_on(impatient: Database) -> None:
    for _ in range(2):
        with (
            pytest.raises(DatabaseError, match="could not do its work: canceling statement due to statement timeout"),
            impatient.begin() as connection,
        ):
            connection.execute(text("SELECT pg_sleep(60)"))
        with impatient.begin() as connection:
            assert shown(connection) == ["200ms", "100ms"]
            assert connection.scalar(text("SELECT current_user")) == "fraud_api"
    assert parameters(impatient)["connect_timeout"] == "3"
    impatient.dispose()


def test_a_lock_that_somebody_else_holds_is_given_up(impatient: Database, database: Database) -> None:
    with database.begin() as holder:
        holder.execute(text("SELECT pg_advisory_lock(7)"))
        with (
            pytest.raises(DatabaseError, match="could not do its work: canceling statement due to lock timeout"),
            impatient.begin() as connection,
        ):
            connection.execute(text("SELECT pg_advisory_xact_lock(7)"))
    impatient.dispose()


def test_a_server_that_does_not_keep_to_the_time_is_left(impatient: Database) -> None:
    def sleep() -> None:
        with impatient.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(DatabaseError, match=r"cannot be reached \(no answer within 2.2 s\)"):
        sleep()
    with impatient.begin() as connection:
        assert shown(connection) == ["200ms", "100ms"]
    impatient.dispose()


def test_what_the_url_says_of_connecting_wins(database_url: str) -> None:
    database = Database(f"{database_url}&connect_timeout=7&keepalives_idle=5")
    told = parameters(database)
    assert (told["connect_timeout"], told["keepalives_idle"], told["keepalives_count"]) == ("7", "5", "6")
    database.dispose()
