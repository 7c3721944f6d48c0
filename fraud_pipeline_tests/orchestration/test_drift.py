"""What the report on drift compares, and when it has nothing to compare."""

from collections.abc import Callable

import dagster as dg

from fraud_pipeline.connections import open_model_store
from fraud_pipeline.core.drift import REPORT_COLUMNS
from fraud_pipeline.orchestration.jobs import SCORE
from fraud_pipeline_tests.orchestration.conftest import Deployment, day

Deploy = Callable[..., Deployment]


def compared_days(deployment: Deployment) -> dict[str | None, object]:
    """On how many days the newest report of each day rests."""
    records = deployment.instance.fetch_materializations(dg.AssetKey("drift_report"), limit=100, ascending=True).records
    materialised = [(record.partition_key, record.asset_materialization) for record in records]
    return {key: each.metadata["compared_days"].value for key, each in materialised if each is not None}


def test_a_range_of_nights_leaves_a_report_for_each_with_figures_plots_and_one_check(prepared: Deployment) -> None:
    prepared.runner.run_range(SCORE, day(28), day(30))
    assert compared_days(prepared) == {day(number).isoformat(): number - 27 for number in (28, 29, 30)}
    champion = open_model_store(prepared.settings).champion()
    assert champion is not None
    rows = prepared.lake.read("drift_report", day(30))
    assert list(rows.columns) == list(REPORT_COLUMNS)
    assert set(rows["name"]) == {"anomaly_score", *champion.feature_references}
    scored = sum(len(prepared.lake.read("anomaly_scores", day(number))) for number in (28, 29, 30))
    assert rows.set_index("name").loc["anomaly_score", "rows"] == scored
    figures = prepared.runner.materialisation("drift_report")
    assert {f"psi/{name}" for name in rows.loc[rows["psi"].notna(), "name"]} <= set(figures)
    for plot in ("stability", "alert_volume", "score_distributions"):
        assert "data:image/png;base64," in figures[plot]
    check = prepared.checks("drift_report")["no_retraining_requested"]
    assert check.passed is not figures["retraining_requested"]
    assert check.metadata["reason"].value == figures["reason"]
    assert check.severity is dg.AssetCheckSeverity.WARN


def test_other_scores_than_the_models_own_call_for_training(prepared: Deployment) -> None:
    prepared.runner.run_day(SCORE, day(29))
    scores = prepared.lake.read("anomaly_scores", day(29))
    prepared.lake.write("anomaly_scores", day(29), scores.assign(anomaly_score=0.99, is_alert=True))
    prepared.run_asset("drift_report", day(29))
    check = prepared.checks("drift_report")["no_retraining_requested"]
    assert not check.passed
    assert "the scores have moved" in str(check.metadata["reason"].value)
    assert f"{len(scores):,}.0 alerts a day where" in str(check.metadata["reason"].value)


def test_days_that_another_model_scored_are_not_compared(prepared: Deployment) -> None:
    prepared.runner.run_range(SCORE, day(28), day(29))
    scores = prepared.lake.read("anomaly_scores", day(28))
    prepared.lake.write("anomaly_scores", day(28), scores.assign(model_version="0"))
    prepared.run_asset("drift_report", day(29))
    assert compared_days(prepared)[day(29).isoformat()] == 1
    assert prepared.run_asset("drift_report", day(28)).success
    check = prepared.checks("drift_report")["no_retraining_requested"]
    assert (check.passed, set(check.metadata)) == (True, {"reason"})
    assert prepared.warnings() == ["The champion scored none of these days, so there is nothing to compare."]


def test_without_a_model_there_is_nothing_to_compare_with(deploy: Deploy) -> None:
    deployment = deploy()
    assert deployment.run_asset("drift_report", day(3)).success
    assert deployment.warnings() == ["No champion model yet, so there is nothing to compare with."]
    assert not deployment.lake.days("drift_report")
    assert compared_days(deployment) == {}
