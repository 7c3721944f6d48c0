"""The step from feature set 1 to 2 and back keeps what is in the table."""

from alembic import command
from sqlalchemy import inspect, text

from fraud_pipeline.adapters.database.engine import Database, migration_config
from fraud_pipeline.core.schema import FEATURE_COLUMNS

ROW = text(
    "INSERT INTO transaction_features (transaction_id, user_id, merchant_id, event_time, event_day, amount,"
    " merchant_fraud_rate_7d) VALUES ('t1', 'u1', 'm1', '2026-01-02 10:00Z', '2026-01-02', 12.5, 0.25)"
)


def feature_names(database: Database) -> set[str]:
    with database.begin() as connection:
        columns = inspect(connection).get_columns("transaction_features")
    return {column["name"] for column in columns} - {"transaction_id", "user_id", "merchant_id"}


def migrate(database: Database, step: str, revision: str) -> None:
    with database.begin() as connection:
        getattr(command, step)(migration_config(connection), revision)


def test_upgrade_and_downgrade_keep_the_rows(database: Database) -> None:
    migrate(database, "downgrade", "0001")
    assert len(feature_names(database) & set(FEATURE_COLUMNS)) == 30
    with database.begin() as connection:
        connection.execute(ROW)

    migrate(database, "upgrade", "0002")
    assert set(FEATURE_COLUMNS) <= feature_names(database)
    with database.begin() as connection:
        found = connection.execute(
            text("SELECT amount, merchant_fraud_rate_7d, is_new_merchant_30d FROM transaction_features")
        ).one()
        assert tuple(found) == (12.5, 0.25, None)
        connection.execute(text("UPDATE transaction_features SET is_new_merchant_30d = 1"))

    migrate(database, "downgrade", "0001")
    with database.begin() as connection:
        found = connection.execute(text("SELECT amount, merchant_fraud_rate_7d FROM transaction_features")).one()
        assert tuple(found) == (12.5, 0.25)
    assert "is_new_merchant_30d" not in feature_names(database)
