"""What can be run: parts of the asset graph, named by what they do."""

from typing import Any, Final

import dagster as dg

from fraud_pipeline.orchestration.freshness import NEWEST_DAY, SCORES

PREPARE: Final = "prepare_transactions"
SCORE: Final = "score_nightly"
MERGE_LABELS: Final = "merge_labels"
REFRESH_FEATURES: Final = "refresh_features"
REFRESH_SCORES: Final = "refresh_scores"
MEASURE: Final = "measure_alerts"
TRAIN: Final = "train_models"
BACKTEST: Final = "backtest"

_PREPARED = dg.AssetSelection.groups("ingestion", "features")
# It speaks of last night, whichever day a run is of.
_BY_THE_CLOCK = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(SCORES), NEWEST_DAY))
# Which runs exclude each other is said by the pools of their assets: a run from the UI has no tags of a job.
_RETRIED = {"dagster/max_retries": "2"}
# A long range waits while a night is in the queue.
_AFTER_OTHERS = {"dagster/priority": "-1"}


def build_jobs() -> dict[str, Any]:  # Dagster does not export the type of an asset job
    """Declare the jobs by name; daily ones take the partitions of their assets."""
    jobs = [
        dg.define_asset_job(
            PREPARE, selection=_PREPARED, tags=_RETRIED, description="Raw files of a day to its features."
        ),
        dg.define_asset_job(
            SCORE,
            selection=(_PREPARED | dg.AssetSelection.groups("scoring", "monitoring")) - _BY_THE_CLOCK,
            tags=_RETRIED,
            description="The whole chain of a day: raw files to alerts.",
        ),
        dg.define_asset_job(
            MERGE_LABELS,
            selection=dg.AssetSelection.assets("fraud_labels"),
            tags=_RETRIED,
            description="Labels that became known on a day.",
        ),
        dg.define_asset_job(
            MEASURE,
            selection=dg.AssetSelection.assets("model_metrics", "alert_statistics"),
            tags=_RETRIED,
            description="Measure the alerts of a day against the labels and decisions known so far.",
        ),
        dg.define_asset_job(
            REFRESH_FEATURES,
            selection=dg.AssetSelection.assets("fraud_labels", "user_profiles", "transaction_features"),
            tags={**_RETRIED, **_AFTER_OTHERS},
            description="What of a day looks back on days before it, which have changed.",
        ),
        dg.define_asset_job(
            REFRESH_SCORES,
            selection=dg.AssetSelection.assets(
                "anomaly_scores", "alerts", "model_metrics", "alert_statistics", "drift_report"
            )
            - _BY_THE_CLOCK,
            tags={**_RETRIED, **_AFTER_OTHERS},
            description="The scores of a day whose features have changed; alerts stay as they were raised.",
        ),
        dg.define_asset_job(
            TRAIN,
            selection=dg.AssetSelection.groups("training"),
            tags={"dagster/max_retries": "1"},
            description="Train the detectors, calibrate the threshold, promote the model if it wins.",
        ),
        dg.define_asset_job(
            BACKTEST,
            selection=dg.AssetSelection.groups("backtest"),
            description="Measure on past days how well the pipeline would have done.",
        ),
    ]
    return {job.name: job for job in jobs}
