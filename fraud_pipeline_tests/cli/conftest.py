"""The command as it is typed, in this process or as one of its own, and a small deployment that was walked through."""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import IO, LiteralString

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.cli import main
from fraud_pipeline.cli.console import console
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.conftest import libpq_url

COMMAND = Path(sys.executable).with_name("fraud-pipeline")
FIRST_DAY = date(2025, 3, 1)
"""Long over on any machine that runs these tests."""
HISTORY = [FIRST_DAY + timedelta(days=n) for n in range(13)]
NIGHTS = [FIRST_DAY + timedelta(days=n) for n in range(13, 15)]
LABEL_DAYS = 5
VARIABLES = {
    "FRAUD_PIPELINE_FIRST_DAY": str(FIRST_DAY),
    "FRAUD_PIPELINE_LABEL_MATURITY_DAYS": "1",
    "FRAUD_PIPELINE_CALIBRATION_DAYS": "3",
    "FRAUD_PIPELINE_TRAINING_DAYS": "2",
    "FRAUD_PIPELINE_ISOLATION_FOREST_TREES": "20",
    "FRAUD_PIPELINE_LOF_NEIGHBOURS": "20",
    "FRAUD_PIPELINE_LOF_REFERENCE_ROWS": "300",
    "FRAUD_PIPELINE_FEEDBACK_ROUNDS": "30",
}
"""Models that train in a second."""

Rows = dict[str, list[tuple[object, ...]]]


@dataclass(frozen=True)
class Result:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def following(self) -> list[str]:
        """The arguments of the command that it recommends."""
        return self.out.rpartition("next: fraud-pipeline ")[2].split()


@dataclass(frozen=True)
class Deployment:
    """One set of environment variables; nothing of the caller's configuration reaches it.

    Parameters
    ----------
    home
        ``FRAUD_PIPELINE_HOME``.
    variables
        Others, on top of `VARIABLES`.
    """

    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def with_variables(self, **variables: object) -> "Deployment":
        """Give the same deployment with more settings, named without their prefix."""
        added = {f"FRAUD_PIPELINE_{name.upper()}": str(value) for name, value in variables.items()}
        return replace(self, variables={**self.variables, **added})

    def run(self, *arguments: object, stdout: IO[str] | None = None) -> Result:
        """Run the command in this process."""
        out, err = StringIO(), StringIO()
        with redirect_stdout(StringIO()):
            console.print(end="")  # what an earlier command could not print to a stream that was closed
        with (
            configured(self.home, self.variables) as patch,
            levels_kept(),
            redirect_stdout(stdout or out),
            redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", ["fraud-pipeline", *map(str, arguments)])
            with pytest.raises(SystemExit) as left:
                main()
        return Result(int(left.value.code or 0), out.getvalue(), err.getvalue())

    def succeed(self, *arguments: object) -> Result:
        """Run the command in this process to its success."""
        result = self.run(*arguments)
        assert result.code == 0, result.out + result.err
        return result

    def start(self, *arguments: object, stdout: int | IO[str] = subprocess.PIPE) -> "subprocess.Popen[str]":
        """Start the installed command as a process of its own."""
        return subprocess.Popen(  # noqa: S603 - our own command
            [COMMAND, *map(str, arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def process(self, *arguments: object, stdout: int | IO[str] = subprocess.PIPE) -> Result:
        """Run the installed command as a process of its own."""
        process = self.start(*arguments, stdout=stdout)
        out, err = process.communicate(timeout=120)
        return Result(process.returncode, out or "", err)

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of its processes."""
        basic = {"PATH": f"{COMMAND.parent}:{os.defpath}", "HOME": str(self.home), "LANG": "C.UTF-8"}
        return {**basic, "FRAUD_PIPELINE_HOME": str(self.home), **VARIABLES, **self.variables}

    @property
    def settings(self) -> Settings:
        """Its settings."""
        with configured(self.home, self.variables):
            return Settings.from_env()

    @property
    def lake(self) -> Lake:
        """Its lake."""
        return Lake(self.settings.lake)

    @property
    def rows(self) -> Rows:
        """All rows of all tables of its database."""
        url = self.settings.database_url
        assert url is not None
        return rows_of(url.get_secret_value())

    @property
    def content(self) -> Rows:
        """The same without which runs wrote them and when figures were computed.

        A run that fails later has written the first tables of its days again.
        """
        url = self.settings.database_url
        assert url is not None
        rows = _rows(
            url.get_secret_value(), "select to_jsonb(each) - '{{run_id,computed_as_of}}'::text[] from {} as each"
        )
        return {name: rows[name] for name in rows if name != "pipeline_runs"}


@contextmanager
def configured(home: Path, variables: Mapping[str, str]) -> Iterator[pytest.MonkeyPatch]:
    """Set exactly these settings in the environment of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        for name in Settings.model_fields:
            patch.delenv(f"FRAUD_PIPELINE_{name.upper()}", raising=False)
        for name, value in {**VARIABLES, "FRAUD_PIPELINE_HOME": str(home), **variables}.items():
            patch.setenv(name, value)
        yield patch


@contextmanager
def levels_kept() -> Iterator[None]:
    """Undo that a command quietens libraries: other tests in this process look at their logs."""
    loggers = [logging.getLogger(name) for name in ("dagster", "mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def rows_of(url: str) -> Rows:
    """Read all rows of all tables of a database."""
    return _rows(url, "select * from {}")


def _rows(url: str, statement: LiteralString) -> Rows:
    with psycopg.connect(libpq_url(url)) as session:
        tables = session.execute("select tablename from pg_tables where schemaname = 'public' order by 1").fetchall()
        return {
            name: sorted(session.execute(sql.SQL(statement).format(sql.Identifier(name))).fetchall(), key=repr)
            for (name,) in tables
        }


def files_of(folder: Path) -> dict[str, str]:
    """Digest of each file below a folder; a missing folder has none."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assert_refused(result: Result, *words: str) -> None:
    """Check that a command said in one sentence what is wrong and what to do, and left with 2."""
    assert result.code == 2, result
    assert "Traceback" not in result.out + result.err
    assert result.err.startswith("error: "), result.err
    assert result.err.count("\n") == 1, result.err
    for word in words:
        assert word in result.err


@pytest.fixture(scope="session")
def postgres_database(postgres_server_url: str) -> Iterator[str]:
    """URL of an empty database without any table, for the whole session."""
    name = f"walk_{uuid.uuid4().hex}"
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield make_url(postgres_server_url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def shared_folder(quick_disk: Path) -> Iterator[Path]:
    """Folder for what several tests read."""
    with tempfile.TemporaryDirectory(dir=quick_disk, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Walk:
    """A deployment after the walk from simulated files to measured alerts, and what each command printed."""

    deployment: Deployment
    export: Path
    printed: Mapping[str, Result]


@pytest.fixture(scope="session")
def walk(shared_folder: Path, postgres_database: str) -> Walk:
    """Walk through all commands, as a user does; tests only read what it left."""
    export = shared_folder / "export"
    deployment = Deployment(shared_folder / "walked", {"FRAUD_PIPELINE_DATABASE_URL": postgres_database})
    options = {"users": 120, "merchants": 50, "fraud-rate": 0.03, "seed": 5, "label-days": LABEL_DAYS}
    sizes = [part for name, value in options.items() for part in (f"--{name}", value)]
    history = ("--from", HISTORY[0], "--to", HISTORY[-1])
    nights = ("--from", NIGHTS[0], "--to", NIGHTS[-1])
    printed = {
        "migrate": deployment.succeed("migrate"),
        "simulate": deployment.succeed("simulate", export, "--days", len(HISTORY + NIGHTS), *sizes),
    }
    printed["ingest"] = deployment.succeed(*printed["simulate"].following)
    printed["run"] = deployment.succeed("run", *history)
    printed["summary without a model"] = deployment.succeed("summary", *history)
    printed["train"] = deployment.succeed(*printed["run"].following)
    printed["nightly"] = deployment.succeed("run", "--nightly", *nights)
    printed["measure"] = deployment.succeed("measure", *nights)
    printed["summary"] = deployment.succeed(*printed["measure"].following)
    return Walk(deployment, export, printed)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """Give a deployment with nothing in it, whose database cannot be reached."""
    url = "postgresql://analyst:pa55word@127.0.0.1:1/alerts"
    return Deployment(tmp_path / "home", {"FRAUD_PIPELINE_DATABASE_URL": url})


@pytest.fixture
def landed(deployment: Deployment, walk: Walk) -> Deployment:
    """Give a deployment with the landed files of the walk and nothing else."""
    return deployment.with_variables(landing_root=walk.deployment.home / "landing")
