"""How the settings of a deployment configure training."""

from fraud_pipeline.core.training import TrainingConfig
from fraud_pipeline.settings import Settings


def training_config(settings: Settings, *, seed: int | None = None) -> TrainingConfig:
    """Translate settings; ``seed`` replaces that of the settings."""
    limits = settings.threshold_limits
    budget = settings.max_alerts_per_day or settings.label_free_alerts_per_day
    return TrainingConfig(
        detector_features=settings.detector_features,
        feedback_features=settings.feedback_features,
        isolation_forest={"trees": settings.isolation_forest_trees},
        local_outlier_factor={
            "neighbours": settings.lof_neighbours,
            "reference_rows": settings.lof_reference_rows,
            "scaling": settings.lof_scaling,
        },
        feedback_classifier={"rounds": settings.feedback_rounds},
        genuine_reference=settings.lof_genuine_reference,
        weights=settings.ensemble_weights,
        normalisation=settings.score_normalisation,
        scoring_mode=settings.scoring_mode,
        threshold=limits,
        label_free={
            "method": settings.label_free_method,
            "max_alerts_per_day": budget,
            "false_discovery_rate": settings.false_discovery_rate,
            "smoothing": settings.threshold_smoothing,
            "max_change": settings.max_alert_change,
        },
        seed=settings.seed if seed is None else seed,
    )
