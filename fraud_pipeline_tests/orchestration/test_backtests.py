"""A backtest as a run of Dagster: its figures, its files, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fraud_pipeline.core.backtest import MODELS
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.evaluation import FIGURES
from fraud_pipeline.orchestration.jobs import BACKTEST
from fraud_pipeline_tests.orchestration.conftest import Deployment, day

Deploy = Callable[..., Deployment]


def options(landed: Path, **others: object) -> dict[str, object]:
    """Configuration of a quick backtest on the files that were landed."""
    config = {
        "source": str(landed.parent / "export" / "source.yaml"),
        "train": f"{day(7)}:{day(16)}",
        "calibrate": f"{day(17)}:{day(22)}",
        "test": f"{day(23)}:{day(29)}",
        "label_delay_days": 1.0,
        "seeds": 1,
    }
    return {"backtest_report": {"config": config | others}}


def test_the_job_writes_the_report_and_shows_its_figures(deploy: Deploy, landed: Path, tmp_path: Path) -> None:
    deployment = deploy()
    deployment.runner.run_once(BACKTEST, options(landed, output=str(tmp_path / "report")))
    shown = deployment.runner.materialisation("backtest_report")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(report["models"]) == set(MODELS)
    for model, figures in report["models"].items():
        assert set(figures) == set(FIGURES)
        for name, estimate in figures.items():
            assert set(estimate) == {"value", "low", "high"}
            assert shown.get(f"{model}/{name}") == estimate["value"]
    assert {Path(file).name for file in shown["report"]} == {path.name for path in (tmp_path / "report").iterdir()}
    assert "data:image/png;base64," in shown["precision_recall_curves"]
    assert shown["warnings"] == report["warnings"]
    # Everything happens beside the deployment.
    assert not deployment.lake.days("validated_transactions")
    assert not (deployment.settings.home / "mlflow.db").exists()


def test_a_report_has_to_say_where_from_the_root_of_the_disk(deploy: Deploy, landed: Path) -> None:
    with pytest.raises(ConfigurationError, match="'report' is relative"):
        deploy().runner.run_once(BACKTEST, options(landed, output="report"))


def test_windows_that_overlap_are_refused_before_a_file_is_read(deploy: Deploy, tmp_path: Path) -> None:
    # There are no files below this folder.
    windows = {"calibrate": f"{day(17)}:{day(23)}", "output": str(tmp_path / "report")}
    with pytest.raises(ConfigurationError, match="give train before calibrate before test"):
        deploy().runner.run_once(BACKTEST, options(tmp_path, **windows))
    assert not (tmp_path / "report").exists()
