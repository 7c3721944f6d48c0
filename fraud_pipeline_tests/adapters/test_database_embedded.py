import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import text

from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.core.errors import DatabaseError

PROGRAM = (
    "import sys; from pathlib import Path; from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres as E;"
    "server = E(Path(sys.argv[1])); server.start(); print(server.url('shared'))"
)


@pytest.fixture(scope="module")
def server(quick_disk: Path) -> Iterator[EmbeddedPostgres]:
    """Give a server of its own, whose folder has a path too long for a socket, with a blank and a comma."""
    with tempfile.TemporaryDirectory(dir=quick_disk, ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder) / ("long path, " + "x" * 100) / "postgres")
        server.start()
        yield server
        server.stop()


def start_in_another_process(server: EmbeddedPostgres) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, str(server.data_dir)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own interpreter


def server_process(server: EmbeddedPostgres) -> int:
    return int((server.data_dir / "pgdata" / "postmaster.pid").read_text().splitlines()[0])


def test_long_folder_works_and_its_socket_is_closed_to_other_users(server: EmbeddedPostgres) -> None:
    database = Database(server.url("long"))
    with database.begin() as connection:
        assert connection.execute(text("SELECT current_database()")).scalar_one() == "long"
        socket_folder = Path(connection.execute(text("SHOW unix_socket_directories")).scalar_one())
        assert connection.execute(text("SHOW listen_addresses")).scalar_one() == ""
    database.dispose()
    assert len(str(socket_folder)) < 90
    assert socket_folder.stat().st_mode & 0o077 == 0


def test_a_server_whose_folder_was_deleted_is_ended_before_a_new_one_starts(quick_disk: Path) -> None:
    with tempfile.TemporaryDirectory(dir=quick_disk, ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.start()
        orphan = server_process(server)
        shutil.rmtree(server.data_dir)
        server.start()
        try:
            assert server_process(server) != orphan
            assert not psutil.pid_exists(orphan)
            with psycopg.connect(server.url("fresh").replace("+psycopg", "", 1)) as session:
                assert session.execute("select 1").fetchone() == (1,)
        finally:
            server.stop()


def test_url_creates_a_database_once_and_keeps_its_rows(server: EmbeddedPostgres) -> None:
    for _ in range(2):
        database = Database(server.url("my data"))
        with database.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS kept (n int)"))
            connection.execute(text("INSERT INTO kept VALUES (1)"))
            rows = connection.execute(text("SELECT count(*) FROM kept")).scalar_one()
        database.dispose()
    assert rows == 2


def test_several_processes_start_it_at_once_and_it_outlives_them(server: EmbeddedPostgres) -> None:
    server.stop()
    assert not server.is_running()
    others = [start_in_another_process(server) for _ in range(3)]
    urls = {other.communicate(timeout=60)[0].strip() for other in others}
    assert [other.returncode for other in others] == [0, 0, 0]
    assert urls == {server.url("shared")}
    before = server_process(server)
    server.start()
    assert server_process(server) == before


def test_stopped_server_starts_again_with_its_data(server: EmbeddedPostgres) -> None:
    database = Database(server.url("restarted"))
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE kept AS SELECT 42 AS n"))
    server.stop()
    server.stop()
    with pytest.raises(DatabaseError, match=r"postgres does not run: start it first"):
        server.url("restarted")
    with pytest.raises(DatabaseError, match="restarted cannot be reached"), database.begin():
        pass
    server.start()
    with database.begin() as connection:
        assert connection.execute(text("SELECT n FROM kept")).scalar_one() == 42
    database.dispose()


def test_killed_server_starts_although_another_process_has_its_number_now(server: EmbeddedPostgres) -> None:
    pid_file = server.data_dir / "pgdata" / "postmaster.pid"
    owner = pid_file.stat().st_uid
    number, *rest = pid_file.read_text().splitlines()
    socket_lock = Path(rest[3]) / ".s.PGSQL.5432.lock"
    left_over = {pid_file: pid_file.read_text(), socket_lock: socket_lock.read_text()}
    server.stop()
    socket_lock.parent.mkdir(mode=0o700)
    os.chown(socket_lock.parent, owner, -1)
    other = subprocess.Popen(["/bin/sleep", "60"], user=owner if os.geteuid() == 0 else None)
    try:
        for path, lines in left_over.items():
            path.write_text(lines.replace(number, str(other.pid), 1))
        assert not server.is_running()
        server.start()
        assert server.is_running()
    finally:
        other.kill()
        other.wait()


def test_server_that_was_killed_recovers(server: EmbeddedPostgres) -> None:
    os.kill(server_process(server), signal.SIGKILL)
    server.start()
    psycopg.connect(server.url("postgres").replace("+psycopg", "")).close()


def test_psql_of_the_server_talks_to_it(server: EmbeddedPostgres) -> None:
    psql = server.psql_path
    assert psql is not None
    uri = server.url("postgres").replace("+psycopg", "")
    shown = subprocess.run([str(psql), uri, "-Atc", "SELECT 6 * 7"], capture_output=True, text=True, check=True)  # noqa: S603 - of our wheel
    assert shown.stdout == "42\n"


def test_database_that_cannot_be_made_is_explained(server: EmbeddedPostgres) -> None:
    with pytest.raises(DatabaseError, match="cannot provide the database"):
        server.url("")


def test_cluster_of_another_version_is_explained(server: EmbeddedPostgres) -> None:
    version_file = server.data_dir / "pgdata" / "PG_VERSION"
    version = version_file.read_text()
    server.stop()
    version_file.write_text("9\n")
    try:
        with pytest.raises(DatabaseError, match=r"cannot start: FATAL:.*incompatible.*version 9"):
            server.start()
    finally:
        version_file.write_text(version)
        server.start()


def test_folder_that_cannot_be_made_is_explained_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match=r"file/postgres cannot start: .*Choose a writable folder.*DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "file" / "postgres").start()


def test_file_in_the_place_of_the_cluster_is_explained(tmp_path: Path) -> None:
    (tmp_path / "pgdata").touch()
    with pytest.raises(DatabaseError, match="cannot start"):
        EmbeddedPostgres(tmp_path).start()


def test_set_up_that_fails_leaves_no_half_made_cluster(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    (tmp_path / "pgdata.new").mkdir()
    (tmp_path / "pgdata.new" / "cut short").touch()
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); " + PROGRAM
    )  # stands in for a full disk
    done = subprocess.run([sys.executable, "-c", limited, str(tmp_path)], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert "DatabaseError: The embedded PostgreSQL in" in done.stderr
    assert "cannot be set up" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".postgres.lock"]
    assert not server.is_running()
    with pytest.raises(DatabaseError, match="does not run"):
        server.url("postgres")


def test_paths_that_are_all_too_long_ask_for_a_shorter_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(DatabaseError, match=r"too long for a Unix socket.*choose a data folder with a shorter path"):
        EmbeddedPostgres(long / "postgres").start()


def test_socket_folder_of_a_stranger_is_not_used(server: EmbeddedPostgres) -> None:
    folder = Path(server.url("postgres").partition("host=")[2].partition("&")[0].replace("%2F", "/"))
    server.stop()
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(DatabaseError, match="should be a private folder of the server: remove it"):
        server.start()
    folder.rmdir()
    server.start()
    assert server.is_running()
    psycopg.connect(server.url("postgres").replace("+psycopg", "")).close()
