"""A small trained deployment, and servers that answer on loopback."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import httpx
import psycopg
import pytest
import uvicorn
from psycopg import sql

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.api.app import create_app
from fraud_pipeline.cli.data import ingest_path, write_simulation
from fraud_pipeline.connections import open_model_store
from fraud_pipeline.core.simulation import SimulationConfig
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.jobs import PREPARE, SCORE, TRAIN
from fraud_pipeline.orchestration.runs import Runner
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.conftest import TEMPLATE, libpq_url

FIRST_DAY = date(2026, 1, 1)
PREPARED_DAYS = 21
SCORED_DAYS = 3
"""The last ones; the others are history alone."""


def day(number: int) -> date:
    """Give the n-th day of the deployment, from 0."""
    return FIRST_DAY + timedelta(days=number)


def small_settings(home: Path, database_url: str, **overrides: object) -> Settings:
    """Settings that train in seconds; data of any age are fresh enough."""
    small = {
        "first_day": FIRST_DAY,
        "label_maturity_days": 3,
        "calibration_days": 4,
        "training_days": 7,
        "isolation_forest_trees": 10,
        "lof_reference_rows": 200,
        "lof_neighbours": 10,
        "feedback_rounds": 10,
        "api_max_age_days": 100_000,
    }
    return Settings.from_env(home=home, database_url=database_url, **(small | overrides))


@dataclass(frozen=True)
class Trained:
    """Home folder of a trained deployment, and the database that tests copy."""

    home: Path
    template: str


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, postgres_server_url: str) -> Trained:
    """Three weeks of a small simulated export: a champion, and alerts of the last nights."""
    home, name = tmp_path_factory.mktemp("trained"), f"trained_{uuid.uuid4().hex}"
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        _copy_database(session, name, TEMPLATE)
    settings = small_settings(home, postgres_server_url.replace("/postgres?", f"/{name}?"))
    config = SimulationConfig(users=60, merchants=30, first_day=FIRST_DAY, seed=3, fraud_rate=0.03)
    write_simulation(home / "export", config, PREPARED_DAYS, 5, settings.currency)
    ingest_path(settings, home / "export", home / "export" / "source.yaml")
    with dg.DagsterInstance.ephemeral() as instance:
        runner = Runner(build_definitions(settings), instance)
        runner.run_range(PREPARE, day(0), day(PREPARED_DAYS - 1))
        runner.run_once(TRAIN, {})
        runner.run_range(SCORE, day(PREPARED_DAYS - SCORED_DAYS), day(PREPARED_DAYS - 1))
    return Trained(home, name)


@pytest.fixture
def trained_settings(trained: Trained, postgres_server_url: str) -> Iterator[Settings]:
    """Settings of the trained deployment with a database of the test's own; registry and lake are shared."""
    name = f"api_{uuid.uuid4().hex}"
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        _copy_database(session, name, trained.template)
    yield small_settings(trained.home, postgres_server_url.replace("/postgres?", f"/{name}?"))
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model registry without models: MLflow takes seconds to make one."""
    home = tmp_path_factory.mktemp("empty_registry")
    settings = small_settings(home, "postgresql://nobody@localhost/none")
    assert open_model_store(settings).champion_card() is None
    return settings.tracking_uri


@pytest.fixture
def settings(tmp_path: Path, database_url: str, empty_registry: str) -> Settings:
    """Settings of a deployment with a fresh database: no rows, no model."""
    return small_settings(tmp_path, database_url, mlflow_tracking_uri=empty_registry)


Serve = Callable[..., httpx.Client]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve settings and give a client; all servers end with the test."""
    with ExitStack() as stack:
        yield lambda settings, key=None: stack.enter_context(served(settings, key))


@contextmanager
def served(settings: Settings, key: str | None = None) -> Iterator[httpx.Client]:
    """Serve settings in a thread, on a free port, until the end of the block."""
    config = uvicorn.Config(create_app(settings), port=0, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start; the log says why")
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def wait_for_model(client: httpx.Client, seconds: float = 90) -> None:
    """Wait until a server has loaded its model."""
    deadline = time.monotonic() + seconds
    while client.get("/models/info").status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def client(settings: Settings, serve: Serve) -> httpx.Client:
    """Client of a server with a fresh database and no keys."""
    return serve(settings)


@pytest.fixture
def database_of() -> Iterator[Callable[[Settings], Database]]:
    """Open the database of settings with all rights, closed at the end of the test."""
    with ExitStack() as stack:

        def open_all(settings: Settings) -> Database:
            assert settings.database_url is not None
            database = Database(settings.database_url.get_secret_value())
            stack.callback(database.dispose)
            return database

        yield open_all


def _copy_database(session: "psycopg.Connection[tuple[object, ...]]", name: str, template: str) -> None:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    session.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
