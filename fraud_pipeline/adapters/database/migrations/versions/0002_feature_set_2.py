"""Feature set 2: means, label counts and recency of users and merchants.

Rows of earlier feature sets keep NULL in the new columns until their days are run again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NEW_FEATURES = {
    "user_count_transactions_7d": "The user's transactions in the 7 days before",
    "user_count_transactions_30d": "The user's transactions in the 30 days before",
    "user_mean_amount_1d": "The user's mean amount in the day before",
    "user_mean_amount_7d": "The user's mean amount in the 7 days before",
    "user_mean_amount_30d": "The user's mean amount in the 30 days before",
    "merchant_mean_amount_1d": "Mean amount at the merchant in the day before",
    "merchant_mean_amount_7d": "Mean amount at the merchant in the 7 days before",
    "merchant_mean_amount_30d": "Mean amount at the merchant in the 30 days before",
    "merchant_known_genuine_1d": "Genuine transactions at the merchant in the day before, as known at the event",
    "merchant_fraud_rate_1d": "The merchant's fraud rate over a day, as known at the event",
    "merchant_genuine_share_7d": "Known genuine labels over the merchant's transactions of 7 days",
    "merchant_genuine_share_30d": "Known genuine labels over the merchant's transactions of 30 days",
    "merchant_days_since_known_fraud": "Days since a fraud at the merchant became known, 30 at most",
    "merchant_unexplained_frauds_7d": "Known frauds of 7 days at the merchant that neither amount nor card explains",
    "merchant_unexplained_frauds_30d": "Known frauds of 30 days at the merchant that neither amount nor card explains",
    "user_known_genuine_7d": "Genuine transactions of the user in the 7 days before, as known at the event",
    "user_known_genuine_30d": "Genuine transactions of the user in the 30 days before, as known at the event",
    "user_days_since_known_fraud": "Days since a fraud of the user became known, 30 at most",
    "is_new_merchant_30d": "1 if the user did not pay at the merchant in the 30 days before, else 0",
}


def upgrade() -> None:
    for name, comment in NEW_FEATURES.items():
        op.add_column("transaction_features", sa.Column(name, sa.Double(), comment=comment))


def downgrade() -> None:
    for name in NEW_FEATURES:
        op.drop_column("transaction_features", name)
