from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from fraud_pipeline.adapters.database.engine import Database, migration_config
from fraud_pipeline.connections import open_database
from fraud_pipeline.core.errors import DatabaseError
from fraud_pipeline.settings import Settings


def user_of(database: Database) -> str:
    with database.begin() as connection:
        user = str(connection.scalar(text("SELECT current_user")))
    database.dispose()
    return user


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings.from_env(home=tmp_path, database_url=database_url)


def test_the_database_is_opened_with_the_rights_of_the_pipeline_and_no_more(settings: Settings) -> None:
    assert user_of(open_database(settings)) == "fraud_pipeline"
    with (
        pytest.raises(
            DatabaseError, match="denies fraud_pipeline the access: permission denied for table alert_events"
        ),
        open_database(settings).begin() as connection,
    ):
        connection.execute(text("DELETE FROM alert_events"))


def test_another_role_or_all_rights_of_the_login_may_be_asked_for(settings: Settings) -> None:
    assert user_of(open_database(settings, role="fraud_analyst")) == "fraud_analyst"
    assert user_of(open_database(settings, role=None)) == "postgres"


@pytest.mark.parametrize("revision", ["base", "0004"])
def test_a_schema_that_is_behind_is_refused_with_the_command_to_run(
    settings: Settings, database: Database, revision: str
) -> None:
    with database.begin() as connection:
        command.downgrade(migration_config(connection), revision)
    with pytest.raises(DatabaseError, match="run `fraud-pipeline migrate`"):
        open_database(settings)
