"""Migrate, psql, ui and stop."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import psutil
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from fraud_pipeline.adapters.processes import ProcessGroup
from fraud_pipeline_tests.cli.conftest import Deployment, assert_refused, files_of, rows_of
from fraud_pipeline_tests.conftest import libpq_url

SLEEP = ["sleep", "60"]


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(deployment: Deployment, database_url: str) -> Iterator[Deployment]:
    """Give a deployment with a database and a free port; what it started is stopped."""
    served = deployment.with_variables(database_url=database_url, ui_port=free_port())
    yield served
    served.run("stop")


def test_stop_without_anything_running_writes_nothing(deployment: Deployment) -> None:
    for _ in range(2):
        assert deployment.succeed("stop").out == "stopped: nothing was running\n"
    assert files_of(deployment.home) == {}


def test_stop_ends_what_was_started_and_ui_sees_that_it_runs(served: Deployment) -> None:
    group = ProcessGroup(served.home / "processes")
    pids = [group.start(name, SLEEP, {"PATH": os.defpath}, served.home / "log") for name in ("webserver", "daemon")]
    port = served.settings.ui_port
    assert served.succeed("ui").out == f"Dagster already runs at http://127.0.0.1:{port}\n"
    assert served.succeed("stop").out == "stopped: webserver, daemon\n"
    for pid in pids:
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert served.succeed("stop").out == "stopped: nothing was running\n"


def test_a_port_in_use_is_named_with_its_setting_and_nothing_is_started(served: Deployment) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", served.settings.ui_port))
        other.listen()
        refused = served.run("ui")
    assert_refused(refused, f"port {served.settings.ui_port} is in use", "FRAUD_PIPELINE_UI_PORT")
    assert files_of(served.home) == {}


def test_a_webserver_that_ends_at_once_is_reported_and_no_daemon_is_left(
    served: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = {"dagster-webserver": "echo no module >&2; exit 1", "dagster-daemon": "exec sleep 60"}
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert_refused(served.run("ui"), "ended before it answered", "logs/webserver.log")
    assert (served.home / "logs" / "webserver.log").read_text() == "no module\n"
    assert ProcessGroup(served.home / "processes").running() == {}


def test_ui_does_not_start_without_its_database(deployment: Deployment) -> None:
    refused = deployment.with_variables(ui_port=free_port()).run("ui")
    assert_refused(refused, "cannot be reached", "FRAUD_PIPELINE_DATABASE_URL")
    assert ProcessGroup(deployment.home / "processes").running() == {}


def test_ui_does_not_start_with_definitions_that_would_not_load(served: Deployment) -> None:
    refused = served.with_variables(training_cron="61 4 * * 0").run("ui")
    assert_refused(refused, "FRAUD_PIPELINE_TRAINING_CRON '61 4 * * 0'", "0 2 * * *")


def test_migrate_makes_the_tables_and_may_be_repeated(served: Deployment, postgres_server_url: str) -> None:
    name = f"migrated_{os.getpid()}"
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = make_url(postgres_server_url).set(database=name).render_as_string(hide_password=False)
    fresh = served.with_variables(database_url=url)
    try:
        for _ in range(2):
            assert fresh.succeed("migrate").out == "The database has the schema of this version.\n"
        assert rows_of(url).keys() == served.rows.keys()
    finally:
        with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
            session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_psql_hides_the_password_from_the_list_of_processes(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked with a psql of our own that writes down how it was called."""
    (tmp_path / "psql").write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\necho "$PGPASSWORD" > {tmp_path}/password\n'
    )
    (tmp_path / "psql").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert deployment.run("psql", "-c", "select 1").code == 0
    assert (tmp_path / "arguments").read_text() == "postgresql://analyst@127.0.0.1:1/alerts -c select 1\n"
    assert (tmp_path / "password").read_text() == "pa55word\n"


def test_psql_prints_the_answer_and_passes_on_its_exit_code(
    served: Deployment, capfd: pytest.CaptureFixture[str]
) -> None:
    assert served.run("psql", "-c", "select 1").code == 0
    assert capfd.readouterr().out.split() == ["?column?", "----------", "1", "(1", "row)"]
    assert served.run("psql", "-c", "select nothing").code == 1
    assert 'column "nothing" does not exist' in capfd.readouterr().err


def test_without_psql_the_command_says_what_to_install(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("fraud_pipeline.adapters.database.embedded.EmbeddedPostgres.psql_path", None)
    assert_refused(deployment.run("psql"), "psql is not installed", "install PostgreSQL's client")


@pytest.mark.e2e
def test_ui_answers_and_stop_leaves_no_process(quick_home: Path) -> None:
    deployment = Deployment(quick_home, {"FRAUD_PIPELINE_UI_PORT": str(free_port())})
    url = f"http://127.0.0.1:{deployment.settings.ui_port}"
    try:
        started = deployment.process("ui")
        assert started.code == 0, started.err
        assert url in started.out
        with build_opener(ProxyHandler({})).open(f"{url}/server_info", timeout=10) as answer:
            assert answer.status == 200
        assert deployment.process("ui").out == f"Dagster already runs at {url}\n"
        assert ours(quick_home)
    finally:
        stopped = deployment.process("stop")
    assert stopped.out == "stopped: webserver, daemon, postgres\n"
    assert deployment.process("stop").out == "stopped: nothing was running\n"
    deadline = time.monotonic() + 10
    while ours(quick_home) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ours(quick_home) == []


def ours(home: Path) -> list[str]:
    """Command lines of all processes that have to do with this folder: by argument, environment or open file."""
    found = []
    for process in psutil.process_iter():
        try:
            about = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(home) in part for part in about):
            found.append(" ".join(process.cmdline()))
    return found


@pytest.fixture
def quick_home(quick_disk: Path) -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory(dir=quick_disk, ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "home"
