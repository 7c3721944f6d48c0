"""Commands around servers: migrate, ui, psql, stop."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.processes import ProcessGroup, require_free_port, wait_for_http
from fraud_pipeline.cli.console import console
from fraud_pipeline.cli.runs import DAGSTER_YAML
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.orchestration.resources import EMBEDDED_DATABASE, open_database
from fraud_pipeline.orchestration.runs import open_instance
from fraud_pipeline.settings import Settings, child_environment

WORKSPACE_YAML = DAGSTER_YAML.with_name("workspace.yaml")
READY_SECONDS = 120.0


def migrate() -> None:
    """Bring the database of FRAUD_PIPELINE_DATABASE_URL to the schema of this version."""
    settings = Settings.from_env()
    if settings.database_url is None:
        open_database(settings)
    else:
        Database(settings.database_url.get_secret_value()).upgrade()
    console.print("The database has the schema of this version.")


def ui() -> None:
    """Start the Dagster webserver and daemon in the background."""
    settings = Settings.from_env()
    processes = process_group(settings)
    url = f"http://127.0.0.1:{settings.ui_port}"
    if {"webserver", "daemon"} <= processes.running().keys():
        console.print(f"Dagster already runs at {url}")
        return
    require_free_port(settings.ui_port, "FRAUD_PIPELINE_UI_PORT")
    open_instance(settings, DAGSTER_YAML).dispose()
    if settings.database_url is None:
        # Started here once, so that webserver, daemon and every run find it running.
        open_database(settings)
    environment = child_environment(settings)
    logs = settings.home / "logs"
    commands = {
        "webserver": ["dagster-webserver", "-h", "127.0.0.1", "-p", str(settings.ui_port), "-w", str(WORKSPACE_YAML)],
        "daemon": ["dagster-daemon", "run", "-w", str(WORKSPACE_YAML)],
    }
    for name, (program, *arguments) in commands.items():
        executable = str(Path(sys.executable).with_name(program))
        processes.start(name, [executable, *arguments], environment, logs / f"{name}.log")
    with console.status("Dagster starts…"):
        wait_for_http(
            f"{url}/server_info", READY_SECONDS, lambda: "webserver" in processes.running(), logs / "webserver.log"
        )
    console.print(f"Dagster runs at {url} (logs in {logs}); `make stop` ends it.")


def psql(
    command: Annotated[str, typer.Option("--command", "-c", help="Run this SQL and leave.")] = "",
) -> None:
    """Open the alert database in psql."""
    settings = Settings.from_env()
    server = EmbeddedPostgres(settings.postgres_folder)
    if settings.database_url is None:
        open_database(settings)
        url = server.url(EMBEDDED_DATABASE)
    else:
        url = settings.database_url.get_secret_value()
    program = shutil.which("psql") or server.psql_path
    if program is None:
        raise ConfigurationError("psql is not installed; install PostgreSQL's client to use this command.")
    arguments = [str(program), url.replace("postgresql+psycopg://", "postgresql://", 1)]
    if command:
        arguments += ["-c", command]
    raise typer.Exit(subprocess.run(arguments, check=False).returncode)  # noqa: S603 - our own program and URL


def stop() -> None:
    """Stop webserver, daemon and embedded PostgreSQL."""
    settings = Settings.from_env()
    stopped = process_group(settings).stop()
    server = EmbeddedPostgres(settings.postgres_folder)
    if server.is_running():
        server.stop()
        stopped.append("postgres")
    console.print(f"stopped: {', '.join(stopped) or 'nothing was running'}")


def process_group(settings: Settings) -> ProcessGroup:
    """Give the background processes of this deployment."""
    return ProcessGroup(settings.home / "processes")
