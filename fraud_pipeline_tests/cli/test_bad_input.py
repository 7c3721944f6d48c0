"""What cannot work is refused in one sentence with the remedy and exit code 2, without a trace, and nothing is left."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from fraud_pipeline.adapters import clock
from fraud_pipeline_tests.cli.conftest import (
    FIRST_DAY,
    HISTORY,
    NIGHTS,
    Deployment,
    Walk,
    assert_refused,
    files_of,
)

ONE_DAY = timedelta(days=1)
RANGE = ("--from", HISTORY[0], "--to", HISTORY[1])


def windows(train: str, calibrate: str, *more: str) -> tuple[str, ...]:
    return ("train", "--train", train, "--calibrate", calibrate, *more)


# Days


@pytest.mark.parametrize("command", ["run", "measure", "summary"])
@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (FIRST_DAY - ONE_DAY, FIRST_DAY, ("before the first day", f"FRAUD_PIPELINE_FIRST_DAY={FIRST_DAY - ONE_DAY}")),
        (HISTORY[1], HISTORY[0], ("is after", "give the earlier day first")),
        (FIRST_DAY, "2025-02-30", ("'2025-02-30' is not a day", "YYYY-MM-DD")),
        (FIRST_DAY, "9999-12-31", ("9999-12-31 is out of range", "1970 to 2199")),
        ("yesterday", FIRST_DAY, ("'yesterday' is not a day", "YYYY-MM-DD")),
    ],
)
def test_a_day_that_is_none_of_the_deployment(
    deployment: Deployment, command: str, first: object, last: object, words: tuple[str, ...]
) -> None:
    assert_refused(deployment.run(command, "--from", first, "--to", last), *words)
    assert files_of(deployment.home) == {}


@pytest.mark.parametrize("command", ["run", "measure", "summary"])
def test_a_day_that_is_not_over(deployment: Deployment, command: str) -> None:
    today = clock.today("UTC")
    refused = deployment.run(command, "--from", FIRST_DAY, "--to", today)
    assert_refused(refused, f"{today} is not over yet", f"newest day that can be run is {today - ONE_DAY}")
    assert files_of(deployment.home) == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (windows("2025-03-01:2025-03-05", "2025-03-05:2025-03-09"), ("must follow one another", "train before")),
        (windows("2025-03-05:2025-03-01", "2025-03-06:2025-03-09"), ("runs backwards",)),
        (windows("2025-03-01", "2025-03-06:2025-03-09"), ("not a window", "FROM:TO")),
        (windows("2025-03-01:today", "2025-03-06:2025-03-09"), ("'today' is not a day",)),
        (windows("2025-02-20:2025-03-05", "2025-03-06:2025-03-09"), ("before the first day 2025-03-01",)),
        (windows("2025-03-01:2025-03-05", "2025-03-06:2199-01-01"), ("2199-01-01 is not over yet",)),
        (windows("2025-03-01:2025-03-05", "2025-03-06:2025-03-09", "--as-of", "2199-01-01"), ("in the future",)),
        (windows("2025-03-01:2025-03-05", "2025-03-06:2025-03-09", "--as-of", "2025-03-08"), ("as of 2025-03-08",)),
        (("train", "--train", "2025-03-01:2025-03-05"), ("give both --train and --calibrate",)),
        (("train", "--as-of", "2025-03-05"), ("--as-of needs --train and --calibrate",)),
    ],
)
def test_training_windows_that_make_no_sense(
    deployment: Deployment, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_refused(deployment.run(*arguments), *words)
    assert files_of(deployment.home) == {}


def test_training_without_history(deployment: Deployment) -> None:
    assert_refused(deployment.run("train"), "no day has features yet", "fraud-pipeline run")
    given = windows("2025-03-01:2025-03-05", "2025-03-06:2025-03-09")
    assert_refused(deployment.run(*given), "no day from 2025-03-01 to 2025-03-05 has features", "fraud-pipeline run")
    assert not (deployment.home / "artefacts").exists()


def test_a_history_too_short_to_train_on(walk: Walk, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path / "home").with_variables(lake_root=tmp_path / "lake")
    for dataset in ("transaction_features", "fraud_labels"):
        (tmp_path / "lake" / dataset).mkdir(parents=True)
        for day in HISTORY[:9]:
            shutil.copy(Path(walk.deployment.settings.lake) / dataset / f"{day}.parquet", tmp_path / "lake" / dataset)
    assert_refused(deployment.run("train"), "no day left to train on", "wait for more history")


def test_a_run_without_landed_files(deployment: Deployment, landed: Deployment) -> None:
    assert_refused(deployment.run("run", *RANGE), f"{HISTORY[0]} (and 1 more)", "fraud-pipeline ingest")
    after = NIGHTS[-1] + ONE_DAY
    refused = landed.run("run", "--from", NIGHTS[-1], "--to", after)
    assert_refused(refused, f"no transaction file for {after} in", "fraud-pipeline ingest")
    assert files_of(deployment.home) == {}


def test_measuring_what_was_not_scored(walk: Walk, deployment: Deployment) -> None:
    with_history = deployment.with_variables(lake_root=walk.deployment.settings.lake)
    refused = with_history.run("measure", "--from", HISTORY[-1], "--to", NIGHTS[-1])
    assert_refused(refused, f"{HISTORY[-1]} has no scores", f"run --from {HISTORY[-1]} --to {HISTORY[-1]}")
    assert files_of(deployment.home) == {}


# Files


def spoilt(walk: Walk, folder: Path, name: str, content: bytes) -> Path:
    """Copy the export and spoil one file of it."""
    shutil.copytree(walk.export, folder)
    (folder / name).write_bytes(content)
    return folder


FILE = f"transactions/transactions_{HISTORY[3]}.csv"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (FILE, b"", ("transactions_2025-03-04.csv is empty", "delivered again")),
        (FILE, b"transaction_id,user\n1,2\n", ("no column 'user_id'", "columns.user_id")),
        (FILE, b"transaction_id,user_id,merchant_id,event_time,amount\n1,2\n", ("row 1", "check delimiter")),
        (FILE, b"\xff\xfe\x00", ("transactions_2025-03-04.csv, line 1", "set the encoding")),
        ("transactions/no_day.csv", b"x", ("no_day.csv: no day in the name", "rename the file")),
        ("transactions/t_2024-12-31.csv", b"x", ("before the first day", "FRAUD_PIPELINE_FIRST_DAY")),
        ("labels/labels_2025-03-04.csv", b"transaction_id,is_fraud,label_known_at\nt1,maybe,2025-03-04T00:00:00Z\n",
         ("row 1, column 'is_fraud': 'maybe'", "labels.true_values")),
        ("source.yaml", b"name: [", ("source.yaml is not readable YAML", "Correct the file")),
        ("source.yaml", b"name: bank\ncurency: EUR\n", ("curency is not a known key", "currency is missing")),
        ("source.yaml", b"\x80", ("source.yaml is not readable YAML",)),
    ],
)  # fmt: skip
def test_a_delivery_that_cannot_be_used_is_refused_whole(
    walk: Walk, deployment: Deployment, tmp_path: Path, name: str, content: bytes, words: tuple[str, ...]
) -> None:
    folder = spoilt(walk, tmp_path / "export", name, content)
    assert_refused(deployment.run("ingest", folder, "--source", folder / "source.yaml"), *words)
    assert files_of(deployment.home) == {}


def test_a_delivery_that_is_missing_or_in_another_currency(walk: Walk, deployment: Deployment, tmp_path: Path) -> None:
    source = ("--source", walk.export / "source.yaml")
    assert_refused(deployment.run("ingest", tmp_path / "none", *source), "none does not exist", "give the folder")
    assert_refused(deployment.run("ingest", walk.export, "--source", tmp_path / "none.yaml"), "No such file")
    assert_refused(deployment.run("ingest", walk.export, "--source", tmp_path), "Is a directory")
    (tmp_path / "empty").mkdir()
    assert_refused(deployment.run("ingest", tmp_path / "empty", *source), "nothing matches", "check the path")
    swiss = deployment.with_variables(currency="CHF")
    assert_refused(swiss.run("ingest", walk.export, *source), "delivers EUR", "FRAUD_PIPELINE_CURRENCY")
    assert files_of(deployment.home) == {}


def test_a_landed_description_that_was_damaged(landed: Deployment, tmp_path: Path) -> None:
    shutil.copytree(landed.settings.landing, tmp_path / "landing")
    (tmp_path / "landing" / "simulated" / "source.yaml").write_text("name: {")
    damaged = landed.with_variables(landing_root=tmp_path / "landing")
    assert_refused(damaged.run("run", *RANGE), "simulated/source.yaml is not readable YAML")


@pytest.fixture
def damaged(walk: Walk, tmp_path: Path) -> Deployment:
    """Give the walked deployment with a copy of its lake to damage."""
    shutil.copytree(walk.deployment.settings.lake, tmp_path / "lake")
    return walk.deployment.with_variables(lake_root=tmp_path / "lake")


@pytest.mark.parametrize(
    ("dataset", "day", "arguments"),
    [
        ("validated_transactions", HISTORY[2], ("summary", "--from", NIGHTS[0], "--to", NIGHTS[1])),
        ("anomaly_scores", NIGHTS[1], ("summary", "--from", NIGHTS[0], "--to", NIGHTS[1])),
        ("fraud_labels", NIGHTS[1], ("summary", "--from", NIGHTS[0], "--to", NIGHTS[1])),
        ("user_daily_activity", HISTORY[2], ("run", "--nightly", "--from", NIGHTS[0], "--to", NIGHTS[1])),
        ("anomaly_scores", NIGHTS[0], ("measure", "--from", NIGHTS[0], "--to", NIGHTS[1])),
        ("transaction_features", HISTORY[10], ("train",)),
    ],
)
def test_a_damaged_file_of_the_lake_is_named_and_the_database_stays_as_it_is(
    damaged: Deployment, tmp_path: Path, dataset: str, day: object, arguments: tuple[object, ...]
) -> None:
    file = tmp_path / "lake" / dataset / f"{day}.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    before = damaged.content
    assert_refused(damaged.run(*arguments), f"{dataset} of {day} is damaged", "delete it and materialise it again")
    assert damaged.content == before


def test_an_altered_model_file_is_never_scored_with(walk: Walk) -> None:
    before = walk.deployment.content
    files = sorted((walk.deployment.home / "artefacts").rglob("estimator.skops"))
    content = files[0].read_bytes()
    try:
        files[0].write_bytes(content[:-1] + b"!")
        refused = walk.deployment.run("run", "--from", NIGHTS[0], "--to", NIGHTS[0])
    finally:
        files[0].write_bytes(content)
    assert_refused(refused, "do not match the digest", "train and register the model again")
    assert walk.deployment.content == before


# Settings


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("time_zone", "Europe", ("is not an IANA time zone",)),
        ("detector_features", "amount", ("JSON list",)),
        ("label_maturity_days", "soon", ("valid integer",)),
    ],
)
def test_a_bad_setting_is_named_by_its_variable(
    deployment: Deployment, variable: str, value: str, words: tuple[str, ...]
) -> None:
    refused = deployment.with_variables(**{variable: value}).run("run", *RANGE)
    assert_refused(refused, f"FRAUD_PIPELINE_{variable.upper()}", "correct it in the environment", *words)
    assert files_of(deployment.home) == {}


@pytest.mark.parametrize("variable", ["nightly_cron", "training_cron"])
def test_a_schedule_that_is_none_is_refused_before_anything_runs(landed: Deployment, variable: str) -> None:
    refused = landed.with_variables(**{variable: "at night"}).run("run", *RANGE)
    assert_refused(refused, f"FRAUD_PIPELINE_{variable.upper()} 'at night'", "five fields")
    assert files_of(landed.home) == {}


def test_a_setting_is_checked_by_the_installed_command(deployment: Deployment) -> None:
    refused = deployment.with_variables(ui_port=0).process("ui")
    assert_refused(refused, "FRAUD_PIPELINE_UI_PORT")
    assert refused.out == ""


def test_mistyped_commands_and_options_leave_with_2(deployment: Deployment) -> None:
    for arguments in (("runn",), ("run",), ("run", "--form", "x"), ("simulate", "x", "--users", "0")):
        result = deployment.run(*arguments)
        assert result.code == 2
        assert "Traceback" not in result.err
        assert "Try 'fraud-pipeline" in result.err
