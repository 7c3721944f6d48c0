"""What a connection may do, and in whose name."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, select, text

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import transactions
from fraud_pipeline.core.errors import DatabaseError, InvalidDataError
from fraud_pipeline_tests.conftest import libpq_url


@pytest.fixture
def role(database_url: str) -> Iterator[str]:
    """Name of a role without any rights, beside a login of the same name with `_login` that may not act as it."""
    name = f"test role {uuid.uuid4().hex}"
    names = [sql.Identifier(name), sql.Identifier(f"{name}_login")]
    with psycopg.connect(libpq_url(database_url), autocommit=True) as session:
        session.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(names[0]))
        session.execute(sql.SQL("CREATE ROLE {} LOGIN").format(names[1]))
        yield name
        session.execute(sql.SQL("DROP ROLE {}, {}").format(*names))


def current_user(database: Database) -> str:
    with database.begin() as connection:
        return str(connection.scalar(text("SELECT current_user")))


def test_every_connection_acts_as_the_role_also_after_a_transaction_was_rolled_back(
    database_url: str, role: str
) -> None:
    database = Database(database_url, role)
    for _ in range(2):
        assert current_user(database) == role
        with pytest.raises(InvalidDataError), database.begin() as connection:
            connection.execute(text("SELECT 1 / 0"))
    with database.begin() as first, database.begin() as second:
        assert [each.scalar(text("SELECT current_user")) for each in (first, second)] == [role, role]
    database.dispose()


def test_without_a_role_the_rights_are_those_of_the_login(database: Database) -> None:
    assert current_user(database) == "postgres"


def test_access_that_the_role_has_not_is_denied_in_a_sentence(database_url: str, role: str) -> None:
    database = Database(database_url, role)
    with (
        pytest.raises(DatabaseError, match=f"denies {role} the access: permission denied for table transactions"),
        database.begin() as connection,
    ):
        connection.execute(select(transactions))
    database.dispose()


def test_role_that_is_missing_says_to_migrate(database_url: str) -> None:
    database = Database(database_url, "nobody")
    with pytest.raises(DatabaseError, match="has no role nobody: run `fraud-pipeline migrate`"), database.begin():
        pass


def test_login_that_may_not_act_as_the_role_gets_the_grant_to_run(database_url: str, role: str) -> None:
    login = make_url(database_url).set(username=f"{role}_login").render_as_string(hide_password=False)
    database = Database(login, role)
    remedy = f'run `GRANT "{role}" TO "{role}_login"` there as an administrator'
    with pytest.raises(DatabaseError, match=remedy), database.begin():
        pass
    with psycopg.connect(libpq_url(database_url), autocommit=True) as session:
        session.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(f"{role}_login")))
    assert current_user(database) == role
    database.dispose()


def test_actor_and_run_are_known_within_the_transaction_alone(database: Database) -> None:
    said = text("SELECT current_setting('fraud_pipeline.actor', true), current_setting('fraud_pipeline.run_id', true)")
    with database.begin(actor="ada", run_id="run 7") as connection:
        assert tuple(connection.execute(said).one()) == ("ada", "run 7")
    with database.begin() as connection:
        assert not any(connection.execute(said).one())
