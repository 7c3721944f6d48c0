"""What the UI can say of every asset."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.catalogue import column_lineage, column_schema
from fraud_pipeline.orchestration.jobs import PREPARE, SCORE
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.orchestration.conftest import Deployment, day

Deploy = Callable[..., Deployment]

DEFINITIONS = build_definitions(Settings.from_env(database_url="postgresql://nobody@127.0.0.1:1/none"))
GRAPH = DEFINITIONS.resolve_asset_graph()
ASSETS = sorted(key.to_user_string() for key in GRAPH.get_all_asset_keys())
TABULAR = [name for name in ASSETS if GRAPH.get(dg.AssetKey(name)).partitions_def is not None]


@pytest.mark.parametrize("name", ASSETS)
def test_every_asset_has_owner_kind_group_description_and_code_version(name: str) -> None:
    node = GRAPH.get(dg.AssetKey(name))
    assert node.owners
    assert node.kinds
    assert node.group_name not in (None, "default")
    assert node.description
    assert node.code_version


@pytest.mark.parametrize("name", TABULAR)
def test_every_column_of_every_table_is_described(name: str) -> None:
    found = GRAPH.get(dg.AssetKey(name)).metadata["dagster/column_schema"]
    assert found == column_schema(name)
    assert all(column.description and column.type for column in found.columns)
    assert len({column.name for column in found.columns}) == len(found.columns)


@pytest.mark.parametrize("name", TABULAR)
def test_columns_come_from_columns_that_exist_of_assets_that_exist(name: str) -> None:
    lineage = column_lineage(name)
    if lineage is None:
        return
    own = column_schema(name)
    assert own is not None
    assert lineage.deps_by_column.keys() <= {column.name for column in own.columns}
    for deps in lineage.deps_by_column.values():
        for dep in deps:
            upstream = column_schema(dep.asset_key.to_user_string())
            assert upstream is not None
            assert dep.column_name in {column.name for column in upstream.columns}


def test_every_feature_says_what_it_is_made_of() -> None:
    lineage = column_lineage("transaction_features")
    assert lineage is not None
    assert set(FEATURE_COLUMNS) <= lineage.deps_by_column.keys()
    sources = {
        name: {(dep.asset_key.to_user_string(), dep.column_name) for dep in deps}
        for name, deps in lineage.deps_by_column.items()
    }
    assert ("fraud_labels", "label_known_at") in sources["merchant_fraud_rate_7d"]
    assert ("user_daily_activity", "m2") in sources["user_amount_zscore_90d"]
    assert sources["hour_of_day"] == {("validated_transactions", "event_time")}
    assert ("validated_transactions", "merchant_id") in sources["is_new_merchant_30d"]


def test_what_is_no_table_has_no_columns() -> None:
    assert column_schema("champion_model") is None
    assert column_lineage("champion_model") is None


def test_the_rows_of_a_day_have_exactly_the_columns_that_are_described(prepared: Deployment) -> None:
    lake = prepared.lake
    for name in ("raw_transactions", "validated_transactions", "transaction_features", "user_daily_activity"):
        described = column_schema(name)
        assert described is not None
        assert [column.name for column in described.columns] == list(lake.read(name, day(3)).columns)
    described = column_schema("fraud_labels")
    assert described is not None
    assert [column.name for column in described.columns] == list(lake.read("fraud_labels", day(3)).columns)


def records(deployment: Deployment, of: date) -> dict[str, dg.AssetMaterialization]:
    """Newest materialisation of a day, by asset."""
    found = {}
    for name in TABULAR:
        wanted = dg.AssetRecordsFilter(dg.AssetKey(name), asset_partitions=[of.isoformat()])
        for record in deployment.instance.fetch_materializations(wanted, limit=1).records:
            assert record.asset_materialization is not None
            found[name] = record.asset_materialization
    return found


def versions(deployment: Deployment, of: date) -> dict[str, str]:
    """Data version of a day, by asset; all come from content, none from Dagster."""
    tags = {name: found.tags or {} for name, found in records(deployment, of).items()}
    assert all(each["dagster/data_version_is_user_provided"] == "true" for each in tags.values())
    return {name: each["dagster/data_version"] for name, each in tags.items()}


def test_a_night_reports_the_rows_of_every_table_and_where_columns_come_from(prepared: Deployment) -> None:
    prepared.runner.run_range(SCORE, day(29), day(30))
    first, newest = records(prepared, day(29)), records(prepared, day(30))
    assert set(newest) == set(TABULAR)
    rows = {name: found.metadata["dagster/partition_row_count"].value for name, found in newest.items()}
    assert all(isinstance(count, int) and count > 0 for count in rows.values())
    with_lake = [name for name in TABULAR if prepared.lake.days(name)]
    assert {name: rows[name] for name in with_lake} == {
        name: len(prepared.lake.read(name, day(30))) for name in with_lake
    }
    scores = prepared.lake.read("anomaly_scores", day(30))
    assert rows["alerts"] == scores["is_alert"].sum()
    assert rows["user_profiles"] == len(prepared.rows("user_profiles"))
    assert isinstance(newest["anomaly_scores"].metadata["score_histogram"], dg.MarkdownMetadataValue)
    for name in TABULAR:
        assert ("dagster/column_lineage" in newest[name].metadata) is (column_lineage(name) is not None)
        assert "dagster/column_lineage" not in first[name].metadata


def test_a_night_that_is_repeated_keeps_every_data_version(prepared: Deployment) -> None:
    prepared.runner.run_day(SCORE, day(29))
    before = versions(prepared, day(29))
    assert set(before) == set(TABULAR)
    assert len(set(before.values())) == len(TABULAR)
    prepared.runner.run_day(SCORE, day(29))
    assert versions(prepared, day(29)) == before


def test_a_changed_file_gives_its_day_other_data_versions_and_only_what_comes_of_it(deploy: Deploy) -> None:
    deployment = deploy()
    for number in range(2):
        deployment.runner.run_day(PREPARE, day(number))
    before = [versions(deployment, day(number)) for number in range(2)]
    (landed,) = deployment.landing_zone.transaction_files(day(1))
    file = Path(deployment.settings.landing) / landed.key
    file.write_text(file.read_text() + "x1,u1,m1,2026-01-02T10:00:00Z,no number\n")
    for number in range(2):
        deployment.runner.run_day(PREPARE, day(number))
    after = [versions(deployment, day(number)) for number in range(2)]
    assert after[0] == before[0]
    assert {name for name in after[1] if after[1][name] != before[1][name]} == {
        "raw_transactions",
        "validated_transactions",  # its rows name the bytes of their file
        "rejected_transactions",
    }


def test_a_range_has_one_data_version_and_the_digest_of_each_day_is_that_of_the_day_alone(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.runner.run_range(PREPARE, day(0), day(1))
    ranged = [records(deployment, day(number)) for number in range(2)]
    assert versions(deployment, day(0)) == versions(deployment, day(1))
    again = versions(deployment, day(1))
    deployment.runner.run_range(PREPARE, day(0), day(1))
    assert versions(deployment, day(1)) == again
    deployment.runner.run_day(PREPARE, day(1))
    digests = {name: found.metadata["content_sha256"].value for name, found in ranged[1].items()}
    assert versions(deployment, day(1)) == digests
    assert digests["raw_transactions"] != ranged[0]["raw_transactions"].metadata["content_sha256"].value
