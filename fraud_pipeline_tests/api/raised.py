"""Alerts in the database, as the pipeline raises them."""

from datetime import date

import numpy as np
import pandas as pd

from fraud_pipeline.adapters.database.alert_repository import insert_new
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.core.schema import LINEAGE_COLUMNS

DAY = date(2026, 3, 1)
SLA_HOURS = (4, 8, 24, 72, 168)


def raise_alerts(database: Database, *transaction_ids: str, day: date = DAY, **values: object) -> None:
    """Raise one alert for each transaction, in their order; a value is for all, a list has one for each."""
    rows = len(transaction_ids)
    start = pd.Timestamp(day, tz="UTC").as_unit("us")
    columns = {
        "transaction_id": list(transaction_ids),
        "user_id": [f"u-{each}" for each in transaction_ids],
        "merchant_id": "m1",
        "event_time": [start + pd.Timedelta(minutes=row) for row in range(rows)],
        "event_day": [day] * rows,
        "amount": 812.5,
        "anomaly_score": 0.9,
        "score_percentile": 0.999,
        "confidence": 0.8,
        "risk_level": "HIGH",
        "priority": 2,
        "reasons": [[{"feature": "amount", "value": 812.5, "text": "the amount is unusual"}]] * rows,
        "reason_text": "the amount is unusual",
        **dict.fromkeys(LINEAGE_COLUMNS, "1"),
    } | values
    frame = pd.DataFrame({name: [value] * rows if np.isscalar(value) else value for name, value in columns.items()})
    insert_new(database, frame, sla_hours=SLA_HOURS)
