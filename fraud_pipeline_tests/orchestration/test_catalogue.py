"""What the UI can say of every asset."""

import dagster as dg
import pytest

from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.catalogue import column_lineage, column_schema
from fraud_pipeline.orchestration.jobs import PREPARE
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.orchestration.conftest import Deployment, day
from fraud_pipeline_tests.orchestration.ticks import metadata_of

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


def test_a_run_reports_rows_lineage_and_a_data_version_that_a_repetition_keeps(deploy: "object") -> None:
    deployment: Deployment = deploy()  # type: ignore[operator]  # the fixture of conftest
    versions = []
    for _ in range(2):
        deployment.runner.run_range(PREPARE, day(0), day(1))
        wanted = dg.AssetRecordsFilter(dg.AssetKey("transaction_features"), asset_partitions=[day(1).isoformat()])
        (record,) = deployment.instance.fetch_materializations(wanted, limit=1).records
        assert record.asset_materialization is not None
        versions.append((record.asset_materialization.tags or {})["dagster/data_version"])
    assert versions[0] == versions[1]
    newest = metadata_of(deployment, "transaction_features", day(1).isoformat())
    assert newest["dagster/partition_row_count"] == len(deployment.lake.read("transaction_features", day(1)))
    assert isinstance(newest["dagster/column_lineage"], dg.TableColumnLineage)
    assert "dagster/column_lineage" not in metadata_of(deployment, "transaction_features", day(0).isoformat())
