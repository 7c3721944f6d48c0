from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, make_url, text
from sqlalchemy.exc import ProgrammingError

from fraud_pipeline.adapters.database import alert_tables, api_tables  # noqa: F401 - imported for their tables
from fraud_pipeline.adapters.database.columns import metadata
from fraud_pipeline.adapters.database.engine import SCHEMA_VERSION_TABLE, Database, migration_config
from fraud_pipeline.adapters.database.partitions import create_partitions
from fraud_pipeline.core.errors import ConfigurationError, DatabaseError, InvalidDataError
from fraud_pipeline.core.schema import FEATURE_COLUMNS, LINEAGE_COLUMNS

# What PostgreSQL itself says of every constraint, index, column and comment of the schema.
CATALOGUE = text(
    """
    SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> to_regclass(:version_table)
    UNION ALL
    SELECT oid::regclass::text, relkind::text, pg_get_partkeydef(oid) FROM pg_class
    WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND relname <> :version_table
    UNION ALL
    SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> :version_table
    UNION ALL
    SELECT attrelid::regclass::text, attname, concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity,
           pg_get_expr(adbin, adrelid), col_description(attrelid, attnum), obj_description(attrelid, 'pg_class'))
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid
         AND adnum = attnum
    WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND attnum > 0 AND relname <> :version_table
    """
)


@pytest.fixture
def empty_database(database: Database) -> Database:
    with database.begin() as connection:
        command.downgrade(migration_config(connection), "base")
    return database


def catalogue(database: Database) -> list[tuple[Any, ...]]:
    with database.begin() as connection:
        return sorted(connection.execute(CATALOGUE, {"version_table": SCHEMA_VERSION_TABLE}).tuples().all())


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.begin() as connection:
        options = {"version_table": SCHEMA_VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_migrations_and_tables_agree_down_to_checks_indexes_and_comments(database: Database) -> None:
    migrated = catalogue(database)
    with database.begin() as connection:
        command.downgrade(migration_config(connection), "base")
        metadata.create_all(connection)
    assert len(migrated) > 150
    assert catalogue(database) == migrated


def test_every_table_and_column_has_a_comment(database: Database) -> None:
    with database.begin() as connection:
        inspector = inspect(connection)
        for table in metadata.tables:
            assert inspector.get_table_comment(table)["text"]
            assert all(column["comment"] for column in inspector.get_columns(table))


def test_core_tables_carry_features_lineage_and_enough_indexes() -> None:
    tables = metadata.tables
    assert set(tables) >= {
        "transactions",
        "transaction_features",
        "anomaly_scores",
        "alerts",
        "model_metrics",
        "user_profiles",
        "cases",
        "alert_events",
        "fraud_labels",
        "rejected_transactions",
        "pipeline_runs",
    }
    assert set(FEATURE_COLUMNS) <= set(tables["transaction_features"].columns.keys())
    for name in ("anomaly_scores", "alerts"):
        assert set(LINEAGE_COLUMNS) <= set(tables[name].columns.keys())
    assert sum(len(table.indexes) for table in tables.values()) >= 15


def test_downgrade_removes_every_table_and_upgrade_brings_them_back(empty_database: Database) -> None:
    assert catalogue(empty_database) == []
    empty_database.upgrade()
    empty_database.require_current_schema()
    assert catalogue(empty_database)


def test_processes_that_upgrade_at_once_take_turns(empty_database: Database, database_url: str) -> None:
    others = [Database(database_url) for _ in range(3)]
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(other.upgrade) for other in others]:
            done.result()
    for other in others:
        other.dispose()
    empty_database.require_current_schema()


def test_upgrade_of_a_current_schema_keeps_the_rows(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(
            metadata.tables["model_metrics"].insert(),
            {
                "event_day": "2026-01-02",
                "model_version": "1",
                "metric": "recall",
                "computed_as_of": "2026-01-03 00:00Z",
            },
        )
    database.upgrade()
    with database.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM model_metrics")).scalar_one() == 1


def test_schema_behind_names_both_revisions_and_the_remedy(empty_database: Database) -> None:
    with pytest.raises(DatabaseError, match=r"revision none .*revision \d{4} is needed.*`fraud-pipeline migrate`"):
        empty_database.require_current_schema()


def test_query_without_schema_says_to_migrate(empty_database: Database) -> None:
    with (
        pytest.raises(DatabaseError, match=r"\"alerts\" does not exist.*`fraud-pipeline migrate`"),
        empty_database.begin() as connection,
    ):
        connection.execute(metadata.tables["alerts"].select())


def test_schema_of_a_newer_program_is_neither_used_nor_upgraded(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text(f"UPDATE {SCHEMA_VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608 - constant
    for use in (database.require_current_schema, database.upgrade):
        with pytest.raises(DatabaseError, match=r"revision 9999, which this version .* upgrade the program"):
            use()


def test_own_version_table_leaves_alembic_version_to_other_programs(database: Database) -> None:
    with database.begin() as connection:
        names = inspect(connection).get_table_names()
    assert SCHEMA_VERSION_TABLE in names
    assert "alembic_version" not in names


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:hunter2@127.0.0.1:1/fraud",
        "postgresql://me@/fraud?host=/nowhere&port=1&password=hunter2",
        "postgres://me:hunter2@localhost:1/fraud",
    ],
)
def test_unreachable_server_is_named_without_the_password(url: str) -> None:
    with pytest.raises(DatabaseError, match=r":1/fraud cannot be reached .*FRAUD_PIPELINE_DATABASE_URL") as failure:
        Database(url).require_current_schema()
    assert "hunter2" not in str(failure.value)
    assert "hunter2" not in repr(Database(url))


def test_missing_database_is_named(database_url: str) -> None:
    gone = make_url(database_url).set(database="gone").render_as_string(hide_password=False)
    with pytest.raises(DatabaseError, match=r"5432/gone cannot be reached \(.*database \"gone\" does not exist\)"):
        Database(gone).upgrade()


@pytest.mark.parametrize("url", ["not a url", "sqlite:///hunter2.db", "mysql://me:hunter2@localhost/fraud"])
def test_url_of_something_else_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"postgresql\+psycopg://user:password@host:5432/database") as failure:
        Database(url)
    assert "hunter2" not in str(failure.value)


def test_connection_that_the_server_closed_is_replaced_at_the_next_use(database: Database, database_url: str) -> None:
    with database.begin() as connection:
        process = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other = Database(database_url)
    with other.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:process, 1000)"), {"process": process})
    other.dispose()
    with database.begin() as connection:
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != process


def test_connection_that_breaks_inside_a_transaction_is_a_database_error(database: Database) -> None:
    with pytest.raises(DatabaseError, match="cannot be reached"), database.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def test_server_that_fails_at_its_work_gives_its_reason(database_url: str) -> None:
    limited = Database(f"{database_url}&options=-c%20statement_timeout%3D10")
    reason = "could not do its work: canceling statement due to statement timeout"
    with pytest.raises(DatabaseError, match=reason), limited.begin() as connection:
        connection.execute(text("SELECT pg_sleep(5)"))
    limited.dispose()


def test_faulty_statement_stays_a_fault_of_the_program(database: Database) -> None:
    with pytest.raises(ProgrammingError, match="syntax error"), database.begin() as connection:
        connection.execute(text("SELEC 1"))


EVENT = {"transaction_id": "t1", "user_id": "u1", "event_time": "2026-01-02 10:00Z", "event_day": "2026-01-02"}
VERDICT = {"anomaly_score": 0.5, "score_percentile": 0.5, "confidence": 0.5, "risk_level": "LOW", "priority": 5}
LINEAGE = dict.fromkeys(LINEAGE_COLUMNS, "1")
DETECTORS = {
    "isolation_forest_score": 0.4,
    "local_outlier_factor_score": 1.2,
    "ensemble_score": 0.3,
    "feedback_classifier_score": 0.1,
    "is_alert": False,
}
SCORE = {**EVENT, **DETECTORS, **VERDICT, **LINEAGE}
ALERT = {**EVENT, **VERDICT, **LINEAGE, "merchant_id": "m1", "amount": 12.34, "reasons": [], "reason_text": ""}
DECISION = {"transaction_id": "t1", "outcome": "false_positive", "decided_by": "ada", "origin": "bulk"}
PROFILE = {
    "user_id": "u1",
    "as_of_day": "2026-01-02",
    "n": 2,
    "mean_amount": 1.5,
    "std_amount": 0.5,
    "first_event_time": "2026-01-01 10:00Z",
    "last_event_time": "2026-01-02 10:00Z",
}
REFUSED: dict[str, list[tuple[dict[str, object], str]]] = {
    "anomaly_scores": [
        ({"anomaly_score": 1.01}, "ck_anomaly_scores_anomaly_score"),
        ({"anomaly_score": float("nan")}, "ck_anomaly_scores_anomaly_score"),
        ({"score_percentile": -0.01}, "ck_anomaly_scores_score_percentile"),
        ({"confidence": 2}, "ck_anomaly_scores_confidence"),
        ({"risk_level": "SEVERE"}, "ck_anomaly_scores_risk_level"),
        ({"priority": 0}, "ck_anomaly_scores_priority"),
        ({"priority": 6}, "ck_anomaly_scores_priority"),
        ({"run_id": None}, 'null value in column "run_id"'),
    ],
    "alerts": [
        ({"amount": 1e17}, "numeric field overflow"),
        ({"anomaly_score": -0.5}, "ck_alerts_anomaly_score"),
        ({"status": "done"}, "ck_alerts_status"),
        ({"outcome": "confirmed_fraud"}, "ck_alerts_outcome_needs_closed"),
        ({"status": "closed", "outcome": "confirmed_fraud"}, "an alert starts open, not closed"),
        ({"reasons": {"a": 1}}, "ck_alerts_reasons"),
        ({"version": 0}, "ck_alerts_version"),
        ({"selection": "whim"}, "ck_alerts_selection"),
    ],
    "review_decisions": [
        ({"outcome": "nonsense"}, "ck_review_decisions_outcome"),
        ({"decided_by": ""}, "ck_review_decisions_decided_by"),
        ({"origin": "dream", "alert_id": 1}, "ck_review_decisions_origin"),
        ({"origin": "alert"}, "ck_review_decisions_alert_id"),
        ({"alert_id": 1}, "ck_review_decisions_alert_id"),
    ],
    "user_profiles": [
        ({"n": 0}, "ck_user_profiles_n"),
        ({"std_amount": -1}, "ck_user_profiles_std_amount"),
        ({"first_event_time": "2026-01-03 10:00Z"}, "ck_user_profiles_event_times"),
    ],
}


@pytest.mark.parametrize(
    ("table", "row"),
    [("anomaly_scores", SCORE), ("alerts", ALERT), ("review_decisions", DECISION), ("user_profiles", PROFILE)],
    ids=list(REFUSED),
)
def test_tables_refuse_values_that_mean_nothing(database: Database, table: str, row: dict[str, object]) -> None:
    with database.begin() as connection:
        create_partitions(connection, date(2026, 1, 2), date(2026, 1, 2))
    for change, reason in REFUSED[table]:
        with (
            pytest.raises(InvalidDataError, match=f"refused a row.*{reason}"),
            database.begin(actor="ada") as connection,
        ):
            connection.execute(metadata.tables[table].insert(), row | change)
    with database.begin(actor="ada") as connection:
        connection.execute(metadata.tables[table].insert(), row)
