"""Fixtures that several parts of the tests share: a real PostgreSQL."""

import shutil
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
# Each test makes and drops hundreds of files with its database: in memory that is ten times as quick.
RAM_DISK = Path("/dev/shm")  # noqa: S108 - holds a folder with a random name and no secrets


def libpq_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def quick_disk() -> Path:
    """Folder to make a temporary folder in for a server: in memory where there is enough of it."""
    return RAM_DISK if RAM_DISK.is_dir() and shutil.disk_usage(RAM_DISK).free > 2**30 else Path(tempfile.gettempdir())


@pytest.fixture(scope="session")
def postgres_server_url(quick_disk: Path) -> Iterator[str]:
    """URL of the database ``postgres`` on a server that lives as long as the test session."""
    # Not below pytest's own folder: another session would close that to the server's account.
    with tempfile.TemporaryDirectory(dir=quick_disk, ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder))
        server.start()
        try:
            url = server.url("postgres")
            with psycopg.connect(libpq_url(url), autocommit=True) as session:
                # Nothing here has to survive a power cut.
                session.execute("ALTER SYSTEM SET fsync = off")
                session.execute("ALTER SYSTEM SET max_wal_size = '128MB'")
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
        session.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(*map(sql.Identifier, (name, TEMPLATE)))
        )
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
