"""Servers: the Dagster UI, the alert database, and stopping them."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.processes import ProcessGroup, require_free_port, wait_for_http
from fraud_pipeline.cli.console import console
from fraud_pipeline.cli.runs import DAGSTER_YAML
from fraud_pipeline.connections import EMBEDDED_DATABASE, open_database, upgrade_database
from fraud_pipeline.core.errors import ConfigurationError, FraudPipelineError
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.runs import open_instance
from fraud_pipeline.settings import Settings, child_environment

WORKSPACE_YAML: Final = DAGSTER_YAML.with_name("workspace.yaml")
READY_SECONDS: Final = 120.0


def migrate(settings: Settings) -> None:
    """Bring the alert database to the schema of this version."""
    if settings.database_url is None:
        open_database(settings)
    else:
        upgrade_database(Database(settings.database_url.get_secret_value()), settings)
    console.print("The database has the schema of this version.")


def ui(settings: Settings) -> None:
    """Start the Dagster webserver and daemon, each unless it runs.

    Raises
    ------
    FraudPipelineError
        If something stands in the way; then neither runs.
    """
    processes = process_group(settings)
    url = f"http://127.0.0.1:{settings.ui_port}"
    running = processes.running().keys()
    if {"webserver", "daemon"} <= running:
        console.print(f"Dagster already runs at {url}")
        return
    if "webserver" not in running:
        require_free_port(settings.ui_port, "FRAUD_PIPELINE_UI_PORT")
    # What would only show in the logs of the servers is tried here. The embedded PostgreSQL that this
    # starts is found by webserver, daemon and every run.
    build_definitions(settings)
    open_instance(settings, DAGSTER_YAML).dispose()
    open_database(settings).dispose()
    logs = settings.home / "logs"
    try:
        with console.status("Dagster starts…"):
            _start_dagster(settings, processes, logs)
            wait_for_http(
                f"{url}/server_info", READY_SECONDS, lambda: "webserver" in processes.running(), logs / "webserver.log"
            )
    except (FraudPipelineError, KeyboardInterrupt):
        processes.stop()
        raise
    console.print(f"Dagster runs at {url} (logs in {logs}); `make stop` ends it.")


def psql(settings: Settings, command: str) -> int:
    """Open psql, or run one SQL command in it; returns its exit code.

    Raises
    ------
    ConfigurationError
        If there is no psql.
    """
    server = EmbeddedPostgres(settings.postgres_folder)
    if settings.database_url is None:
        open_database(settings)
        database = Database(server.url(EMBEDDED_DATABASE))
    else:
        database = Database(settings.database_url.get_secret_value())
    program = shutil.which("psql") or server.psql_path
    if program is None:
        raise ConfigurationError("psql is not installed; install PostgreSQL's client to use this command.")
    address, password = database.libpq_address()
    arguments = [str(program), address, *(["-c", command] if command else [])]
    # The password goes by the environment: every user of the machine can read the arguments.
    environment = dict(child_environment(settings)) | ({"PGPASSWORD": password} if password else {})
    return subprocess.run(arguments, env=environment, check=False).returncode  # noqa: S603 - our own program and URL


def stop(settings: Settings) -> None:
    """Stop webserver, daemon and embedded PostgreSQL."""
    stopped = process_group(settings).stop()
    server = EmbeddedPostgres(settings.postgres_folder)
    if server.is_running():
        server.stop()
        stopped.append("postgres")
    console.print(f"stopped: {', '.join(stopped) or 'nothing was running'}")


def process_group(settings: Settings) -> ProcessGroup:
    """Give the background processes of this deployment."""
    return ProcessGroup(settings.home / "processes")


def _start_dagster(settings: Settings, processes: ProcessGroup, logs: Path) -> None:
    environment = child_environment(settings)
    commands = {
        "webserver": ["dagster-webserver", "-h", "127.0.0.1", "-p", str(settings.ui_port), "-w", str(WORKSPACE_YAML)],
        "daemon": ["dagster-daemon", "run", "-w", str(WORKSPACE_YAML)],
    }
    if settings.log_format == "json":
        commands = {name: [*command, "--log-format", "json"] for name, command in commands.items()}
    for name, (program, *arguments) in commands.items():
        executable = str(Path(sys.executable).with_name(program))
        processes.start(name, [executable, *arguments], environment, logs / f"{name}.log")
