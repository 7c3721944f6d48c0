"""All configuration, read from the environment in this one module.

Every setting is an environment variable ``FRAUD_PIPELINE_<NAME>``. Without any,
the embedded profile runs: everything below one folder, no server.
"""

import json
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.schema import FEATURE_COLUMNS

_PREFIX = "FRAUD_PIPELINE_"
_MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # It sets its loggers up anew when it is imported, whatever level they had.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # Its own retries last minutes; a run that cannot reach MLflow is to say so.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""What MLflow takes from the environment alone."""
_MOST_DAYS = 3650


class Settings(BaseSettings):
    """Configuration of one deployment; the description of each field is its documentation."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Field(Path(".fraud_pipeline"), description="Folder of everything that the embedded profile keeps.")
    landing_root: str | None = Field(
        None, description="Landing zone: a folder or s3://bucket/prefix; default HOME/landing."
    )
    lake_root: str | None = Field(None, description="Lake: a folder or s3://bucket/prefix; default HOME/lake.")
    artefact_root: str | None = Field(
        None, description="Model artefacts: a folder or s3://bucket/prefix; default HOME/artefacts."
    )
    database_url: SecretStr | None = Field(
        None, description="postgresql://… of the alert database; default: the embedded server below HOME."
    )
    mlflow_tracking_uri: SecretStr | None = Field(
        None, description="MLflow: postgresql://…, http://… or sqlite:///…; default sqlite below HOME."
    )

    first_day: date = Field(
        date(2026, 1, 1),
        ge=date(1970, 1, 1),
        lt=date(2200, 1, 1),
        description="First day of the daily partitions.",
    )
    time_zone: str = Field("UTC", description="IANA zone of partition days, hours and schedules.")
    currency: str = Field("EUR", pattern="^[A-Z]{3}$", description="The one reporting currency (ISO 4217).")
    max_amount: float = Field(
        1_000_000, gt=0, allow_inf_nan=False, description="Largest plausible amount; above it a row is rejected."
    )
    max_reject_rate: float = Field(0.05, ge=0, le=1, description="Share of rejected rows above which a day is refused.")

    label_maturity_days: int = Field(
        14,
        ge=1,
        le=_MOST_DAYS,
        description="After how many days a transaction that nobody reported counts as genuine.",
    )
    training_days: int = Field(
        28, ge=1, le=_MOST_DAYS, description="Length of the training window of the weekly training."
    )
    calibration_days: int = Field(14, ge=1, le=_MOST_DAYS, description="Length of its calibration window.")
    detector_features: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            "amount",
            "user_amount_zscore_90d",
            "user_amount_ratio_90d",
            "merchant_fraud_rate_7d",
            "merchant_fraud_rate_30d",
            "user_known_frauds_30d",
        ),
        description="Feature columns that the detectors read (JSON list).",
    )
    isolation_forest_trees: int = Field(200, ge=1, description="Trees of the Isolation Forest.")
    isolation_forest_weight: float = Field(0.6, ge=0, le=1, description="Its weight in the ensemble; LOF has the rest.")
    lof_neighbours: int = Field(100, ge=2, description="Neighbours k of the Local Outlier Factor.")
    lof_reference_rows: int = Field(10_000, ge=100, description="Rows of its reference set.")
    target_recall: float = Field(0.85, gt=0, le=1, description="Share of frauds that the threshold is to alert on.")
    max_false_positive_rate: float = Field(
        0.1, gt=0, le=1, description="Ceiling on the share of genuine transactions alerted on."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of training and bootstrap.")

    nightly_cron: str = Field("0 2 * * *", description="When the day that ended is scored, in TIME_ZONE.")
    training_cron: str = Field("0 4 * * 0", description="When models are trained, in TIME_ZONE.")
    sensor_interval_seconds: int = Field(30, ge=1, description="How often sensors look for files and failed runs.")
    ui_port: int = Field(3000, ge=1, le=65535, description="Port of the Dagster webserver.")

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        try:
            return home.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"{str(home)!r} is in the home folder of an unknown user") from error

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, time_zone: str) -> str:
        try:
            ZoneInfo(time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{time_zone!r} is not an IANA time zone such as Europe/Paris") from error
        return time_zone

    @field_validator("detector_features", mode="before")
    @classmethod
    def _json_list(cls, features: Any) -> Any:  # noqa: ANN401 - text of the environment, or a tuple
        try:
            return json.loads(features) if isinstance(features, str) else features
        except ValueError as error:
            raise ValueError(f'{features!r} is no JSON list such as ["amount", "amount_log1p"]') from error

    @field_validator("detector_features")
    @classmethod
    def _known_features(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in features if name not in FEATURE_COLUMNS]
        if unknown or not features:
            wrong = f"{', '.join(unknown)} is no feature" if unknown else "the list is empty"
            raise ValueError(f"{wrong}; choose from {', '.join(FEATURE_COLUMNS)}")
        if len(set(features)) < len(features):
            raise ValueError("a feature is there twice")
        return features

    @classmethod
    def from_env(cls, **overrides: object) -> Self:
        """Read the environment; ``overrides`` win over it.

        Raises
        ------
        ConfigurationError
            Naming the variable and what is wrong with it.
        """
        for name, value in _MLFLOW_DEFAULTS.items():
            os.environ.setdefault(name, value)
        if "AWS_ENDPOINT_URL" in os.environ:
            # MLflow knows only a name of its own for the endpoint of an S3 server.
            os.environ.setdefault("MLFLOW_S3_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL"])
        try:
            return cls(**overrides)  # type: ignore[arg-type]  # pydantic validates them
        except ValidationError as error:
            first = error.errors()[0]
            problem = first["ctx"]["error"] if first["type"] == "value_error" else first["msg"]
            variable = f"{_PREFIX}{first['loc'][0]}".upper()
            raise ConfigurationError(f"{variable}: {problem}; correct it in the environment.") from error

    @property
    def landing(self) -> str:
        """Where transaction and label files land."""
        return self.landing_root or str(self.home / "landing")

    @property
    def lake(self) -> str:
        """Where each asset keeps one Parquet file a day."""
        return self.lake_root or str(self.home / "lake")

    @property
    def artefacts(self) -> str:
        """Where MLflow keeps model files."""
        return self.artefact_root or str(self.home / "artefacts")

    @property
    def tracking_uri(self) -> str:
        """Where MLflow keeps runs and the registry."""
        if self.mlflow_tracking_uri is not None:
            return self.mlflow_tracking_uri.get_secret_value()
        return f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def postgres_folder(self) -> Path:
        """Data of the embedded PostgreSQL."""
        return self.home / "postgres"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance folder: ``DAGSTER_HOME`` where it is set, else below the home folder."""
        return Path(os.environ.get("DAGSTER_HOME") or self.home / "dagster").absolute()

    @property
    def ensemble_weights(self) -> dict[str, float]:
        """Weight of each detector."""
        forest = self.isolation_forest_weight
        return {"isolation_forest": forest, "local_outlier_factor": 1.0 - forest}


def child_environment(settings: Settings) -> Mapping[str, str]:
    """Environment for a child process that works on the same state from any folder."""
    return dict(os.environ) | {
        f"{_PREFIX}HOME": str(settings.home),
        "DAGSTER_HOME": str(settings.dagster_home),
    }
