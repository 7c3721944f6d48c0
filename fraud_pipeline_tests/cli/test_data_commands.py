"""Simulate and ingest: what is written, what is printed, what is left alone."""

import shutil
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
import yaml

from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline_tests.cli.conftest import (
    FIRST_DAY,
    HISTORY,
    LABEL_DAYS,
    NIGHTS,
    Deployment,
    Walk,
    assert_refused,
    files_of,
)

SMALL = ("--days", 3, "--users", 40, "--merchants", 20, "--label-days", 2)


def test_simulate_writes_a_file_for_each_day_and_the_labels_that_become_known(walk: Walk) -> None:
    transactions = sorted(file.name for file in (walk.export / "transactions").iterdir())
    assert transactions == [f"transactions_{day}.csv" for day in HISTORY + NIGHTS]
    labels = sorted(file.name for file in (walk.export / "labels").iterdir())
    assert labels[-1] <= f"labels_{NIGHTS[-1] + timedelta(days=LABEL_DAYS)}.csv"
    assert labels[-1] > f"labels_{NIGHTS[-1]}.csv"


def test_simulate_describes_its_files_and_names_the_next_command(walk: Walk) -> None:
    described = yaml.safe_load((walk.export / "source.yaml").read_text())
    assert described["currency"] == "EUR"
    expected = ["ingest", str(walk.export), "--source", f"{walk.export}/source.yaml"]
    assert walk.printed["simulate"].following == expected


def test_simulate_twice_writes_the_same_bytes(deployment: Deployment, tmp_path: Path) -> None:
    for name in ("one", "two", "one"):
        deployment.succeed("simulate", tmp_path / name, *SMALL)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert len(files_of(tmp_path / "one" / "transactions")) == 3


def test_simulate_takes_another_first_day_and_currency(deployment: Deployment, tmp_path: Path) -> None:
    swiss = deployment.with_variables(currency="CHF")
    swiss.succeed("simulate", tmp_path / "export", "--first-day", "2024-02-29", *SMALL)
    assert (tmp_path / "export" / "transactions" / "transactions_2024-02-29.csv").exists()
    assert "currency: CHF\n" in (tmp_path / "export" / "source.yaml").read_text()


def test_simulate_leaves_no_labels_of_a_simulation_before(deployment: Deployment, tmp_path: Path) -> None:
    sizes = (*SMALL, "--fraud-rate", 0.05)
    for seed in range(3):
        deployment.succeed("simulate", tmp_path / "reused", *sizes, "--seed", seed)
    deployment.succeed("simulate", tmp_path / "fresh", *sizes, "--seed", 2)
    assert files_of(tmp_path / "reused") == files_of(tmp_path / "fresh")


def test_simulate_does_not_mix_with_days_of_another_export(deployment: Deployment, tmp_path: Path) -> None:
    deployment.succeed("simulate", tmp_path, "--days", 6, *SMALL[2:])
    before = files_of(tmp_path)
    refused = deployment.run("simulate", tmp_path, *SMALL)
    assert_refused(refused, f"transactions_{FIRST_DAY + timedelta(days=5)}.csv", "choose another folder")
    assert files_of(tmp_path) == before


def test_ingest_lands_every_file_as_it_is_and_names_the_next_command(walk: Walk) -> None:
    printed, days = walk.printed["ingest"], HISTORY + NIGHTS
    label_files = list((walk.export / "labels").iterdir())
    labels = sum(len(pd.read_csv(file)) for file in label_files)
    assert f"{len(days)} transaction files of {days[0]} to {days[-1]}" in printed.out
    assert f"{len(label_files)} label files with {labels} labels (0 files were there already)" in printed.out
    assert printed.following == ["run", "--from", str(days[0]), "--to", str(days[-1])]
    landed = walk.deployment.home / "landing" / "simulated" / "transactions"
    assert files_of(landed) == files_of(walk.export / "transactions")


def test_ingest_again_changes_nothing(walk: Walk) -> None:
    landing = walk.deployment.home / "landing"
    before = {path: path.stat().st_mtime_ns for path in landing.rglob("*.*")}
    again = walk.deployment.succeed(*walk.printed["simulate"].following)
    assert f"({len(before) - 1 - stale_label_parts(walk)} files were there already)" in again.out
    assert {path: path.stat().st_mtime_ns for path in landing.rglob("*.*")} == before


def stale_label_parts(walk: Walk) -> int:
    """How many landed label files there are beyond one for each delivered file."""
    landed = len(LandingZone(walk.deployment.settings.landing).label_files())
    return landed - len(list((walk.export / "labels").iterdir()))


def test_ingest_of_labels_alone_says_what_they_are_good_for(deployment: Deployment, walk: Walk) -> None:
    (file, *_) = sorted((walk.export / "labels").iterdir())
    printed = deployment.succeed("ingest", file, "--source", walk.export / "source.yaml")
    assert "landed: 1 label files with" in printed.out
    assert printed.following[:1] == ["measure"]
    assert "None" not in printed.out


def test_a_file_name_with_brackets_is_printed_as_it_is(deployment: Deployment, walk: Walk, tmp_path: Path) -> None:
    folder = tmp_path / "[bold]export"
    (folder / "transactions").mkdir(parents=True)
    first = walk.export / "transactions" / f"transactions_{FIRST_DAY}.csv"
    shutil.copy(first, folder / "transactions" / f"[red]:smile:_[x]{FIRST_DAY}.csv")
    deployment.succeed("ingest", folder, "--source", walk.export / "source.yaml")
    (landed,) = LandingZone(deployment.settings.landing).transaction_files()
    assert landed.key.endswith(f"[red]:smile:_[x]{FIRST_DAY}.csv")
    printed = deployment.succeed("simulate", folder / "[", "--days", 1, *SMALL[2:])
    assert f"{folder}/[/source.yaml" in printed.out


@pytest.mark.parametrize("command", ["demo", "simulate", "ingest", "run", "train", "measure", "summary", "psql", "ui"])
def test_every_command_explains_itself(deployment: Deployment, command: str) -> None:
    printed = deployment.succeed(command, "--help")
    assert f"fraud-pipeline {command}" in printed.out
    assert files_of(deployment.home) == {}
