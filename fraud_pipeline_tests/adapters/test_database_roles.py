"""What each role may do, tried as that role, and how the roles come about."""

import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from alembic import command
from psycopg import sql
from sqlalchemy import make_url

from fraud_pipeline.adapters.database.alert_repository import insert_new
from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database, migration_config
from fraud_pipeline.adapters.database.metrics_repository import replace_day_metrics
from fraud_pipeline.adapters.database.workflow_repository import AlertChange, change_alert
from fraud_pipeline.core.errors import DatabaseError
from fraud_pipeline_tests.adapters.test_database_alerts import new_alerts
from fraud_pipeline_tests.conftest import libpq_url

ROLES = ("fraud_pipeline", "fraud_api", "fraud_analyst")
VIEWS = {
    "open_alerts",
    "alert_details",
    "alerts_by_day",
    "case_history",
    "model_performance",
    "user_history",
    "alert_statistics_by_day",
    "alert_statistics_by_model",
    "alert_ageing",
    "repeat_users",
}
# Everything that may be read, and everything that may be done to a column, by role. What is not here is refused.
READ = {
    "fraud_analyst": VIEWS,
    "fraud_pipeline": {
        "transactions",
        "transaction_features",
        "anomaly_scores",
        "fraud_labels",
        "rejected_transactions",
        "user_profiles",
        "model_metrics",
        "pipeline_runs",
        "deployment_settings",
        "alerts",
        "cases",
        "alert_events",
        "review_decisions",
        "alerts_by_day",
        "alert_statistics_by_day",
        "fraud_pipeline_schema_version",
    },
    "fraud_api": {
        "transactions",
        "transaction_features",
        "anomaly_scores",
        "fraud_labels",
        "user_profiles",
        "model_metrics",
        "pipeline_runs",
        "alerts",
        "cases",
        "alert_events",
        "review_decisions",
        "api_keys",
        "idempotency_keys",
        "alert_details",
        "alert_statistics_by_day",
        "fraud_pipeline_schema_version",
    },
}
WORKFLOW_COLUMNS = {"status", "outcome", "assignee", "current_priority", "due_at", "snoozed_until"}
UPDATED = {
    "fraud_analyst": {},
    "fraud_pipeline": {"alerts": {"current_priority", "due_at"}, "cases": {"priority", "version"}},
    "fraud_api": {"alerts": WORKFLOW_COLUMNS, "cases": {"assignee"}, "review_decisions": set(), "api_keys": set()},
}


@pytest.fixture
def session(database_url: str) -> Iterator[psycopg.Connection]:
    """Give a session of an administrator, in which a test takes on a role."""
    with psycopg.connect(libpq_url(database_url), autocommit=True) as session:
        yield session


def relations(session: psycopg.Connection) -> list[str]:
    """Tables, partitions and views of the schema."""
    session.execute("SELECT create_partitions('2026-03-01', '2026-03-01')")
    found = session.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')"
    )
    return sorted(name for (name,) in found)


def attempt(session: psycopg.Connection, statement: sql.Composed | sql.SQL) -> psycopg.Error | None:
    """Run a statement, signed, and take it back; returns what came of it if it did not run."""
    try:
        with session.transaction(force_rollback=True):
            session.execute("SELECT set_config('fraud_pipeline.actor', 'eve', true)")
            session.execute(statement)
    except psycopg.Error as error:
        return error
    return None


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reads_what_it_needs_and_nothing_else(session: psycopg.Connection, role: str) -> None:
    names = relations(session)
    assert len(names) > 25
    session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    readable = {
        name
        for name in names
        if attempt(session, sql.SQL("SELECT * FROM {} LIMIT 1").format(sql.Identifier(name))) is None
    }
    assert readable == READ[role]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_changes_the_columns_that_are_its_own_and_no_others(session: psycopg.Connection, role: str) -> None:
    columns = session.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND table_name IN ('alerts', 'cases', 'alert_events', 'review_decisions', 'api_keys')"
    ).fetchall()
    session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    changeable: dict[str, set[str]] = {}
    for table, column in columns:
        names = sql.Identifier(table), sql.Identifier(column), sql.Identifier(column)
        if attempt(session, sql.SQL("UPDATE {} SET {} = {}").format(*names)) is None:
            changeable.setdefault(table, set()).add(column)
    assert changeable == {table: columns for table, columns in UPDATED[role].items() if columns}


@pytest.mark.parametrize("role", ROLES)
def test_nobody_deletes_alerts_changes_the_audit_or_makes_objects(session: psycopg.Connection, role: str) -> None:
    session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    for statement in (
        "DELETE FROM alerts",
        "TRUNCATE alerts",
        "DELETE FROM cases",
        "INSERT INTO alert_events (alert_id, event_type, actor) VALUES (1, 'changed', 'eve')",
        "DELETE FROM alert_events",
        "DELETE FROM review_decisions",
        "DROP VIEW open_alerts",
        "CREATE TABLE mine (a int)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "ALTER TABLE alerts DISABLE TRIGGER ALL",
        "SELECT settle_case(1)",
        "SELECT reopen_case(1, 'u1')",
    ):
        with pytest.raises(psycopg.Error, match=r"permission denied|must be owner"):
            session.execute(statement.encode())


@pytest.mark.parametrize(
    ("function", "allowed"),
    [
        ("create_partitions('2026-03-01', '2026-03-01')", {"fraud_pipeline"}),
        ("detach_partitions('2000-01-01')", {"fraud_pipeline"}),
        ("record_rescore(1, '{}')", {"fraud_pipeline"}),
        ("add_alert_comment(1, 'seen')", {"fraud_api"}),
    ],
)
def test_functions_with_the_rights_of_the_owner_are_for_one_role(
    session: psycopg.Connection, function: str, allowed: set[str]
) -> None:
    found = set()
    for role in ROLES:
        session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        refused = attempt(session, sql.SQL(f"SELECT {function}"))
        if not isinstance(refused, psycopg.errors.InsufficientPrivilege):
            found.add(role)
    assert found == allowed


def test_every_function_with_the_rights_of_the_owner_is_closed_to_everybody_else(session: psycopg.Connection) -> None:
    found = session.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef "
        "AND has_function_privilege('fraud_analyst', oid, 'EXECUTE')"
    ).fetchall()
    assert found == []


def test_the_pipeline_raises_alerts_and_measures_and_people_work_on_them_with_their_own_roles(
    database_url: str,
) -> None:
    pipeline, api = (Database(database_url, role) for role in ("fraud_pipeline", "fraud_api"))
    day = date(2026, 3, 1)
    assert insert_new(pipeline, new_alerts("t1", "t2", day=day), sla_hours=(4, 8, 24, 72, 168)) == 2
    taken = change_alert(api, 1, AlertChange(status="investigating", assignee="ada"), actor="ada", expected_version=1)
    change = AlertChange(status="closed", outcome="confirmed_fraud", comment="called")
    closed = change_alert(api, 1, change, actor="ada", expected_version=taken["version"])
    assert closed["outcome"] == "confirmed_fraud"
    with pytest.raises(DatabaseError, match="denies fraud_pipeline the access"):
        change_alert(pipeline, 2, AlertChange(assignee="eve"), actor="eve", expected_version=1)
    with pytest.raises(DatabaseError, match="denies fraud_api the access"):
        insert_new(api, new_alerts("t3", day=day))
    replace_day_metrics(pipeline, day, metrics_frame(), run_id="r1")
    for opened in (pipeline, api):
        opened.dispose()


def metrics_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model_version": ["1"],
            "metric": ["recall"],
            "value": [0.5],
            "computed_as_of": [pd.Timestamp("2026-03-02", tz="UTC")],
        }
    )


# How the roles come about


@pytest.fixture
def new_server(quick_disk: Path) -> Iterator[str]:
    """URL of the database ``postgres`` on a server that knows none of the roles."""
    with tempfile.TemporaryDirectory(dir=quick_disk, ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder))
        server.start()
        try:
            yield server.url("postgres")
        finally:
            server.stop()


def add_owner(server_url: str, name: str, options: str) -> str:
    """Make an account with a database of its own; returns its URL."""
    with psycopg.connect(libpq_url(server_url), autocommit=True) as session:
        session.execute(f"CREATE ROLE {name} LOGIN {options}".encode())
        session.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
    return make_url(server_url).set(database=name, username=name).render_as_string(hide_password=False)


@contextmanager
def opened(url: str, role: str | None = None) -> Iterator[Database]:
    database = Database(url, role)
    yield database
    database.dispose()


def test_two_databases_of_a_cluster_make_the_roles_at_once_and_their_owners_need_not_be_administrators(
    new_server: str,
) -> None:
    urls = [add_owner(new_server, name, "CREATEROLE") for name in ("one", "two", "three")]
    # Alembic keeps the migration that runs in a variable of the process.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        list(pool.map(upgrade, urls))
    for url in urls:
        with psycopg.connect(libpq_url(url)) as session:
            assert session.execute("SELECT count(*) FROM pg_roles WHERE rolname ~ '^fraud'").fetchone() == (3,)


def upgrade(url: str) -> None:
    with opened(url) as database:
        database.upgrade()


def test_an_owner_who_made_the_roles_works_with_the_rights_of_one(new_server: str) -> None:
    url = add_owner(new_server, "owner", "CREATEROLE")
    upgrade(url)
    for role in ROLES:
        with opened(url, role) as database, database.begin() as connection:
            assert connection.exec_driver_sql("SELECT current_user").scalar_one() == role
    with opened(url, "fraud_pipeline") as database:
        assert insert_new(database, new_alerts("t1")) == 1
    with psycopg.connect(libpq_url(url), autocommit=True) as session:
        session.execute("SET ROLE fraud_analyst")
        assert session.execute("SELECT transaction_id FROM alert_details").fetchall() == [("t1",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("CREATE TEMPORARY TABLE mine (a int)")


def test_an_account_that_may_not_create_roles_is_told_what_an_administrator_has_to_run(new_server: str) -> None:
    url = add_owner(new_server, "plain", "NOCREATEROLE")
    with pytest.raises(DatabaseError, match=r"plain may not create roles: let an administrator run `.*`, then") as told:
        upgrade(url)
    with psycopg.connect(libpq_url(url)) as session:
        assert session.execute("SELECT to_regclass('alerts')").fetchone() == (None,)
    found = re.search("administrator run `([^`]+)`", str(told.value))
    assert found is not None
    with psycopg.connect(libpq_url(new_server), autocommit=True) as session:
        session.execute(found[1].encode())
    upgrade(url)
    with opened(url, "fraud_pipeline") as database:
        assert insert_new(database, new_alerts("t1")) == 1


def test_an_account_that_bears_the_name_of_a_role_is_that_role(new_server: str) -> None:
    url = add_owner(new_server, "fraud_pipeline", "CREATEROLE")
    upgrade(url)
    with opened(url, "fraud_pipeline") as database:
        assert insert_new(database, new_alerts("t1")) == 1


def test_the_way_back_takes_the_views_and_rights_and_leaves_the_roles(database: Database) -> None:
    with database.begin() as connection:
        command.downgrade(migration_config(connection), "0007")
        views = connection.exec_driver_sql("SELECT count(*) FROM pg_views WHERE schemaname = 'public'").scalar_one()
        granted = connection.exec_driver_sql(
            "SELECT count(*) FROM information_schema.role_table_grants WHERE grantee ~ '^fraud'"
        ).scalar_one()
        roles = connection.exec_driver_sql("SELECT count(*) FROM pg_roles WHERE rolname ~ '^fraud'").scalar_one()
    assert (views, granted, roles) == (0, 0, 3)
    database.upgrade()
    database.require_current_schema()
