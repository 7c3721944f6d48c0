"""From received files to measured alerts by command: what is printed is what the database and the lake hold."""

import re
import shutil
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from fraud_pipeline.adapters.database.alert_tables import alerts
from fraud_pipeline.adapters.database.tables import model_metrics
from fraud_pipeline.adapters.model_store import ModelCard
from fraud_pipeline.cli.console import console
from fraud_pipeline.connections import open_model_store
from fraud_pipeline_tests.cli.conftest import HISTORY, NIGHTS, Deployment, Walk

RANGE = ("--from", str(NIGHTS[0]), "--to", str(NIGHTS[-1]))


def rows(walk: Walk, table: str) -> int:
    return len(walk.deployment.rows[table])


def champion(walk: Walk) -> ModelCard:
    card = open_model_store(walk.deployment.settings).champion_card()
    assert card is not None
    return card


def labels_in_force(walk: Walk, until: date) -> pd.DataFrame:
    """The newest label of each transaction, found the plain way."""
    lake = walk.deployment.lake
    days = sorted(day for day in lake.days("fraud_labels") if day <= until)
    known = pd.concat(lake.read("fraud_labels", day) for day in days)
    return known.sort_values("label_known_at", kind="stable").drop_duplicates("transaction_id", keep="last")


def scores(walk: Walk, days: list[date]) -> pd.DataFrame:
    """Scores of these days with the labels that are known once the last of them has matured."""
    frames = [walk.deployment.lake.read("anomaly_scores", day) for day in days]
    matured = days[-1] + timedelta(days=walk.deployment.settings.label_maturity_days + 1)
    return pd.concat(frames).merge(labels_in_force(walk, matured)[["transaction_id", "is_fraud"]], how="left")


def test_history_is_prepared_and_the_next_command_is_training(walk: Walk) -> None:
    assert f"{len(HISTORY)} days prepared, not scored" in walk.printed["run"].out
    assert walk.printed["run"].following == ["train"]
    assert set(HISTORY) <= walk.deployment.lake.days("transaction_features")


def test_the_bar_of_a_run_ends_full_although_nothing_was_scored(walk: Walk) -> None:
    done, total = re.findall(r"(\d+)/(\d+)", walk.printed["run"].out)[-1]
    assert done == total


def test_training_names_the_champion_that_the_registry_has(walk: Walk) -> None:
    assert "champion is fraud_model version 1: there is no champion yet" in walk.printed["train"].out
    assert champion(walk).version.version == 1


def test_nights_are_runs_of_their_own(walk: Walk) -> None:
    assert f"{len(NIGHTS)} days done" in walk.printed["nightly"].out
    run_ids = [set(walk.deployment.lake.read("anomaly_scores", night)["run_id"]) for night in NIGHTS]
    assert [len(ids) for ids in run_ids] == [1] * len(NIGHTS)
    assert len(set.union(*run_ids)) == len(NIGHTS)
    assert walk.printed["nightly"].following == ["summary", *RANGE]


def test_measured_figures_of_a_night_are_those_of_its_scores_and_labels(walk: Walk) -> None:
    assert f"{len(NIGHTS)} days measured" in walk.printed["measure"].out
    table = pd.DataFrame(
        walk.deployment.rows["model_metrics"], columns=[column.name for column in model_metrics.columns]
    )
    measured = table[table["event_day"] == NIGHTS[0]].set_index("metric")["value"]
    night = scores(walk, NIGHTS[:1])
    known = night[night["is_fraud"].notna()]
    frauds = known["is_fraud"].astype(bool)
    assert frauds.sum() >= 3
    assert measured["frauds"] == frauds.sum()
    assert measured["recall"] == pytest.approx(known.loc[frauds, "is_alert"].mean())
    assert measured["false_positive_rate"] == pytest.approx(known.loc[~frauds, "is_alert"].mean())


def test_summary_counts_what_was_delivered_and_what_is_in_the_tables(walk: Walk) -> None:
    out = walk.printed["summary"].out
    days = len(HISTORY + NIGHTS)
    received = sum(len(pd.read_csv(file)) for file in (walk.export / "transactions").iterdir())
    valid, scored = rows(walk, "transactions"), rows(walk, "anomaly_scores")
    assert f"Days        {days} ingested, {len(NIGHTS)} scored\n" in out
    assert f"{received:,} received, {valid:,} valid, {received - valid:,} rejected, {scored:,} scored" in out


def test_summary_prints_the_windows_threshold_and_expectations_of_the_champion(walk: Walk) -> None:
    card, out = champion(walk), walk.printed["summary"].out
    windows, calibration = card.windows, card.calibration
    assert f"Trained     on {windows.train_from} to {windows.train_to}\n" in out
    assert f"Calibrated  on {windows.calibrate_from} to {windows.calibrate_to}, with labels known before" in out
    assert f"Scoring     {card.scoring_mode}: " in out
    assert f"Threshold   {calibration.threshold:.4f} for a recall of 0.85" in out
    recall = calibration.recall
    assert f"{recall.value:.3f} ({recall.low:.3f} to {recall.high:.3f})" in out


def test_summary_prints_the_recall_that_scores_and_labels_give(walk: Walk) -> None:
    out = walk.printed["summary"].out
    both = scores(walk, NIGHTS)
    known = both[both["is_fraud"].notna()]
    frauds = known["is_fraud"].astype(bool)
    recall, precision = known.loc[frauds, "is_alert"].mean(), frauds[known["is_alert"]].mean()
    achieved = dict(re.findall(r"│ ([a-z ]+?) +│[^│]+│ ([0-9.]+) +│", out))
    assert achieved["recall"] == f"{recall:.3f}"
    assert achieved["precision"] == f"{precision:.3f}"
    assert achieved["alerts per day"] == f"{both['is_alert'].sum() / len(NIGHTS):.1f}"
    assert f"Labels      {frauds.sum()} frauds among {len(known):,} matured of {len(both):,} scored" in out


def test_summary_prints_the_alerts_of_the_table_the_most_urgent_first(walk: Walk) -> None:
    table = pd.DataFrame(walk.deployment.rows["alerts"], columns=[column.name for column in alerts.columns])
    table = table[table["selection"] == "threshold"]
    out = walk.printed["summary"].out
    assert f"Alerts      {len(table)} of {NIGHTS[0]} to {NIGHTS[-1]}: " in out
    for level, count in table["risk_level"].value_counts().items():
        assert f"{count} {level}" in out
    first = table.sort_values(["priority", "anomaly_score"], ascending=[True, False]).iloc[0]
    assert f"  1  {first['risk_level']}, priority {first['priority']}, score {first['anomaly_score']:.4f}" in out
    assert f"{first['amount']:.2f} EUR by {first['user_id']} at {first['merchant_id']}" in out
    assert first["reason_text"].split("; ")[0] in " ".join(out.split())


def test_summary_of_a_threshold_without_labels_says_what_is_not_known(walk: Walk, tmp_path: Path) -> None:
    shutil.copytree(walk.deployment.settings.lake, tmp_path / "home" / "lake")
    deployment = Deployment(tmp_path / "home", walk.deployment.variables)
    for day in deployment.lake.days("fraud_labels"):
        known = deployment.lake.read("fraud_labels", day)
        deployment.lake.write("fraud_labels", day, known[~known["is_fraud"]])
    deployment.succeed("train")
    out = deployment.succeed("summary", *RANGE).out
    assert "Scoring     ensemble: the label-free detectors, blended\n" in out
    assert " for a budget of 100.0 alerts a day (no labels)" in " ".join(out.split())
    expected = dict(re.findall(r"│ ([a-z ]+?) +│ ([^│]+?) +│", out))
    unknown = dict.fromkeys(("recall", "false positive rate", "precision"), "not known")
    assert unknown.items() <= expected.items()
    assert re.fullmatch(r"[0-9.]+ \([0-9.]+ to [0-9.]+\)", expected["alerts per day"])
    assert "nan" not in out


def test_summary_without_a_model_says_what_to_do(walk: Walk) -> None:
    printed = walk.printed["summary without a model"]
    assert printed.following == ["train"]
    assert f"Days        {len(HISTORY)} ingested, 0 scored" in printed.out


@pytest.mark.parametrize("width", [80, 120])
def test_summary_fits_the_terminal(walk: Walk, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", width)
    lines = walk.deployment.succeed("summary", *RANGE).out.splitlines()
    assert max(map(len, lines)) <= width
    assert "Expected and achieved" in "\n".join(lines)


def test_summary_of_days_that_were_not_scored_says_so(walk: Walk) -> None:
    out = walk.deployment.succeed("summary", "--from", HISTORY[0], "--to", HISTORY[1]).out
    assert out.count("no night scored") == 4
    assert f"Alerts      0 of {HISTORY[0]} to {HISTORY[1]}\n" in out
    assert "most urgent" not in out


def test_training_on_given_windows_uses_exactly_those(walk: Walk, tmp_path: Path) -> None:
    shutil.copytree(walk.deployment.settings.lake, tmp_path / "home" / "lake")
    deployment = Deployment(tmp_path / "home")
    windows = ("--train", f"{HISTORY[7]}:{HISTORY[8]}", "--calibrate", f"{HISTORY[9]}:{HISTORY[10]}")
    printed = deployment.succeed("train", *windows, "--as-of", NIGHTS[0])
    assert "champion is fraud_model version 1" in printed.out
    assert deployment.lake.read_json("training_windows") == {
        "train_from": str(HISTORY[7]),
        "train_to": str(HISTORY[8]),
        "calibrate_from": str(HISTORY[9]),
        "calibrate_to": str(HISTORY[10]),
        "as_of": str(NIGHTS[0]),
    }
