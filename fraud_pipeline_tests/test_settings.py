"""Configuration comes from the environment, is checked whole, and keeps secrets to itself."""

from datetime import date
from pathlib import Path

import pytest

from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.schema import FEATURE_COLUMNS
from fraud_pipeline.settings import Settings, child_environment


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin without any setting, in an empty folder."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FRAUD_PIPELINE_{name.upper()}", raising=False)
    for name in ("DAGSTER_HOME", "AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL", "MLFLOW_LOGGING_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def configure(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"FRAUD_PIPELINE_{name.upper()}", value)
    return Settings.from_env()


def test_without_any_setting_everything_is_below_one_folder(tmp_path: Path) -> None:
    settings = Settings.from_env()
    home = tmp_path / ".fraud_pipeline"
    assert settings.home == home
    assert [settings.landing, settings.lake, settings.artefacts] == [
        str(home / name) for name in ("landing", "lake", "artefacts")
    ]
    assert settings.tracking_uri == f"sqlite:///{home}/mlflow.db"
    assert settings.postgres_folder == home / "postgres"
    assert settings.dagster_home == home / "dagster"
    assert settings.database_url is None
    assert not home.exists(), "reading the settings makes nothing"


def test_the_environment_wins_over_defaults_and_an_argument_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = configure(
        monkeypatch,
        home="/srv/fraud",
        landing_root="s3://bucket/landing",
        lake_root="/lake",
        artefact_root="s3://bucket/models",
        mlflow_tracking_uri="http://mlflow:5000",
        first_day="2024-02-29",
        time_zone="Europe/Paris",
        currency="CHF",
        detector_features='["amount", "hour_of_day"]',
        ui_port="8080",
    )
    assert settings.home == Path("/srv/fraud")
    assert (settings.landing, settings.lake, settings.artefacts) == (
        "s3://bucket/landing",
        "/lake",
        "s3://bucket/models",
    )
    assert settings.tracking_uri == "http://mlflow:5000"
    assert settings.first_day == date(2024, 2, 29)
    assert (settings.time_zone, settings.currency, settings.ui_port) == ("Europe/Paris", "CHF", 8080)
    assert settings.detector_features == ("amount", "hour_of_day")
    assert Settings.from_env(ui_port=9090, detector_features=("amount",)).ui_port == 9090


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = configure(monkeypatch, home="", database_url="", time_zone="", detector_features="")
    assert settings.home == tmp_path / ".fraud_pipeline"
    assert settings.database_url is None
    assert settings.time_zone == "UTC"


def test_a_relative_home_stays_the_same_place_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = configure(monkeypatch, home="state")
    monkeypatch.setenv("DAGSTER_HOME", "instance")
    child = child_environment(settings)
    assert child["FRAUD_PIPELINE_HOME"] == str(tmp_path / "state")
    assert child["DAGSTER_HOME"] == str(tmp_path / "instance") == str(settings.dagster_home)


def test_a_home_below_the_home_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/analyst")
    assert configure(monkeypatch, home="~/fraud").home == Path("/home/analyst/fraud")


def test_a_child_inherits_the_rest_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = configure(monkeypatch, database_url="postgresql://host/alerts")
    child = child_environment(settings)
    assert child["FRAUD_PIPELINE_DATABASE_URL"] == "postgresql://host/alerts"
    assert child["PATH"]


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("home", "~nobody_of_that_name/x", "unknown user"),
        ("first_day", "soon", "valid date"),
        ("first_day", "2026-02-30", "valid date"),
        ("first_day", "2026-01-01T12:00", "zero time"),
        ("first_day", "0001-01-01", "greater than or equal to 1970-01-01"),
        ("first_day", "9999-12-31", "less than 2200-01-01"),
        ("time_zone", "Mars/Base", "'Mars/Base' is not an IANA time zone"),
        ("time_zone", "../etc/passwd", "is not an IANA time zone"),
        ("time_zone", "/etc", "is not an IANA time zone"),
        ("time_zone", "Europe", "is not an IANA time zone"),
        ("currency", "euro", "pattern"),
        ("currency", "eur", "pattern"),
        ("max_amount", "0", "greater than 0"),
        ("max_amount", "inf", "finite"),
        ("max_amount", "nan", "finite"),
        ("max_reject_rate", "1.1", "less than or equal to 1"),
        ("max_reject_rate", "-0.1", "greater than or equal to 0"),
        ("label_maturity_days", "0", "greater than or equal to 1"),
        ("label_maturity_days", "1000000000", "less than or equal to 3650"),
        ("training_days", "0", "greater than or equal to 1"),
        ("training_days", "1000000000", "less than or equal to 3650"),
        ("calibration_days", "2.5", "valid integer"),
        ("calibration_days", "1000000000", "less than or equal to 3650"),
        ("detector_features", "amount", "no JSON list"),
        ("detector_features", '"amount"', "valid tuple"),
        ("detector_features", "[1]", "valid string"),
        ("detector_features", "[]", "the list is empty; choose from amount, "),
        ("detector_features", '["amount", "amout"]', "amout is no feature; choose from amount, "),
        ("detector_features", '["amount", "amount"]', "a feature is there twice"),
        ("isolation_forest_trees", "0", "greater than or equal to 1"),
        ("isolation_forest_weight", "1.5", "less than or equal to 1"),
        ("lof_neighbours", "1", "greater than or equal to 2"),
        ("lof_reference_rows", "99", "greater than or equal to 100"),
        ("target_recall", "0", "greater than 0"),
        ("target_recall", "1.01", "less than or equal to 1"),
        ("max_false_positive_rate", "0", "greater than 0"),
        ("seed", "-1", "greater than or equal to 0"),
        ("seed", "4294967296", "less than 4294967296"),
        ("sensor_interval_seconds", "0", "greater than or equal to 1"),
        ("database_connect_timeout_seconds", "1", "greater than or equal to 2"),
        ("api_statement_timeout_seconds", "0", "greater than 0"),
        ("api_lock_timeout_seconds", "inf", "less than or equal to 3600"),
        ("ui_port", "65536", "less than or equal to 65535"),
        ("ui_port", "http", "valid integer"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        configure(monkeypatch, **{variable: value})
    message = str(refused.value)
    assert message.startswith(f"FRAUD_PIPELINE_{variable.upper()}: ")
    assert problem in message
    assert message.endswith("; correct it in the environment.")
    assert "\n" not in message


def test_every_feature_may_be_given_to_the_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    every = "[" + ", ".join(f'"{name}"' for name in FEATURE_COLUMNS) + "]"
    assert configure(monkeypatch, detector_features=every).detector_features == FEATURE_COLUMNS


def test_secrets_are_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = configure(
        monkeypatch,
        database_url="postgresql://analyst:pa55word@host/alerts",
        mlflow_tracking_uri="postgresql://analyst:pa55word@host/mlflow",
    )
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert "pa55word" not in text
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://analyst:pa55word@host/alerts"


def test_settings_do_not_change() -> None:
    settings = Settings.from_env()
    with pytest.raises(ValueError, match="frozen"):
        settings.ui_port = 1


def test_the_weights_of_the_ensemble_add_up_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = configure(monkeypatch, isolation_forest_weight="0.75").ensemble_weights
    assert weights == {"isolation_forest": 0.75, "local_outlier_factor": 0.25}


def test_mlflow_is_kept_quiet_and_finds_the_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_LOGGING_LEVEL", "MLFLOW_S3_ENDPOINT_URL"):
        monkeypatch.setenv(name, "")  # remembered, so that what is set below is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store:9000")
    child = child_environment(Settings.from_env())
    assert child["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert child["MLFLOW_LOGGING_LEVEL"] == "WARNING"
    assert child["MLFLOW_S3_ENDPOINT_URL"] == "http://store:9000"


def test_what_the_user_told_mlflow_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "DEBUG")
    assert child_environment(Settings.from_env())["MLFLOW_LOGGING_LEVEL"] == "DEBUG"
