"""Two sources may deliver files of the same name; the pipeline cannot touch what analysts said of transactions.

The source becomes part of the key of ``rejected_transactions``, in detached months as well, so that they can be
attached again. On the way back, of rows of several sources with the same file name and row number that of the first
source by name stays: the earlier key has room for one, and the lake keeps them all.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

OLD_KEY = ("event_day", "source_file", "row_number")
NEW_KEY = ("event_day", "source_name", "source_file", "row_number")

# The table itself, whose partitions follow it, and its detached months, unless they were given to somebody else.
KEYS = """
SELECT relname, conname FROM pg_class JOIN pg_constraint ON conrelid = pg_class.oid AND contype = 'p'
WHERE relnamespace = 'public'::regnamespace AND NOT relispartition AND pg_has_role(relowner, 'USAGE')
    AND relname ~ '^rejected_transactions(_y[0-9]{4}m[0-9]{2})?$'
ORDER BY relname
"""

# The trigger that writes labels of analysts has the rights of the owner.
GUARD = """
CREATE FUNCTION fraud_labels_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RAISE EXCEPTION '% may not change labels of analysts: they follow from review_decisions', current_user
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$
"""
# AFTER, since COPY writes one row at a time where there are triggers BEFORE. Other labels cost no call.
GUARD_TRIGGERS = (
    """
CREATE TRIGGER fraud_labels_guard_insert AFTER INSERT ON fraud_labels
FOR EACH ROW WHEN (NEW.label_source = 'analyst') EXECUTE FUNCTION fraud_labels_guard()
""",
    """
CREATE TRIGGER fraud_labels_guard_update AFTER UPDATE ON fraud_labels
FOR EACH ROW WHEN ('analyst' IN (OLD.label_source, NEW.label_source)) EXECUTE FUNCTION fraud_labels_guard()
""",
    """
CREATE TRIGGER fraud_labels_guard_delete AFTER DELETE ON fraud_labels
FOR EACH ROW WHEN (OLD.label_source = 'analyst') EXECUTE FUNCTION fraud_labels_guard()
""",
)
# The triggers go with their function.
DROP_GUARD = "DROP FUNCTION fraud_labels_guard() CASCADE"


def upgrade() -> None:
    for table, key in _keys():
        _set_key(table, key, NEW_KEY)
    for statement in (GUARD, *GUARD_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    op.execute(DROP_GUARD)
    for table, key in _keys():
        _keep_first_source(table)
        _set_key(table, key, OLD_KEY)


def _keys() -> Sequence[sa.Row[tuple[str, str]]]:
    return op.get_bind().exec_driver_sql(KEYS).all()


def _set_key(table: str, key: str, columns: Sequence[str]) -> None:
    op.drop_constraint(op.f(key), table)
    op.create_primary_key(op.f(key), table, list(columns))


def _keep_first_source(name: str) -> None:
    table = sa.table(name, *(sa.column(each) for each in NEW_KEY))
    other = table.alias("other")
    same = (table.c[each] == other.c[each] for each in OLD_KEY)
    op.execute(sa.delete(table).where(sa.exists().where(*same, other.c.source_name < table.c.source_name)))
