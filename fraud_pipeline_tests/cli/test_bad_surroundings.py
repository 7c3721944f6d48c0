"""Surroundings that do not play along: servers, folders, a full disk, Ctrl-C. One sentence, no trace, nothing left."""

import io
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from fraud_pipeline.cli.runs import DAGSTER_YAML
from fraud_pipeline.orchestration.runs import open_instance
from fraud_pipeline_tests.cli.conftest import HISTORY, NIGHTS, Deployment, Result, Walk, assert_refused, files_of
from fraud_pipeline_tests.conftest import libpq_url

PASSWORD = "pa55word"  # noqa: S105 - planted, to look for it in what is printed
RANGE = ("--from", HISTORY[0], "--to", HISTORY[1])


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
        assert_refused(refused, str(folder), "run again")
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
    simulate = f"fraud-pipeline simulate {landed.home}/export --days 9 --users 300"
    script = f"""
        fraud-pipeline train; echo $?
        {simulate}; echo $?
        find {landed.home} -name '.*.tmp' -o -name '*.csv' -size 0
        mount -o remount,size=64m {landed.home} && fraud-pipeline train; echo $?
        mount -o remount,ro {landed.home} && {simulate}; echo $?
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
    assert "disk with space" in first
    assert "No space left on device" in second
    assert "free space" in second
    assert "no day has features yet" in third, "the instance is as new once there is space"
    assert "Read-only file system" in fourth
    assert ".csv cannot be written" in fourth
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
