"""What clients send and get of scoring: the models of requests and answers."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from fraud_pipeline.core.transactions import MAX_ID_LENGTH

MONEY_DECIMALS: Final = 4
"""As many as the database keeps."""
_EARLIEST, _LATEST = 1970, 2200
"""Years of event times, as those of the partition days."""
_NO_CONTROL_CHARACTERS: Final = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
_EXAMPLE: Final[dict[str, Any]] = {
    "transaction_id": "t-20260301-000017",
    "user_id": "u00042",
    "merchant_id": "m0007",
    "event_time": "2026-03-01T12:30:00.500+01:00",
    "amount": 249.9,
}

RiskLevel = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
Priority = Annotated[int, Field(ge=1, le=5, description="Urgency, 1 (most urgent) to 5.")]
Share = Annotated[float, Field(ge=0, le=1)]


def _within_years(time: datetime) -> datetime:
    if not _EARLIEST <= time.year < _LATEST:
        raise ValueError(f"the year is not between {_EARLIEST} and {_LATEST - 1}")
    return time


def _four_decimals(amount: float) -> float:
    if round(amount, MONEY_DECIMALS) != amount:
        raise ValueError(f"the amount has more than {MONEY_DECIMALS} decimals")
    return amount + 0.0  # no negative zero


Identifier = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID_LENGTH, pattern=_NO_CONTROL_CHARACTERS)
]


class TransactionIn(BaseModel):
    """A card transaction to score; the same five fields that a landing file delivers."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    transaction_id: Identifier = Field(description="Identity of the transaction at its source.")
    user_id: Identifier = Field(description="Identity of the card holder.")
    merchant_id: Identifier = Field(description="Identity of the merchant.")
    event_time: Annotated[AwareDatetime, AfterValidator(_within_years)] = Field(
        description="When the transaction happened: ISO 8601 with an offset from UTC."
    )
    amount: Annotated[float, AfterValidator(_four_decimals)] = Field(
        allow_inf_nan=False,
        strict=True,
        description="Amount in the reporting currency, negative for a refund; at most 4 decimals, and within the "
        "largest plausible amount of the deployment.",
    )


@dataclass(slots=True, kw_only=True)
class Detection:
    """What the nightly run would say of the transaction."""

    transaction_id: Annotated[str, Field(description="That of the request.")]
    anomaly_score: Annotated[
        Share, Field(description="Score that decides; higher is more anomalous. No probability of fraud.")
    ]
    score_percentile: Annotated[Share, Field(description="Share of the reference scores at or below it.")]
    confidence: Annotated[Share, Field(description="How firmly the transaction is on its side of the threshold.")]
    risk_level: Annotated[RiskLevel, Field(description="LOW is below the threshold.")]
    priority: Priority
    is_alert: Annotated[
        bool, Field(description="Whether the score reaches the threshold. No alert is raised by this request.")
    ]
    threshold: Annotated[float, Field(description="Score from which a transaction is an alert.")]
    isolation_forest_score: Annotated[float, Field(description="Detector score; higher is more anomalous.")]
    local_outlier_factor_score: Annotated[float, Field(description="Detector score; higher is more anomalous.")]
    feedback_classifier_score: Annotated[
        float | None, Field(description="Score learnt from labels; null before labels arrive.")
    ]
    reasons: Annotated[
        list[dict[str, Any]], Field(description="Reasons for the score of an alert, strongest first; else none.")
    ]
    reason_text: Annotated[str, Field(description="The reasons as a sentence.")]
    model_version: Annotated[str, Field(description="Version of the model that scored.")]
    threshold_version: Annotated[str, Field(description="Version of the calibrated threshold.")]
    feature_set_version: Annotated[str, Field(description="Version of the feature definitions.")]


class Figure(BaseModel):
    """A figure and the interval that it lies in with 90 % confidence; null where it is not known."""

    value: float | None
    low: float | None
    high: float | None


class CalibrationInfo(BaseModel):
    """How the threshold was found, and what to expect of it."""

    method: str
    aim: str = Field(description="What the threshold was chosen for, in words.")
    feasible: bool = Field(description="Whether that can be had within the limits.")
    limit: str = Field(description="What stood in the way, in words; empty if feasible.")
    recall: Figure
    false_positive_rate: Figure
    precision: Figure
    alerts_per_day: Figure
    days: int
    transactions: int
    frauds: int


class WindowsInfo(BaseModel):
    """Days that the model was trained and calibrated on, both ends included."""

    train_from: date
    train_to: date
    calibrate_from: date
    calibrate_to: date
    as_of: date = Field(description="Only labels known before this day were used.")


class ModelInfo(BaseModel):
    """The model that scores requests: the champion of the registry."""

    model_version: str
    artefact_sha256: str
    scoring_mode: Literal["ensemble", "feedback", "stacked"] = Field(description="What the anomaly score is made of.")
    detectors: list[str] = Field(description="Detectors that the model holds.")
    threshold: float = Field(description="Score from which a transaction is an alert.")
    threshold_version: str
    risk_cutoffs: dict[str, float] = Field(description="Lowest score of MEDIUM, HIGH and CRITICAL.")
    calibration: CalibrationInfo
    windows: WindowsInfo
    feature_set_version: str
    feature_columns: list[str] = Field(description="Features that transactions have; each detector reads some.")
