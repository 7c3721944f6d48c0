"""Keys of API clients, answers kept for repeated requests, and the order of lists, as SQLAlchemy Core sees them."""

from typing import Final

from sqlalchemy import CheckConstraint, Column, Index, SmallInteger, Table, Text, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from fraud_pipeline.adapters.database.alert_tables import alerts
from fraud_pipeline.adapters.database.columns import TIME, metadata

SCOPES: Final = ("detect", "alerts:read", "alerts:write")
"""What a key may do: score transactions, read alerts, change alerts."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True, comment="Public first part of the key, which names it in lists and logs"),
    Column("name", Text, nullable=False, comment="Who holds the key; the actor of the changes made with it"),
    Column("key_sha256", Text, nullable=False, comment="SHA-256 of the whole key, which itself is kept nowhere"),
    Column("scopes", ARRAY(Text), nullable=False, comment="What the key may do: detect, alerts:read, alerts:write"),
    Column("created_at", TIME, nullable=False, server_default=func.now(), comment="When the key was made"),
    Column("expires_at", TIME, comment="From when on it is refused, NULL for never"),
    Column("revoked_at", TIME, comment="When it was revoked, NULL while it is in force"),
    UniqueConstraint("key_sha256"),
    CheckConstraint("name <> ''", name="name"),
    CheckConstraint("key_sha256 ~ '^[0-9a-f]{64}$'", name="key_sha256"),
    CheckConstraint(
        "cardinality(scopes) > 0 AND scopes <@ ARRAY['detect', 'alerts:read', 'alerts:write']", name="scopes"
    ),
    CheckConstraint("expires_at > created_at", name="expires_at"),
    comment="Keys of the REST API's clients, as digests",
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key_id", Text, primary_key=True, comment="API key of the request, or unauthenticated"),
    Column("idempotency_key", Text, primary_key=True, comment="Idempotency-Key that the client sent"),
    Column("request_sha256", Text, nullable=False, comment="SHA-256 of the method, path and body of the request"),
    Column("status_code", SmallInteger, nullable=False, comment="HTTP status of the answer"),
    Column("body", JSONB, nullable=False, comment="Answer, given again when the request is repeated"),
    Column("created_at", TIME, nullable=False, server_default=func.now(), comment="When the request was answered"),
    CheckConstraint("idempotency_key <> ''", name="idempotency_key"),
    CheckConstraint("status_code BETWEEN 200 AND 299", name="status_code"),
    comment="Answers to changes that a client may repeat, kept for a day",
)
# Removing what is older than a day.
Index(None, idempotency_keys.c.created_at)

DUE: Final = func.coalesce(alerts.c.due_at, alerts.c.raised_at)
"""When an alert is due; one that never got a due time has waited since it was raised."""

# The list of alerts, page by page: the most urgent first, then what is due first.
Index("ix_alerts_list_order", alerts.c.current_priority, DUE, alerts.c.alert_id)
