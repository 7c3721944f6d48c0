"""Which model scores, by command, in a registry of its own: listed, promoted, rolled back."""

import re
import shutil
from pathlib import Path

import pytest

from fraud_pipeline.cli.console import console
from fraud_pipeline.connections import open_model_store
from fraud_pipeline_tests.cli.conftest import HISTORY, Deployment, Walk, assert_refused, files_of

WHY = ("--reason", "fewer false alerts", "--by", "ada")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 200)


@pytest.fixture(scope="module")
def registry(walk: Walk, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give a deployment whose model was trained three times on the same days: version 1 is the champion."""
    home = tmp_path_factory.mktemp("registry")
    shutil.copytree(walk.deployment.settings.lake, home / "lake")
    deployment = Deployment(home)
    windows = ("--train", f"{HISTORY[7]}:{HISTORY[8]}", "--calibrate", f"{HISTORY[9]}:{HISTORY[10]}")
    for _ in range(3):
        deployment.succeed("train", *windows, "--as-of", HISTORY[-1])
    return deployment


@pytest.fixture
def trained(registry: Deployment, tmp_path: Path) -> Deployment:
    """Give a copy of its registry."""
    shutil.copy(registry.home / "mlflow.db", tmp_path / "mlflow.db")
    return Deployment(tmp_path).with_variables(artefact_root=registry.settings.artefacts)


def champion(deployment: Deployment) -> int:
    card = open_model_store(deployment.settings).champion_card()
    assert card is not None
    return card.version.version


def listed(deployment: Deployment) -> list[list[str]]:
    """Version, the one before, by whom and why, as printed."""
    lines = deployment.succeed("models").out.splitlines()
    return [re.split(r" {2,}", line.strip()) for line in lines if re.match(r" *\d+ ", line)]


def test_the_first_promotion_is_listed_with_its_reason(trained: Deployment) -> None:
    ((version, before, when, by, why),) = listed(trained)
    assert (version, before, by, why) == ("1", "-", "pipeline", "there is no champion yet")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", when)


def test_versions_are_promoted_by_hand_and_rolled_back_one_by_one(trained: Deployment) -> None:
    promoted = trained.succeed("promote", 3, *WHY)
    assert promoted.out == "version 3 scores from now on; before: 1\n"
    assert champion(trained) == 3
    trained.succeed("promote", 2, *WHY)
    assert trained.succeed("rollback", *WHY).out == "version 3 scores from now on; before: 2\n"
    assert trained.succeed("rollback", "--reason", "worse", "--by", "bob").out.startswith("version 1 scores")
    assert champion(trained) == 1
    history = [(version, before, by, why) for version, before, _, by, why in listed(trained)]
    assert history == [
        ("1", "3", "bob", "rolled back: worse"),
        ("3", "2", "ada", "rolled back: fewer false alerts"),
        ("2", "3", "ada", "fewer false alerts"),
        ("3", "1", "ada", "fewer false alerts"),
        ("1", "-", "pipeline", "there is no champion yet"),
    ]
    assert_refused(trained.run("rollback", *WHY), "no earlier champion", "promote a version or train")
    assert champion(trained) == 1


def test_what_is_not_there_is_not_promoted(trained: Deployment) -> None:
    assert_refused(trained.run("promote", 9, *WHY), "fraud_model", "9")
    assert trained.run("promote", 2, "--by", "ada").code == 2
    assert champion(trained) == 1


def test_a_damaged_version_is_not_promoted(trained: Deployment) -> None:
    files = list(Path(trained.settings.artefacts).rglob("model.json"))
    content = {file: file.read_bytes() for file in files}
    try:
        for file in files:
            file.write_bytes(content[file] + b" ")
        assert_refused(trained.run("promote", 2, *WHY), "do not match the digest")
    finally:
        for file in files:
            file.write_bytes(content[file])
    assert champion(trained) == 1


def test_without_a_model_the_list_says_what_to_do(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path / "home")
    assert "No model was promoted yet; train one with `fraud-pipeline train`." in deployment.succeed("models").out
    assert_refused(deployment.run("rollback", *WHY), "no earlier champion")
    assert "lake" not in str(files_of(deployment.home))


@pytest.mark.parametrize("command", ["backtest", "models", "promote", "rollback"])
def test_every_command_of_models_explains_itself(deployment: Deployment, command: str) -> None:
    assert f"fraud-pipeline {command}" in deployment.succeed(command, "--help").out
    assert files_of(deployment.home) == {}
