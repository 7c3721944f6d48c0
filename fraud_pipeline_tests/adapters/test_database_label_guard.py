"""Labels of analysts come from decisions and from nowhere else, tried as each role."""

from collections.abc import Iterator
from datetime import date

import psycopg
import pytest
from sqlalchemy import delete, insert, select, text, update

from fraud_pipeline.adapters.database.alert_repository import insert_new
from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.label_repository import replace_day_labels
from fraud_pipeline.adapters.database.partitions import create_partitions
from fraud_pipeline.adapters.database.review_repository import close_alert, record_decisions
from fraud_pipeline.adapters.database.tables import fraud_labels, transactions
from fraud_pipeline.adapters.database.workflow_repository import AlertChange, change_alert
from fraud_pipeline.core.errors import DatabaseError
from fraud_pipeline_tests.adapters.test_database_alerts import new_alerts
from fraud_pipeline_tests.adapters.test_database_days import day_of_transactions
from fraud_pipeline_tests.adapters.test_database_labels import DAY, labels
from fraud_pipeline_tests.conftest import libpq_url

REFUSED = r"denies .* may not change labels of analysts: they follow from review_decisions"
ANALYST = {"label_source": "analyst", "run_id": None}
WRITES = {
    "a new one": insert(fraud_labels).values(
        labels("new").iloc[0].to_dict() | ANALYST | {"known_day": DAY, "is_fraud": False}
    ),
    "another verdict": update(fraud_labels).where(fraud_labels.c.label_source == "analyst").values(is_fraud=True),
    "another day": update(fraud_labels)
    .where(fraud_labels.c.label_source == "analyst")
    .values(known_day=date(2026, 4, 1)),
    "one that is taken over": update(fraud_labels)
    .where(fraud_labels.c.label_source == "analyst")
    .values(label_source="chargeback_file", run_id="run"),
    "one of a file that is passed off": update(fraud_labels)
    .where(fraud_labels.c.label_source == "chargeback_file")
    .values(ANALYST),
    "none any more": delete(fraud_labels).where(fraud_labels.c.label_source == "analyst"),
    "none at all": delete(fraud_labels),
}


@pytest.fixture
def pipeline(database_url: str) -> Iterator[Database]:
    """Give the database with the rights of the pipeline."""
    database = Database(database_url, "fraud_pipeline")
    yield database
    database.dispose()


@pytest.fixture
def people(database_url: str) -> Iterator[Database]:
    """Give the database with the rights of those who work on alerts."""
    database = Database(database_url, "fraud_api")
    yield database
    database.dispose()


@pytest.fixture
def decided(pipeline: Database, people: Database) -> Database:
    """Give the pipeline's database with labels of a file and of an analyst, on a transaction without an alert."""
    replace_day(pipeline, transactions, DAY, day_of_transactions(3, DAY), run_id="r", asset="a")
    at = labels("t").iloc[0]["label_known_at"]
    assert record_decisions(people, ["t000001"], "false_positive", "ada", at=at) == 1
    replace_day_labels(pipeline, DAY, labels("t000002"), run_id="first")
    with pipeline.begin() as connection:
        create_partitions(connection, DAY, date(2026, 4, 1))
    return pipeline


def stored(database: Database) -> list[tuple[object, ...]]:
    columns = (fraud_labels.c[name] for name in ("transaction_id", "label_source", "is_fraud", "run_id"))
    with database.begin() as connection:
        return sorted(map(tuple, connection.execute(select(*columns))), key=str)


FIRST = [("t000001", "analyst", False, None), ("t000002", "chargeback_file", True, "first")]


@pytest.mark.parametrize("write", WRITES)
def test_the_pipeline_writes_no_label_of_an_analyst(decided: Database, write: str) -> None:
    with pytest.raises(DatabaseError, match=REFUSED), decided.begin() as connection:
        connection.execute(WRITES[write])
    assert stored(decided) == FIRST


def test_the_pipeline_replaces_its_own_labels_beside_those_of_analysts(decided: Database) -> None:
    replace_day_labels(decided, DAY, labels("t000000", "t000002"), run_id="second")
    replace_day_labels(decided, DAY, labels("t000000"), run_id="third")
    assert stored(decided) == [("t000000", "chargeback_file", True, "third"), FIRST[0]]


def test_decisions_of_people_become_labels_by_whichever_way(pipeline: Database, people: Database) -> None:
    assert insert_new(pipeline, new_alerts("t1", "t2", day=DAY), sla_hours=(4, 8, 24, 72, 168)) == 2
    taken = change_alert(people, 1, AlertChange(status="investigating"), actor="ada", expected_version=1)
    change = AlertChange(status="closed", outcome="confirmed_fraud")
    change_alert(people, 1, change, actor="ada", expected_version=taken["version"])
    close_alert(people, 2, "false_positive", "ada")
    expected = [("t1", "analyst", True, None), ("t2", "analyst", False, None)]
    assert stored(pipeline) == expected
    with pytest.raises(DatabaseError, match="denies fraud_api the access"), people.begin() as connection:
        connection.execute(delete(fraud_labels))
    assert stored(pipeline) == expected


def test_a_grant_on_the_table_opens_no_label_of_an_analyst(decided: Database, database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("GRANT SELECT, INSERT, UPDATE, DELETE ON fraud_labels TO fraud_api"))
    with database.begin() as connection:
        connection.execute(text("SET LOCAL ROLE fraud_api"))
        with pytest.raises(Exception, match="fraud_api may not change labels of analysts"):
            connection.execute(WRITES["none any more"])
    assert stored(decided) == FIRST


def test_months_that_are_attached_again_keep_the_rule(decided: Database, database_url: str) -> None:
    with psycopg.connect(libpq_url(database_url), autocommit=True) as session:
        session.execute("SELECT detach_partitions('2026-06-01'), create_partitions('2026-03-01', '2026-04-01')")
    with pytest.raises(DatabaseError, match=REFUSED), decided.begin() as connection:
        connection.execute(WRITES["none any more"])
    assert stored(decided) == FIRST
