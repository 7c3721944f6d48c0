"""What clients send and get of alerts: the models of requests and answers."""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from fraud_pipeline.api.models import Priority, RiskLevel, Share
from fraud_pipeline.core.workflow import UNSET, AlertChange

Status = Literal["open", "investigating", "closed"]
Outcome = Literal["confirmed_fraud", "false_positive", "inconclusive"]
Selection = Literal["threshold", "random_sample"]
_NO_NUL: Final = r"^[^\x00]*$"
LARGEST_ID: Final = 2**63 - 1
AlertId = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=_NO_NUL)]


class Alert(BaseModel):
    """An alert: a transaction whose score reached the threshold, and how far it is worked on."""

    alert_id: int
    transaction_id: str
    user_id: str = Field(description="Card holder.")
    merchant_id: str
    event_time: datetime = Field(description="When the transaction happened.")
    event_day: date = Field(description="Its day in the time zone of the deployment.")
    amount: float = Field(description="In the reporting currency, negative for a refund.")
    anomaly_score: Share = Field(description="Score that decided; higher is more anomalous. No probability of fraud.")
    score_percentile: Share = Field(description="Share of the reference scores at or below it.")
    confidence: Share = Field(description="How firmly the transaction is on its side of the threshold.")
    risk_level: RiskLevel
    priority: Priority = Field(description="Urgency when it was raised, 1 (most urgent) to 5.")
    current_priority: Priority = Field(description="Urgency now; it rises by itself when the alert is overdue.")
    selection: Selection = Field(description="threshold: an alert; random_sample: drawn below it as a yardstick.")
    status: Status
    outcome: Outcome | None = Field(description="What a closed alert turned out to be.")
    assignee: str | None = Field(description="Who works on it.")
    case_id: int | None = Field(description="Case of the card holder; null for a random sample.")
    raised_at: datetime
    due_at: datetime | None
    snoozed_until: datetime | None
    first_touched_at: datetime | None = Field(description="When somebody first changed it.")
    closed_at: datetime | None
    updated_at: datetime
    reason_text: str = Field(description="The strongest reasons for the score, as a sentence.")
    model_version: str
    threshold_version: str
    feature_set_version: str
    version: int = Field(ge=1, description="Raised by one on every change; a change has to name it.")


class AlertPage(BaseModel):
    """A page of alerts."""

    alerts: list[Alert]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class Case(BaseModel):
    """What is investigated together: the alerts of a card holder."""

    case_id: int
    user_id: str
    status: Literal["open", "closed"]
    outcome: Outcome | None
    assignee: str | None
    priority: Priority = Field(description="Urgency of its most urgent alert so far.")
    opened_at: datetime
    closed_at: datetime | None
    version: int
    updated_at: datetime


class AlertEvent(BaseModel):
    """A change of an alert or its case."""

    event_id: int
    alert_id: int | None = Field(description="Null for an event of the case.")
    case_id: int | None
    event_type: str
    actor: str = Field(description="Who did it: the name of the API key, or pipeline.")
    at: datetime
    run_id: str | None
    before: dict[str, Any] | None = Field(description="Columns that changed, as they were.")
    after: dict[str, Any] | None = Field(description="Columns that changed, as they were then.")
    comment: str | None


class AlertDetail(Alert):
    """An alert with its reasons, its case and what happened to both."""

    reasons: list[dict[str, Any]] = Field(description="Reasons for the score, strongest first.")
    run_id: str = Field(description="Run that raised it.")
    artefact_sha256: str = Field(description="SHA-256 of the model artefact.")
    case: Case | None
    events: list[AlertEvent] = Field(description="Oldest first.")


class AlertChangeIn(BaseModel):
    """A change of an alert; what is not given stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"version": 1, "status": "investigating", "assignee": "ada"},
                {"version": 2, "status": "closed", "outcome": "confirmed_fraud", "comment": "Card holder called back."},
            ]
        },
    )

    version: int | None = Field(None, ge=1, lt=2**31, description="Version that was read; or give If-Match.")
    status: Status | None = Field(None, description="open → investigating → closed, and closed → investigating.")
    outcome: Outcome | None = Field(None, description="Only and always with the move to closed.")
    assignee: Name | None = Field(None, description="null takes it from everybody.")
    snoozed_until: AwareDatetime | None = Field(None, description="The queue leaves it out until then; null ends that.")
    priority: Priority | None = None
    comment: Annotated[
        str | None, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000, pattern=_NO_NUL)
    ] = Field(None, description="Kept in the alert's history.")

    @model_validator(mode="after")
    def _something(self) -> "AlertChangeIn":
        if not self.model_fields_set - {"version"}:
            raise ValueError(
                "nothing is to be changed: give at least one of status, outcome, assignee, "
                "snoozed_until, priority and comment"
            )
        return self

    def change(self) -> AlertChange:
        """As the workflow takes it: null has a meaning for assignee and snoozed_until alone."""
        given = {
            name: getattr(self, name)
            for name in self.model_fields_set - {"version"}
            if name in {"assignee", "snoozed_until"} or getattr(self, name) is not None
        }
        return AlertChange(**{name: given.get(name, UNSET) for name in AlertChange.__dataclass_fields__})


class StatisticsTotal(BaseModel):
    """Alerts of a range of days; random samples are no alerts."""

    alerts: int
    open: int
    investigating: int
    closed: int
    confirmed_frauds: int
    false_positives: int
    inconclusive: int
    alert_precision: Share | None = Field(description="Confirmed frauds over confirmed frauds and false positives.")
    amount: float = Field(description="Sum of the amounts in the reporting currency, refunds by their size.")
    value_detected: float = Field(description="The same of the confirmed frauds.")
    hours_to_first_touch_median: float | None
    hours_to_close_median: float | None
    sla_met: int = Field(description="Closed by their due time.")
    sla_breached: int = Field(description="Closed late, or not closed though due.")
    sla_open: int = Field(description="Not closed and not due yet.")


class DayStatistics(BaseModel):
    """Alerts of one day and model version."""

    event_day: date
    model_version: str
    alerts: int
    closed: int
    confirmed_frauds: int
    false_positives: int
    alert_precision: Share | None
    false_positive_ratio: float | None = Field(description="False positives for each confirmed fraud.")
    amount: float
    value_detected: float
    hours_to_first_touch_median: float | None
    hours_to_first_touch_p90: float | None
    hours_to_close_median: float | None
    hours_to_close_p90: float | None
    sla_met: int
    sla_breached: int
    sla_open: int
    sla_met_share: Share | None


class Statistics(BaseModel):
    """How the alerts of a range of days were worked on and what they were worth."""

    first_day: date
    last_day: date
    total: StatisticsTotal
    by_day: list[DayStatistics]
