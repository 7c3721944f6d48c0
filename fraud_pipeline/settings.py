"""All configuration, read from the environment in this one module.

Every setting is an environment variable ``FRAUD_PIPELINE_<NAME>``. Without any,
the embedded profile runs: everything below one folder, no server.
"""

import json
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fraud_pipeline.adapters.notifier import secret_parts
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
    database_connect_timeout_seconds: int = Field(
        10, ge=2, le=600, description="Seconds to wait for a connection to PostgreSQL."
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
            "merchant_unexplained_frauds_7d",
            "user_known_frauds_7d",
        ),
        description="Feature columns that the Isolation Forest and the Local Outlier Factor read (JSON list).",
    )
    feedback_features: Annotated[tuple[str, ...], NoDecode] = Field(
        FEATURE_COLUMNS, description="Feature columns that the feedback classifier reads (JSON list); default all."
    )
    scoring_mode: Literal["auto", "ensemble", "feedback", "stacked"] = Field(
        "auto",
        description="What the anomaly score is made of; auto: what wins on the calibration window.",
    )
    isolation_forest_trees: int = Field(200, ge=1, description="Trees of the Isolation Forest.")
    isolation_forest_weight: float = Field(0.6, ge=0, le=1, description="Its weight in the ensemble; LOF has the rest.")
    score_normalisation: Literal["rank", "tail"] = Field(
        "rank", description="Before blending: rank among held-out scores, or -log10 of the tail probability."
    )
    lof_neighbours: int = Field(50, ge=2, description="Neighbours k of the Local Outlier Factor.")
    lof_reference_rows: int = Field(10_000, ge=100, description="Rows of its reference set.")
    lof_scaling: Literal["log", "standard"] = Field(
        "log", description="Whether its columns are standardised as signed logarithms or as they are."
    )
    lof_genuine_reference: bool = Field(True, description="Whether only known-genuine rows enter it.")
    feedback_rounds: int = Field(300, ge=1, description="Boosting rounds of the feedback classifier.")
    target_recall: float = Field(0.85, gt=0, le=1, description="Share of frauds that the threshold is to alert on.")
    max_false_positive_rate: float = Field(
        0.1, gt=0, le=1, description="Ceiling on the share of genuine transactions alerted on."
    )
    max_alerts_per_day: float | None = Field(None, gt=0, description="Alert budget a day; unset: no limit.")
    threshold_smoothing: float = Field(
        0.5, gt=0, le=1, description="Weight of a new threshold's alert rate against the one in use; 1: no smoothing."
    )
    max_alert_change: float = Field(
        2.0, ge=1, description="Factor by which the alert rate may change from one threshold to the next."
    )
    label_free_method: Literal["alert_budget", "conformal_fdr"] = Field(
        "alert_budget", description="How the threshold is found while no fraud is known."
    )
    label_free_alerts_per_day: float = Field(100, gt=0, description="Alert budget a day while no fraud is known.")
    false_discovery_rate: float = Field(
        0.1, gt=0, lt=1, description="Share of false alerts that conformal_fdr aims at."
    )
    promotion_tolerance: float = Field(
        0.02, ge=0, le=1, description="How much worse a challenger may be on unlucky days, or find at the same alerts."
    )
    drift_days: int = Field(7, ge=1, le=365, description="Trailing days that drift is measured on; whole weeks.")
    drift_moderate: float = Field(0.1, gt=0, description="Population stability index from which drift is moderate.")
    drift_major: float = Field(0.25, gt=0, description="Population stability index from which drift is major.")
    baseline_days: int = Field(
        90, ge=1, le=365, description="Days before a transaction's own that its user's baseline covers."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of training and bootstrap.")

    random_reviews_per_day: int = Field(
        5, ge=0, le=1000, description="Transactions below the threshold drawn for review each night, to measure recall."
    )

    max_volume_change: float = Field(
        2.0, ge=1, description="Factor by which a day's rows may differ from those of the same weekday before."
    )
    max_duplicate_rate: float = Field(0.01, ge=0, le=1, description="Share of rows whose identity may be taken.")
    max_late_rate: float = Field(0.01, ge=0, le=1, description="Share of rows that may be of an earlier day.")
    max_null_rate: float = Field(0.01, ge=0, le=1, description="Share of empty cells that a field may have.")
    max_drifted_share: float = Field(
        0.33, gt=0, le=1, description="Share of features with major drift from which their drift is a warning."
    )
    max_model_age_days: int = Field(
        30, ge=1, description="Days after its newest labels from which a model is too old to score."
    )
    min_label_coverage: float = Field(
        0.99, ge=0, le=1, description="Share of matured transactions that must have a label."
    )

    nightly_cron: str = Field("0 2 * * *", description="When the day that ended is scored, in TIME_ZONE.")
    training_cron: str = Field("0 4 * * 0", description="When models are trained, in TIME_ZONE.")
    sensor_interval_seconds: int = Field(30, ge=1, description="How often sensors look for files and failed runs.")
    scored_by_hour: int = Field(
        6, ge=0, le=23, description="Hour, in TIME_ZONE, by which the day that ended has to be scored."
    )
    notify_webhook_url: SecretStr | None = Field(
        None, description="http(s)://… that gets a JSON POST when people are needed; unset: none."
    )
    smtp_url: SecretStr | None = Field(
        None, description="smtp://user:password@host:587 (STARTTLS) or smtps://… for e-mail; unset: none."
    )
    notify_email_from: str = Field("fraud-pipeline@localhost", description="Sender of that e-mail.")
    notify_email_to: str = Field("", description="Its recipients, separated by commas.")
    log_format: Literal["text", "json"] = Field("text", description="Logs as text, or as one JSON object a line.")
    retention_days: int = Field(
        730, ge=120, le=36_500, description="After how many days the months of the large tables are detached."
    )
    sla_hours: Annotated[tuple[float, ...], NoDecode] = Field(
        (4, 8, 24, 72, 168), description="Hours within which an alert of priority 1 to 5 is due (JSON list)."
    )
    tokenisation_key: SecretStr | None = Field(
        None, description="Secret key of the tokens that stand for card numbers; needed where a source tokenises."
    )
    api_host: str = Field("127.0.0.1", description="Address that the REST API listens on.")
    api_port: int = Field(8000, ge=1, le=65535, description="Port of the REST API.")
    api_workers: int = Field(1, ge=1, le=64, description="Processes that serve the REST API.")
    api_rate_limit: str = Field("120000/minute", description="Requests that a key may make, such as 600/minute.")
    api_max_body_bytes: int = Field(8_000_000, ge=1000, description="Largest body of a request.")
    api_max_batch: int = Field(10_000, ge=1, description="Most transactions in one batch request.")
    api_max_age_days: int = Field(
        2, ge=1, description="Age of the last scored day from which the REST API calls itself unfit."
    )
    api_statement_timeout_seconds: float = Field(
        10, gt=0, le=3600, description="Seconds that PostgreSQL has for a statement of the REST API."
    )
    api_lock_timeout_seconds: float = Field(
        5, gt=0, le=3600, description="Seconds of these that the statement may wait for a lock."
    )
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

    @field_validator("detector_features", "feedback_features", "sla_hours", mode="before")
    @classmethod
    def _json_list(cls, features: Any) -> Any:  # noqa: ANN401 - text of the environment, or a tuple
        try:
            return json.loads(features) if isinstance(features, str) else features
        except ValueError as error:
            raise ValueError(f'{features!r} is no JSON list such as ["amount", "amount_log1p"] or [4, 8]') from error

    @field_validator("sla_hours")
    @classmethod
    def _five_rising(cls, hours: tuple[float, ...]) -> tuple[float, ...]:
        if len(hours) != 5 or min(hours) <= 0 or list(hours) != sorted(hours):
            raise ValueError(f"{list(hours)} are not five rising numbers of hours, one for each priority")
        return hours

    @field_validator("detector_features", "feedback_features")
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
    def secrets(self) -> frozenset[str]:
        """What no log and no message may show: the secret settings, passwords in them, and keys of the object store."""
        values = [getattr(self, name) for name in type(self).model_fields]
        hidden = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        keys = [os.environ.get(name, "") for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
        return frozenset(part for secret in (*hidden, *keys) if secret for part in secret_parts(secret))

    @property
    def ensemble_weights(self) -> dict[str, float]:
        """Weight of each label-free detector."""
        forest = self.isolation_forest_weight
        return {"isolation_forest": forest, "local_outlier_factor": 1.0 - forest}

    @property
    def threshold_limits(self) -> dict[str, Any]:
        """What the threshold has to reach and to keep to."""
        return {
            "target_recall": self.target_recall,
            "max_false_positive_rate": self.max_false_positive_rate,
            "max_alerts_per_day": self.max_alerts_per_day,
            "smoothing": self.threshold_smoothing,
            "max_change": self.max_alert_change,
        }


def child_environment(settings: Settings) -> Mapping[str, str]:
    """Environment for a child process that works on the same state from any folder."""
    return dict(os.environ) | {
        f"{_PREFIX}HOME": str(settings.home),
        "DAGSTER_HOME": str(settings.dagster_home),
    }
