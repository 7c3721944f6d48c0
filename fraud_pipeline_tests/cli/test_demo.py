"""The demo: the whole path in one command, and nothing to do the second time."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.cli import demo
from fraud_pipeline.connections import EMBEDDED_DATABASE
from fraud_pipeline_tests.cli.conftest import (
    HISTORY,
    NIGHTS,
    Deployment,
    Result,
    Walk,
    assert_refused,
    files_of,
    rows_of,
)

DAYS = [*HISTORY, NIGHTS[0]]
SIZES = {"DAYS": len(DAYS), "NIGHTS": 1, "LABEL_DAYS": 5, "USERS": 300, "MERCHANTS": 90, "SEED": 0}


@pytest.fixture(scope="module", autouse=True)
def small_demo() -> Iterator[dict[str, int]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SIZES.items():
            patch.setattr(demo, name, value)
        yield SIZES


@dataclass(frozen=True)
class Shown:
    """A deployment of its own with the embedded PostgreSQL, and what the demo printed."""

    deployment: Deployment
    printed: Result

    @property
    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        server = EmbeddedPostgres(self.deployment.settings.postgres_folder)
        return rows_of(server.url(EMBEDDED_DATABASE))


@pytest.fixture(scope="module")
def shown(quick_disk: Path, small_demo: dict[str, int]) -> Iterator[Shown]:
    assert small_demo.items() <= vars(demo).items()
    with tempfile.TemporaryDirectory(dir=quick_disk, ignore_cleanup_errors=True) as folder:
        deployment = Deployment(Path(folder) / "home")
        try:
            yield Shown(deployment, deployment.succeed("demo"))
        finally:
            deployment.run("stop")


def test_the_demo_scores_the_last_night_with_a_model_of_the_days_before(shown: Shown) -> None:
    lake = shown.deployment.lake
    assert lake.days("validated_transactions") == set(DAYS)
    assert lake.days("anomaly_scores") == {NIGHTS[0]}
    rows = shown.rows
    assert len(rows["transactions"]) == sum(lake.row_counts("validated_transactions").values())
    assert len(rows["anomaly_scores"]) == sum(lake.row_counts("anomaly_scores").values())
    assert len(rows["alerts"]) > 0
    assert {row[0] for row in rows["model_metrics"]} == {NIGHTS[0]}
    assert "Model       fraud_model version 1\n" in shown.printed.out
    # What was drawn at random waits in the same queue and is no alert.
    raised = [row for row in rows["alerts"] if "threshold" in row]
    assert len(rows["alerts"]) - len(raised) == 5
    assert f"Alerts      {len(raised)} of " in shown.printed.out


def test_the_demo_ends_with_what_to_do_next(shown: Shown) -> None:
    for command in ("make ui", "make psql", "make stop", "make clean"):
        assert command in shown.printed.out


def test_the_second_demo_changes_nothing_and_prints_the_same_figures(shown: Shown) -> None:
    rows, lake = shown.rows, files_of(Path(shown.deployment.settings.lake))
    artefacts, landing = (files_of(shown.deployment.home / name) for name in ("artefacts", "landing"))
    history = sorted(files_of(shown.deployment.home / "dagster"))
    again = shown.deployment.succeed("demo")
    assert again.out.startswith("The demo is already in place")
    assert figures(again) == figures(shown.printed)
    assert shown.rows == rows
    assert files_of(Path(shown.deployment.settings.lake)) == lake
    assert files_of(shown.deployment.home / "artefacts") == artefacts
    assert files_of(shown.deployment.home / "landing") == landing
    assert sorted(files_of(shown.deployment.home / "dagster")) == history


def figures(result: Result) -> str:
    return result.out[result.out.index("Days  ") :]


def test_psql_answers_from_the_embedded_database_and_stop_ends_it(
    shown: Shown, capfd: pytest.CaptureFixture[str]
) -> None:
    assert shown.deployment.run("psql", "-c", "select count(*) from alerts").code == 0
    assert f" {len(shown.rows['alerts'])}\n" in capfd.readouterr().out
    assert shown.deployment.succeed("stop").out == "stopped: postgres\n"
    assert shown.deployment.succeed("stop").out == "stopped: nothing was running\n"
    assert "The database has the schema of this version." in shown.deployment.succeed("migrate").out


def test_the_demo_needs_days_that_are_over(deployment: Deployment) -> None:
    today = clock.today("UTC")
    refused = deployment.with_variables(first_day=today).run("demo")
    assert_refused(refused, f"{SIZES['DAYS']} days that are over", "FRAUD_PIPELINE_FIRST_DAY")
    assert files_of(deployment.home) == {}


def test_the_demo_does_not_mix_with_the_files_of_a_bank(deployment: Deployment, walk: Walk, tmp_path: Path) -> None:
    described = yaml.safe_load((walk.export / "source.yaml").read_text()) | {"name": "bank"}
    (tmp_path / "bank.yaml").write_text(yaml.safe_dump(described))
    (file, *_) = sorted((walk.export / "transactions").iterdir())
    deployment.succeed("ingest", file, "--source", tmp_path / "bank.yaml")
    before = files_of(deployment.home)
    assert_refused(deployment.run("demo"), "holds files of bank", "FRAUD_PIPELINE_HOME")
    assert files_of(deployment.home) == before
