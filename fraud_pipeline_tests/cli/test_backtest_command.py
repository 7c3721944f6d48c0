"""Backtests by command: what is written, what is printed, what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fraud_pipeline.cli.console import console
from fraud_pipeline.core.backtest import MODELS
from fraud_pipeline.core.evaluation import FIGURES
from fraud_pipeline_tests.cli.conftest import HISTORY, NIGHTS, Deployment, Walk, assert_refused, files_of

TRAIN, CALIBRATE = f"{HISTORY[0]}:{HISTORY[3]}", f"{HISTORY[4]}:{HISTORY[5]}"
TEST = f"{HISTORY[6]}:{NIGHTS[-1]}"
QUICK = ("--label-delay-days", 1, "--seeds", 1)


def arguments(walk: Walk, output: Path, *others: object, test: str = TEST) -> tuple[object, ...]:
    windows = ("--train", TRAIN, "--calibrate", CALIBRATE, "--test", test)
    return ("backtest", "--source", walk.export / "source.yaml", *windows, "--output", output, *others)


def written(output: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    return report


def test_a_backtest_writes_every_figure_of_every_model_and_prints_the_main_ones(
    walk: Walk, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "width", 200)
    output = tmp_path / "report"
    printed = deployment.succeed(*arguments(walk, output, *QUICK))
    report = written(output)
    assert list(report["models"]) == list(MODELS)
    for figures in report["models"].values():
        assert list(figures) == list(FIGURES)
        assert all(list(estimate) == ["value", "low", "high"] for estimate in figures.values())
    assert {path.name for path in output.iterdir()} == {
        "report.html",
        "report.json",
        "figures.parquet",
        "weeks.parquet",
    }
    for model in MODELS:
        recall = report["models"][model]["recall"]["value"]
        assert re.search(rf"{model} .*{recall:.3f}", printed.out), model
    assert f"{output}/report.json" in printed.out
    assert [f"warning: {each}" in printed.out for each in report["warnings"]] == [True] * len(report["warnings"])
    assert report["protocol"]["seeds"] == [0]
    # Nothing of it goes into a deployment.
    assert files_of(deployment.home) == {}


def test_the_weeks_of_a_walk_forward_cover_the_test_window(walk: Walk, deployment: Deployment, tmp_path: Path) -> None:
    deployment.succeed(*arguments(walk, tmp_path / "report", "--walk-forward", *QUICK[:2]))
    report = written(tmp_path / "report")
    rounds = [each["test"] for each in report["protocol"]["rounds"]]
    assert rounds == [f"{HISTORY[6]} to {HISTORY[12]}", f"{NIGHTS[0]} to {NIGHTS[1]}"]
    assert report["protocol"]["seeds"] == [0]
    assert {week["round"] for week in report["weeks"]} == {1, 2}


def test_a_closed_loop_reviews_no_more_than_its_capacity(walk: Walk, deployment: Deployment, tmp_path: Path) -> None:
    options = ("--closed-loop", "--review-capacity", 3, *QUICK[:2])
    deployment.succeed(*arguments(walk, tmp_path / "report", *options, test=f"{HISTORY[6]}:{HISTORY[8]}"))
    protocol = written(tmp_path / "report")["protocol"]
    (only,) = protocol["rounds"]
    assert (protocol["closed_loop"], protocol["review_capacity"]) == (True, 3)
    assert 0 < only["reviewed"] <= 9
    assert only["reviewed_frauds"] <= only["reviewed"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--test": f"{HISTORY[5]}:{HISTORY[9]}"}, ("must follow one another", "train before calibrate before test")),
        ({"--calibrate": f"{HISTORY[3]}:{HISTORY[4]}"}, ("must follow one another",)),
        ({"--train": f"{HISTORY[3]}:{HISTORY[0]}"}, ("runs backwards",)),
        ({"--test": str(HISTORY[9])}, ("is not a window", "FROM:TO")),
        ({"--test": "2026-03-01:2026-03-09"}, ("no transactions from 2026-03-01 to 2026-03-09", "choose days")),
        ({"--source": "none.yaml"}, ("No such file", "none.yaml")),
        ({"--folder": "none"}, ("none does not exist", "give the folder")),
        ({"--review-capacity": "5"}, ("belongs to the closed loop", "--closed-loop")),
    ],
)
def test_a_backtest_that_makes_no_sense_is_refused_and_nothing_is_written(
    walk: Walk, deployment: Deployment, tmp_path: Path, changed: dict[str, str], words: tuple[str, ...]
) -> None:
    command, *given = arguments(walk, tmp_path / "report", *QUICK)
    options = dict(zip(given[::2], given[1::2], strict=True)) | changed
    refused = deployment.run(command, *(part for option in options.items() for part in option))
    assert_refused(refused, *words)
    assert not (tmp_path / "report").exists()
    assert files_of(deployment.home) == {}


def test_a_source_without_labels_cannot_be_tested_on(walk: Walk, deployment: Deployment, tmp_path: Path) -> None:
    described = (walk.export / "source.yaml").read_text()
    source = tmp_path / "source.yaml"
    source.write_text(described.partition("labels:")[0])
    command, _, _, *others = arguments(walk, tmp_path / "report", *QUICK)
    refused = deployment.run(command, "--source", source, "--folder", walk.export, *others)
    assert_refused(refused, "holds no label file of source simulated", "needs the truth")


def test_a_report_that_cannot_be_written_is_a_sentence(walk: Walk, deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(deployment.run(*arguments(walk, tmp_path / "file" / "report", *QUICK)), "cannot be")
