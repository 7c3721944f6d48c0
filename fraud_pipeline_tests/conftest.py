"""Fixtures that several parts of the tests share: a real PostgreSQL."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database

TEMPLATE = "migrated_template"


def libpq_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """URL of the database ``postgres`` on a server that lives as long as the test session."""
    # Not below pytest's own folder: another session would close that to the server's account.
    with tempfile.TemporaryDirectory(prefix="fraud-pipeline-tests-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder))
        server.start()
        try:
            url = server.url("postgres")
            with psycopg.connect(libpq_url(url), autocommit=True) as session:
                # Nothing here has to survive a power cut.
                session.execute("ALTER SYSTEM SET fsync = off")
                session.execute("SELECT pg_reload_conf()")
            template = Database(server.url(TEMPLATE))
            template.upgrade()
            template.dispose()
            yield url
        finally:
            server.stop()


@pytest.fixture
def database_url(postgres_server_url: str) -> Iterator[str]:
    """URL of a fresh database with the current schema and no rows."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (name, TEMPLATE))))
    yield make_url(postgres_server_url).set(database=name).render_as_string(hide_password=False)
    # A new connection, which takes as long as PostgreSQL needs to notice that those of the test are
    # closed: dropping the database earlier would cost a tenth of a second.
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Give a fresh database with the current schema and no rows."""
    database = Database(database_url)
    yield database
    database.dispose()
