"""Migrations and what they make, on the PostgreSQL of this system, which is not the version of the embedded one."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from fraud_pipeline.adapters.database.engine import Database

# The very tests of the embedded server, with their fixtures.
from fraud_pipeline_tests.adapters.test_database_label_guard import (  # noqa: F401
    decided,
    people,
    pipeline,
    test_decisions_of_people_become_labels_by_whichever_way,
    test_months_that_are_attached_again_keep_the_rule,
    test_the_pipeline_replaces_its_own_labels_beside_those_of_analysts,
    test_the_pipeline_writes_no_label_of_an_analyst,
)
from fraud_pipeline_tests.adapters.test_database_migrations import (  # noqa: F401
    base,
    test_rejects_of_two_sources_with_one_file_name_fit_and_the_first_stays_on_the_way_back,
    test_rows_of_every_table_survive_the_way_up_and_down,
    test_transaction_that_two_days_hold_keeps_its_newest_day_on_the_way_back,
)
from fraud_pipeline_tests.adapters.test_database_partitions import (  # noqa: F401
    test_detached_month_that_does_not_fit_any_more_is_refused_with_what_to_do_and_makes_room_when_renamed,
    three_months,
)
from fraud_pipeline_tests.adapters.test_database_schema import (  # noqa: F401
    test_migrations_and_tables_agree_down_to_checks_indexes_and_comments,
)
from fraud_pipeline_tests.conftest import TEMPLATE
from fraud_pipeline_tests.e2e.servers import PostgresServer, system_programs

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def postgres_server_url(folder: Path) -> Iterator[str]:
    """URL of the database ``postgres`` on a server of this system, in place of the embedded one."""
    if system_programs() is None:
        pytest.skip("this system has no PostgreSQL below /usr/lib/postgresql")
    with PostgresServer.running(folder / "system_postgresql") as server:
        with psycopg.connect(f"{server.url}/postgres", autocommit=True) as session:
            session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        template = Database(f"{server.url}/{TEMPLATE}")
        template.upgrade()
        template.dispose()
        yield f"{server.url}/postgres"


def test_the_server_is_that_of_the_system(database: Database) -> None:
    programs = system_programs()
    assert programs is not None
    with database.begin() as connection:
        version = str(connection.exec_driver_sql("SHOW server_version").scalar_one())
    assert version.split(".")[0] == programs.parent.name
