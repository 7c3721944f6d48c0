"""Scores of the blend and of the feedback classifier beside the score that decides.

Until now the blend was the score that decided, so it is that of the rows that are there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OLD_COMMENT = "Ensemble score, 0 to 1, higher is more anomalous"
NEW_COMMENT = "Score that decides, 0 to 1, higher is more anomalous"


def upgrade() -> None:
    blend = sa.Column("ensemble_score", sa.Double(), comment="Blend of the two detectors, 0 to 1")
    classifier = sa.Column(
        "feedback_classifier_score",
        sa.Double(),
        comment="Score learnt from labels, 0 to 1; NULL before labels arrive",
    )
    op.add_column("anomaly_scores", blend)
    op.add_column("anomaly_scores", classifier)
    op.execute("UPDATE anomaly_scores SET ensemble_score = anomaly_score")
    op.alter_column("anomaly_scores", "ensemble_score", nullable=False)
    _comment(OLD_COMMENT, NEW_COMMENT)


def downgrade() -> None:
    _comment(NEW_COMMENT, OLD_COMMENT)
    op.drop_column("anomaly_scores", "feedback_classifier_score")
    op.drop_column("anomaly_scores", "ensemble_score")


def _comment(old: str, new: str) -> None:
    for table in ("anomaly_scores", "alerts"):
        op.alter_column(
            table,
            "anomaly_score",
            existing_type=sa.Double(),
            existing_nullable=False,
            comment=new,
            existing_comment=old,
        )
