"""What cannot work is refused in one sentence with the remedy and exit code 2, without a trace, and nothing is left."""

import io
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from fraud_pipeline.adapters import clock
from fraud_pipeline.cli.runs import DAGSTER_YAML
from fraud_pipeline.orchestration.runs import open_instance
from fraud_pipeline_tests.cli.conftest import (
    FIRST_DAY,
    HISTORY,
    NIGHTS,
    Deployment,
    Result,
    Walk,
    assert_refused,
    files_of,
)
from fraud_pipeline_tests.conftest import libpq_url

PASSWORD = "pa55word"  # noqa: S105 - planted, to look for it in what is printed
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
    before = damaged.rows
    assert_refused(damaged.run(*arguments), f"{dataset} of {day} is damaged", "delete it and materialise it again")
    assert damaged.rows == before


def test_an_altered_model_file_is_never_scored_with(walk: Walk) -> None:
    before = walk.deployment.rows
    files = sorted((walk.deployment.home / "artefacts").rglob("estimator.skops"))
    content = files[0].read_bytes()
    try:
        files[0].write_bytes(content[:-1] + b"!")
        refused = walk.deployment.run("run", "--from", NIGHTS[0], "--to", NIGHTS[0])
    finally:
        files[0].write_bytes(content)
    assert_refused(refused, "do not match the digest", "train and register the model again")
    assert walk.deployment.rows == before


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


# PostgreSQL and MLflow


def assert_secret(deployment: Deployment, result: Result) -> None:
    """Check that the planted password is neither printed nor in any file that the command left."""
    assert PASSWORD not in result.out + result.err
    for path in deployment.home.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


def test_a_run_that_cannot_reach_postgresql(landed: Deployment) -> None:
    refused = landed.run("run", *RANGE)
    assert_refused(refused, "127.0.0.1:1/alerts cannot be reached", "FRAUD_PIPELINE_DATABASE_URL")
    assert_secret(landed, refused)
    assert not (landed.home / "lake" / "validated_transactions").exists()
    with open_instance(landed.settings, DAGSTER_YAML) as instance:
        (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.FAILURE


def test_a_migration_or_summary_that_cannot_reach_postgresql(walk: Walk, deployment: Deployment) -> None:
    assert_secret(deployment, refused := deployment.run("migrate"))
    assert_refused(refused, "127.0.0.1:1/alerts cannot be reached")
    unreachable = walk.deployment.with_variables(database_url=deployment.variables["FRAUD_PIPELINE_DATABASE_URL"])
    refused = unreachable.run("summary", "--from", NIGHTS[0], "--to", NIGHTS[1])
    assert_refused(refused, "127.0.0.1:1/alerts cannot be reached")
    assert PASSWORD not in refused.err
    assert refused.out == ""


def test_psql_that_cannot_connect(deployment: Deployment, capfd: pytest.CaptureFixture[str]) -> None:
    result = deployment.run("psql", "-c", "select 1")
    printed = capfd.readouterr()
    assert result.code == 2
    assert "port 1 failed" in printed.err
    assert PASSWORD not in printed.out + printed.err


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://analyst:{PASSWORD}@127.0.0.1/alerts",
        f"postgresql://analyst:{PASSWORD}@127.0.0.1:port/alerts",
        f"postgresql://analyst:{PASSWORD}@127.0.0.1:1/alerts?option_that_is_none=1",
        PASSWORD,
    ],
)
@pytest.mark.parametrize("command", [("migrate",), ("psql",), ("ui",)])
def test_a_database_url_that_is_none_is_not_repeated(
    deployment: Deployment, url: str, command: tuple[str, ...]
) -> None:
    refused = deployment.with_variables(database_url=url).run(*command)
    assert_refused(refused, "FRAUD_PIPELINE_DATABASE_URL is not the URL", "postgresql+psycopg://user:password@")
    assert_secret(deployment, refused)


@pytest.fixture
def unmigrated(postgres_server_url: str, landed: Deployment) -> Iterator[Deployment]:
    """Give a deployment whose database has no tables."""
    name = f"unmigrated_{os.getpid()}"
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = make_url(postgres_server_url).set(database=name).render_as_string(hide_password=False)
    yield landed.with_variables(database_url=url)
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_a_database_without_the_schema_is_never_migrated_unasked(unmigrated: Deployment, walk: Walk) -> None:
    behind = ("revision none", "run `fraud-pipeline migrate`")
    assert_refused(unmigrated.run("run", *RANGE), *behind)
    assert_refused(unmigrated.run("ui"), *behind)
    url = unmigrated.variables["FRAUD_PIPELINE_DATABASE_URL"]
    walked = walk.deployment.with_variables(database_url=url)
    assert_refused(walked.run("summary", "--from", NIGHTS[0], "--to", NIGHTS[1]), *behind)
    assert unmigrated.rows == {}


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (f"postgresql://analyst:{PASSWORD}@127.0.0.1:1/mlflow", ("analyst:***@127.0.0.1:1/mlflow", "can be reached")),
        (f"http://analyst:{PASSWORD}@127.0.0.1:1", ("analyst:***@127.0.0.1:1", "can be reached")),
        (f"ftp://{PASSWORD}", ("MLflow tracking URI cannot be used", "sqlite:///")),
    ],
)
def test_an_mlflow_that_cannot_be_reached(walk: Walk, deployment: Deployment, uri: str, words: tuple[str, ...]) -> None:
    reading = deployment.with_variables(mlflow_tracking_uri=uri, lake_root=walk.deployment.settings.lake)
    refused = reading.run("summary", "--from", NIGHTS[0], "--to", NIGHTS[1])
    assert_refused(refused, *words)
    assert_secret(deployment, refused)


# Folders


@pytest.mark.parametrize(
    "arguments",
    [("migrate",), ("psql",), ("train",), ("ui",), ("run", *RANGE), ("measure", *RANGE), ("summary", *RANGE)],
    ids=lambda arguments: str(arguments[0]),
)
def test_a_home_below_a_file(tmp_path: Path, arguments: tuple[object, ...]) -> None:
    (tmp_path / "file").write_text("")
    blocked = Deployment(tmp_path / "file" / "home", {"FRAUD_PIPELINE_UI_PORT": "48123"})
    assert_refused(blocked.run(*arguments), str(blocked.home), "Not a directory")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_stop_below_a_file_has_nothing_to_stop(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Deployment(tmp_path / "file" / "home").succeed("stop").out == "stopped: nothing was running\n"


@pytest.mark.parametrize("first_day", ["0001-01-01", "9999-12-31", "today"])
def test_a_simulation_of_no_real_days(deployment: Deployment, tmp_path: Path, first_day: str) -> None:
    assert_refused(deployment.run("simulate", tmp_path / "export", "--first-day", first_day), first_day, "; give ")
    assert files_of(tmp_path) == {}


def test_folders_that_cannot_be_written(walk: Walk, deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", Path("/proc/none")):
        refused = deployment.run("simulate", folder, "--days", 1, "--users", 5, "--merchants", 10)
        assert_refused(refused, f"{folder}/transactions", "cannot be written", "run again")
        landing = deployment.with_variables(landing_root=folder)
        refused = landing.run("ingest", walk.export, "--source", walk.export / "source.yaml")
        assert_refused(refused, f"{folder}/simulated", "run again")
    assert files_of(deployment.home) == {}


def test_a_root_that_is_no_storage(deployment: Deployment, walk: Walk) -> None:
    elsewhere = deployment.with_variables(landing_root="ftp://host/landing")
    refused = elsewhere.run("ingest", walk.export, "--source", walk.export / "source.yaml")
    assert_refused(refused, "'ftp://host/landing' is no storage root", "s3://bucket/prefix")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dagster.yaml", "telemetry: ["),
        ("dagster.yaml", "no_such_key: 1"),
        ("history", ""),
        ("history/runs.db", "no database"),
    ],
)
def test_a_damaged_dagster_instance(deployment: Deployment, name: str, content: str) -> None:
    path = deployment.home / "dagster" / name
    path.parent.mkdir(parents=True)
    (deployment.home / "dagster" / "dagster.yaml").write_bytes(DAGSTER_YAML.read_bytes())
    path.write_text(content)
    before = files_of(deployment.home / "dagster")
    refused = deployment.run("train")
    assert_refused(refused, f"{deployment.home}/dagster cannot be opened", "correct its dagster.yaml")
    assert before.items() <= files_of(deployment.home / "dagster").items()


def test_a_damaged_record_of_background_processes(deployment: Deployment) -> None:
    record = deployment.home / "processes" / "processes.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    for command in ("stop", "ui"):
        assert_refused(deployment.run(command), f"{record} cannot be read", "delete it")


# A full disk


def in_small_filesystem(folder: Path, kilobytes: int) -> list[str]:
    """Give the shell command that mounts a small file system, for itself alone; skips where that is not allowed."""
    command = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size={kilobytes}k none {folder} && "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:  # noqa: S603
        pytest.skip("mounting a file system is not allowed here")
    return command


def test_a_full_and_then_a_read_only_disk(landed: Deployment) -> None:
    landed.home.mkdir()
    script = f"""
        fraud-pipeline train; echo $?
        fraud-pipeline simulate {landed.home}/export --days 9 --users 300; echo $?
        find {landed.home} -name '.*.tmp' -o -name '*.csv' -size 0
        mount -o remount,size=64m {landed.home} && fraud-pipeline train; echo $?
        mount -o remount,ro {landed.home} && fraud-pipeline train; echo $?
    """
    full = subprocess.run(  # noqa: S603 - our own script
        [*in_small_filesystem(landed.home, 64), "sh", "-c", script],
        env=landed.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    first, second, third, fourth = full.stderr.splitlines()
    assert "database or disk is full" in first
    assert "free space" in first
    assert "No space left on device" in second
    assert "free space" in second
    assert "no day has features yet" in third, "the instance is as new once there is space"
    assert "unable to open database file" in fourth
    assert "make the folder writable" in fourth
    assert [line for line in full.stdout.splitlines() if line.isdigit()] == ["2", "2", "2", "2"]
    assert ".tmp" not in full.stdout
    assert ".csv" not in full.stdout


def test_a_file_that_may_not_grow(deployment: Deployment, tmp_path: Path) -> None:
    """The kernel refuses the write, as it does on a full disk or over a quota."""

    sizes = ("--days", 3, "--users", 200, "--merchants", 20)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, unlimited[1]))
    try:
        refused = deployment.run("simulate", tmp_path / "export", *sizes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert_refused(refused, "transactions_2025-03-01.csv cannot be written: File too large", "free space")
    assert files_of(tmp_path / "export") == {}


@pytest.mark.parametrize("way", ["in this process", "as a process"])
def test_an_output_that_is_full(deployment: Deployment, way: str) -> None:
    with Path("/dev/full").open("w") as full:
        run = deployment.process if way == "as a process" else deployment.run
        refused = run("stop", stdout=full)
    assert_refused(refused, "the output cannot be written: No space left on device", "free the disk")


def test_an_output_that_is_closed_is_no_fault_of_the_disk(deployment: Deployment) -> None:
    with Path("/dev/null").open() as only_to_read, pytest.raises(io.UnsupportedOperation):
        deployment.run("stop", stdout=only_to_read)


# Ctrl-C


def test_ctrl_c_ends_a_run_quietly_and_records_it_as_canceled(landed: Deployment, database_url: str) -> None:
    waiting = landed.with_variables(database_url=database_url)
    with psycopg.connect(libpq_url(database_url)) as session, psycopg.connect(libpq_url(database_url)) as other:
        session.execute("lock table transactions in access exclusive mode")
        process = waiting.start("run", "--from", HISTORY[0], "--to", HISTORY[0])
        blocked = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        deadline = time.monotonic() + 60
        while other.execute(blocked).fetchone() == (0,):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            other.commit()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == ""
    assert "Traceback" not in out
    with open_instance(waiting.settings, DAGSTER_YAML) as instance:
        (run,) = instance.get_runs()
        assert run.is_finished
    assert waiting.rows["transactions"] == []
