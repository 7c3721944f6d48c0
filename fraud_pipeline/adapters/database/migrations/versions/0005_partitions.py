"""Monthly partitions of the large tables; labels, rejected rows and runs as tables.

The rows move over, both ways. On the way back a transaction that two days hold keeps its newest day, amounts lose
their third and fourth decimal, and labels, rejected rows and runs are dropped, which the lake and Dagster keep as
well. Detached months stay as the plain tables that they are.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from psycopg import sql
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEXES: dict[str, list[list[Any]]] = {
    "transactions": [["transaction_id"], ["user_id", "event_time"], ["merchant_id", "event_time"]],
    "transaction_features": [["user_id", "event_time"]],
    "anomaly_scores": [
        ["event_day", sa.text("anomaly_score DESC")],
        ["user_id", "event_time"],
        ["model_version", "event_day"],
    ],
}
# The primary key of a partitioned table begins with the day, so it serves as index of the day as well.
EARLIER_INDEXES: dict[str, list[list[Any]]] = INDEXES | {
    "transactions": [["event_day"], ["user_id", "event_time"], ["merchant_id", "event_time"]],
    "transaction_features": [["event_day"], ["user_id", "event_time"]],
}
COMMENTS = {
    "transactions": "Valid transactions, one row each",
    "transaction_features": (
        "Features of each transaction, known at the moment of the event; NULL where nothing was known"
    ),
    "anomaly_scores": "Scores of every transaction and what they were computed from",
}
TABLES_WITH_AMOUNT = ("transactions", "alerts")

MISSING_PARTITIONS = """
CREATE FUNCTION missing_partitions(first_day date, last_day date) RETURNS TABLE (parent text, month date, name text)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT parent, month::date, parent || to_char(month, '"_y"YYYY"m"MM')
    FROM unnest(ARRAY[
        'transactions', 'transaction_features', 'anomaly_scores', 'fraud_labels', 'rejected_transactions'
    ]) AS parent, generate_series(date_trunc('month', first_day::timestamp), last_day, '1 month') AS month
    WHERE NOT EXISTS (
        SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = to_regclass(parent) AND relname = parent || to_char(month, '"_y"YYYY"m"MM')
    )
$$
"""
# A table is made first and attached then, which lets others read and write the parent meanwhile.
CREATE_PARTITIONS = """
CREATE FUNCTION create_partitions(first_day date, last_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    missing record;
    made integer := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM missing_partitions(first_day, last_day)) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('fraud_pipeline partitions'));
    FOR missing IN SELECT * FROM missing_partitions(first_day, last_day) LOOP
        IF to_regclass(missing.name) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I (LIKE %I INCLUDING COMMENTS INCLUDING CONSTRAINTS)', missing.name, missing.parent
            );
        END IF;
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            missing.parent, missing.name, missing.month, (missing.month + interval '1 month')::date
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$
"""
# Detaching needs the parent for itself for a moment. Where a long query holds it, everybody else would queue behind
# the wait, so it gives up soon, and the next night tries again.
DETACH_PARTITIONS = """
CREATE FUNCTION detach_partitions(before date) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    old record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('fraud_pipeline partitions'));
    FOR old IN
        SELECT parent.relname AS parent, child.relname AS name
        FROM pg_inherits
        JOIN pg_class AS parent ON parent.oid = inhparent
        JOIN pg_class AS child ON child.oid = inhrelid
        WHERE parent.relnamespace = 'public'::regnamespace AND parent.relkind = 'p'
        AND child.relname ~ ('^' || parent.relname || '_y[0-9]{4}m[0-9]{2}$')
        AND to_date(right(child.relname, 7), 'YYYY"m"MM') + interval '1 month' <= before
        ORDER BY child.relname
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', old.parent, old.name);
            RETURN NEXT old.name;
        EXCEPTION WHEN lock_not_available THEN
            RAISE WARNING '% is in use and stays attached', old.name;
        END;
    END LOOP;
END
$$
"""
FUNCTION_COMMENTS = (
    "COMMENT ON FUNCTION missing_partitions(date, date) IS"
    " 'Months of the partitioned tables that are not there, from one day to another'",
    "COMMENT ON FUNCTION create_partitions(date, date) IS"
    " 'Makes the months of all partitioned tables from one day to another; attaches detached ones again'",
    "COMMENT ON FUNCTION detach_partitions(date) IS"
    " 'Detaches the months that end before a day, as plain tables; returns their names'",
)
CLOSE_FUNCTIONS = (
    "REVOKE ALL ON FUNCTION missing_partitions(date, date), create_partitions(date, date), detach_partitions(date)"
    " FROM PUBLIC"
)
DROP_FUNCTIONS = "DROP FUNCTION detach_partitions(date), create_partitions(date, date), missing_partitions(date, date)"


def upgrade() -> None:
    _create_labels()
    _create_rejected()
    _create_runs()
    for table in INDEXES:
        _set_aside(table, EARLIER_INDEXES[table])
        _execute(
            "CREATE TABLE {table} (LIKE {old} INCLUDING COMMENTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (event_day)",
            table,
        )
        _finish(table, ["event_day", "transaction_id"], INDEXES[table])
    for table in TABLES_WITH_AMOUNT:
        _set_decimals(table, 2, 4)
    for statement in (
        MISSING_PARTITIONS,
        CREATE_PARTITIONS,
        DETACH_PARTITIONS,
        *FUNCTION_COMMENTS,
        CLOSE_FUNCTIONS,
    ):
        op.execute(statement)
    for table in INDEXES:
        _execute(
            "SELECT create_partitions(month, month)"
            " FROM (SELECT DISTINCT date_trunc('month', event_day)::date AS month FROM {old}) AS months",
            table,
        )
        _execute("INSERT INTO {table} SELECT * FROM {old} ORDER BY event_day, transaction_id", table)
        op.drop_table(f"{table}_old")


def downgrade() -> None:
    for table in TABLES_WITH_AMOUNT:
        _set_decimals(table, 4, 2)
    for table in INDEXES:
        _set_aside(table, INDEXES[table])
        _execute("CREATE TABLE {table} (LIKE {old} INCLUDING COMMENTS INCLUDING CONSTRAINTS)", table)
        _execute(
            "INSERT INTO {table} SELECT DISTINCT ON (transaction_id) * FROM {old}"
            " ORDER BY transaction_id, event_day DESC",
            table,
        )
        _finish(table, ["transaction_id"], EARLIER_INDEXES[table])
        op.drop_table(f"{table}_old")
    op.execute(DROP_FUNCTIONS)
    for table in ("pipeline_runs", "rejected_transactions", "fraud_labels"):
        op.drop_table(table)


def _execute(statement: str, table: str) -> None:
    names = {"table": sql.Identifier(table), "old": sql.Identifier(f"{table}_old")}
    op.execute(sql.SQL(statement).format(**names).as_string())


def _set_aside(table: str, indexes: list[list[Any]]) -> None:
    """Rename a table, and drop what else would hold the names that the new one needs."""
    op.rename_table(table, f"{table}_old")
    op.drop_constraint(f"pk_{table}", f"{table}_old")
    for columns in indexes:
        op.drop_index(_index_name(table, columns), f"{table}_old")


def _finish(table: str, key: list[str], indexes: list[list[Any]]) -> None:
    op.create_table_comment(table, COMMENTS[table])
    op.create_primary_key(op.f(f"pk_{table}"), table, key)
    for columns in indexes:
        op.create_index(_index_name(table, columns), table, columns)


def _index_name(table: str, columns: list[Any]) -> str:
    return "_".join(["ix", table, *(str(column).removesuffix(" DESC") for column in columns)])


def _set_decimals(table: str, old: int, new: int) -> None:
    op.alter_column(
        table,
        "amount",
        existing_type=sa.Numeric(18, old),
        type_=sa.Numeric(18, new),
        existing_nullable=False,
        existing_comment="Amount in the reporting currency",
    )


def _create_labels() -> None:
    op.create_table(
        "fraud_labels",
        sa.Column("known_day", sa.Date(), nullable=False, comment="Partition day on which the label became known"),
        sa.Column("transaction_id", sa.Text(), nullable=False, comment="Identity of the transaction at its source"),
        sa.Column("user_id", sa.Text(), nullable=False, comment="Identity of the card holder"),
        sa.Column("merchant_id", sa.Text(), nullable=False, comment="Identity of the merchant"),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=False, comment="When the transaction happened"),
        sa.Column(
            "event_day", sa.Date(), nullable=False, comment="Partition day of the transaction, to find it in its table"
        ),
        sa.Column("is_fraud", sa.Boolean(), nullable=False, comment="Whether the transaction was a fraud"),
        sa.Column(
            "label_source",
            sa.Text(),
            nullable=False,
            comment="chargeback_file, analyst, or unreported: genuine since nobody reported it in time",
        ),
        sa.Column("label_known_at", sa.DateTime(timezone=True), nullable=False, comment="When the label became known"),
        sa.Column("run_id", sa.Text(), comment="Run that wrote the row, NULL for the label of an analyst"),
        sa.CheckConstraint(
            "label_source IN ('chargeback_file', 'analyst', 'unreported')", name=op.f("ck_fraud_labels_label_source")
        ),
        sa.CheckConstraint("(label_source = 'analyst') = (run_id IS NULL)", name=op.f("ck_fraud_labels_run_id")),
        sa.CheckConstraint("NOT (is_fraud AND label_source = 'unreported')", name=op.f("ck_fraud_labels_unreported")),
        sa.PrimaryKeyConstraint(
            "known_day", "transaction_id", "label_source", "label_known_at", name=op.f("pk_fraud_labels")
        ),
        comment="What became known of transactions, and when; an earlier label stays when a later one says otherwise",
        postgresql_partition_by="RANGE (known_day)",
    )
    op.create_index("ix_fraud_labels_user_id_label_known_at", "fraud_labels", ["user_id", "label_known_at"])
    op.create_index("ix_fraud_labels_merchant_id_label_known_at", "fraud_labels", ["merchant_id", "label_known_at"])
    op.create_index("ix_fraud_labels_transaction_id", "fraud_labels", ["transaction_id"])


def _create_rejected() -> None:
    op.create_table(
        "rejected_transactions",
        sa.Column("event_day", sa.Date(), nullable=False, comment="Day of the landing file, in the deployment's zone"),
        sa.Column("source_name", sa.Text(), nullable=False, comment="Source that delivered the row"),
        sa.Column("source_file", sa.Text(), nullable=False, comment="Landing file that held the row"),
        sa.Column("row_number", sa.BigInteger(), nullable=False, comment="Data row of the file, counted from 1"),
        sa.Column("file_sha256", sa.Text(), nullable=False, comment="SHA-256 of the landing file"),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why the row cannot be used"),
        sa.Column("raw", JSONB(), nullable=False, comment="The fields of the row as text, as they were received"),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Run that rejected the row"),
        sa.CheckConstraint("row_number >= 1", name=op.f("ck_rejected_transactions_row_number")),
        sa.CheckConstraint("jsonb_typeof(raw) = 'object'", name=op.f("ck_rejected_transactions_raw")),
        sa.PrimaryKeyConstraint("event_day", "source_file", "row_number", name=op.f("pk_rejected_transactions")),
        comment="Rows that could not be used, each with the reason",
        postgresql_partition_by="RANGE (event_day)",
    )


def _create_runs() -> None:
    op.create_table(
        "pipeline_runs",
        sa.Column(
            "pipeline_run_id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Rises with every write, so the largest tells whether anything is new",
        ),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Run that wrote"),
        sa.Column("asset", sa.Text(), nullable=False, comment="What it wrote"),
        sa.Column("event_day", sa.Date(), nullable=False, comment="Partition day that it wrote"),
        sa.Column("rows", sa.BigInteger(), nullable=False, comment="How many rows the day has of it"),
        sa.Column(
            "written_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was written",
        ),
        sa.CheckConstraint("rows >= 0", name=op.f("ck_pipeline_runs_rows")),
        sa.PrimaryKeyConstraint("pipeline_run_id", name=op.f("pk_pipeline_runs")),
        sa.UniqueConstraint("run_id", "asset", "event_day", name=op.f("uq_pipeline_runs_run_id_asset_event_day")),
        comment="Which run wrote which day of what, in the transaction that wrote it",
    )
    op.create_index("ix_pipeline_runs_asset_event_day", "pipeline_runs", ["asset", "event_day"])
