"""Keys of API clients, answers kept for repeated requests, and the order of lists of alerts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCOPES_CHECK = "cardinality(scopes) > 0 AND scopes <@ ARRAY['detect', 'alerts:read', 'alerts:write']"


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column(
            "key_id",
            sa.Text(),
            nullable=False,
            comment="Public first part of the key, which names it in lists and logs",
        ),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="Who holds the key; the actor of the changes made with it"
        ),
        sa.Column(
            "key_sha256", sa.Text(), nullable=False, comment="SHA-256 of the whole key, which itself is kept nowhere"
        ),
        sa.Column(
            "scopes", ARRAY(sa.Text()), nullable=False, comment="What the key may do: detect, alerts:read, alerts:write"
        ),
        _time("created_at", "When the key was made"),
        sa.Column("expires_at", sa.DateTime(timezone=True), comment="From when on it is refused, NULL for never"),
        sa.Column("revoked_at", sa.DateTime(timezone=True), comment="When it was revoked, NULL while it is in force"),
        sa.CheckConstraint("name <> ''", name=op.f("ck_api_keys_name")),
        sa.CheckConstraint("key_sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_api_keys_key_sha256")),
        sa.CheckConstraint(SCOPES_CHECK, name=op.f("ck_api_keys_scopes")),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_api_keys_expires_at")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_sha256", name=op.f("uq_api_keys_key_sha256")),
        comment="Keys of the REST API's clients, as digests",
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key_id", sa.Text(), nullable=False, comment="API key of the request, or unauthenticated"),
        sa.Column("idempotency_key", sa.Text(), nullable=False, comment="Idempotency-Key that the client sent"),
        sa.Column(
            "request_sha256", sa.Text(), nullable=False, comment="SHA-256 of the method, path and body of the request"
        ),
        sa.Column("status_code", sa.SmallInteger(), nullable=False, comment="HTTP status of the answer"),
        sa.Column("body", JSONB(), nullable=False, comment="Answer, given again when the request is repeated"),
        _time("created_at", "When the request was answered"),
        sa.CheckConstraint("idempotency_key <> ''", name=op.f("ck_idempotency_keys_idempotency_key")),
        sa.CheckConstraint("status_code BETWEEN 200 AND 299", name=op.f("ck_idempotency_keys_status_code")),
        sa.PrimaryKeyConstraint("key_id", "idempotency_key", name=op.f("pk_idempotency_keys")),
        comment="Answers to changes that a client may repeat, kept for a day",
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_index(
        "ix_alerts_list_order", "alerts", ["current_priority", sa.text("coalesce(due_at, raised_at)"), "alert_id"]
    )


def downgrade() -> None:
    op.drop_index("ix_alerts_list_order", "alerts")
    op.drop_table("idempotency_keys")
    op.drop_table("api_keys")


def _time(name: str, comment: str) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False, comment=comment)
