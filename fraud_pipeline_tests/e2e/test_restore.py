"""A deployment that was wiped comes back with the commands of the operators' handbook, to the last row and right."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest

from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.connections import EMBEDDED_DATABASE
from fraud_pipeline_tests.cli.conftest import Rows, files_of, rows_of
from fraud_pipeline_tests.conftest import libpq_url
from fraud_pipeline_tests.e2e.conftest import Delivery
from fraud_pipeline_tests.e2e.deployment import LATER, NIGHTS, PROJECT, Deployment

pytestmark = pytest.mark.e2e

HANDBOOK: Final = PROJECT / "docs" / "operations.md"
KEPT: Final = ("landing", "lake", "artefacts", "dagster")
ADA: Final = ("--by", "ada")


def commands(name: str) -> str:
    """Give the commands that the handbook marks with a name."""
    found = re.search(rf"<!-- commands: {name} -->\n```sh\n(.*?)```", HANDBOOK.read_text(), re.DOTALL)
    assert found is not None, name
    return found[1]


@dataclass(frozen=True)
class State:
    """Everything that a deployment has kept."""

    rows: Rows
    schema: str
    files: dict[str, dict[str, str]]
    models: str


@dataclass(frozen=True)
class Worked:
    """A deployment with nights that were scored and an alert that somebody closed."""

    deployment: Deployment
    backup: Path
    alert: int

    def bash(self, *scripts: str) -> str:
        """Run commands of the handbook as an operator does; returns what they printed."""
        folder = self.backup.with_name("checkout")
        folder.mkdir(exist_ok=True)
        if not (folder / ".venv").exists():
            (folder / ".venv").symlink_to(sys.prefix)
        path = os.pathsep.join([str(Path(sys.executable).parent), self.deployment.environment["PATH"]])
        done = subprocess.run(  # noqa: S603 - commands of our own handbook
            ["/bin/bash", "-euo", "pipefail", "-c", "\n".join(scripts)],
            env=self.deployment.environment | {"PATH": path, "BACKUP": str(self.backup)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
        return printed

    @property
    def url(self) -> str:
        server = EmbeddedPostgres(self.deployment.home / "postgres")
        server.start()
        return server.url(EMBEDDED_DATABASE)

    def refusal(self, role: str, statement: str) -> str:
        """Try a statement as a role, or as the owner; returns why it was refused, nothing if it was not."""
        with psycopg.connect(libpq_url(self.url)) as session:
            session.execute(f"SET ROLE {role}".encode())
            try:
                session.execute(statement.encode())
            except psycopg.Error as error:
                return str(error)
            session.rollback()
            return ""

    @property
    def alerts(self) -> dict[int, str]:
        """Transactions of all alerts, by the number of the alert."""
        with psycopg.connect(libpq_url(self.url)) as session:
            return dict(session.execute("SELECT alert_id, transaction_id FROM alerts").fetchall())

    @property
    def state(self) -> State:
        rows = rows_of(self.url)
        # Tables, triggers, functions, comments, owners and rights, those of the database itself too. PostgreSQL puts
        # other brackets into a condition that it has read from a dump, and pg_dump makes up two keys each time.
        dumped = self.bash(commands("address"), "pg_dump --schema-only --create fraud_pipeline")
        kept = [line for line in dumped.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
        schema = re.sub(r"[()]", "", "\n".join(kept))
        files = {name: files_of(self.deployment.home / name) for name in KEPT}
        return State(rows, schema, files, self.deployment.command("models"))


@pytest.fixture(scope="module")
def worked(folder: Path, delivery: Delivery) -> Iterator[Worked]:
    deployment = Deployment(folder / "restored")
    try:
        deployment.train_and_score(delivery.known)
        yield Worked(deployment, folder / "backup", work(deployment))
    finally:
        deployment.command("stop")


def work(deployment: Deployment) -> int:
    """Do what people do: an API key, an account for an analyst, an alert that is closed; returns its number."""
    deployment.command("api-key", "create", "ada", "--scope", "alerts:read")
    with psycopg.connect(libpq_url(deployment.database.engine.url.render_as_string(hide_password=False))) as session:
        session.execute("CREATE ROLE eve LOGIN IN ROLE fraud_analyst")
        found = session.execute(
            "SELECT alert_id FROM alerts WHERE selection = 'threshold' AND event_day = %s ORDER BY 1", [NIGHTS[-1]]
        ).fetchall()
    deployment.database.dispose()
    (alert,), (other,), *_ = found
    deployment.command("review", "take", alert, *ADA)
    deployment.command("review", "comment", alert, "Card holder confirms.", *ADA)
    deployment.command("review", "close", alert, "--outcome", "confirmed_fraud", *ADA)
    deployment.command("review", "assign", other, "--to", "bob", *ADA)
    return int(alert)


@pytest.fixture(scope="module")
def restored(worked: Worked) -> tuple[State, State]:
    """Back up, wipe, restore; gives what there was, and what there is."""
    before = worked.state
    worked.bash(commands("address"), commands("backup"))
    worked.deployment.command("stop")
    shutil.rmtree(worked.deployment.home)
    worked.bash(commands("address"), commands("restore"))
    return before, worked.state


PARTS: Final[dict[str, Callable[[State], object]]] = {
    "rows": lambda state: state.rows,
    "schema and rights": lambda state: state.schema,
    "landing zone": lambda state: state.files["landing"],
    "lake": lambda state: state.files["lake"],
    "artefacts": lambda state: state.files["artefacts"],
    "promotions": lambda state: state.models,
}


@pytest.mark.parametrize("part", PARTS)
def test_a_wiped_deployment_comes_back_as_it_was(restored: tuple[State, State], part: str) -> None:
    before, after = map(PARTS[part], restored)
    assert before
    assert after == before


@pytest.mark.usefixtures("restored")
def test_rights_and_history_are_in_force_again(worked: Worked) -> None:
    for statement in ("UPDATE alert_events SET actor = 'eve'", "DELETE FROM alert_events"):
        assert "keeps what happened" in worked.refusal("NONE", statement)
    assert "append-only" in worked.refusal("NONE", "DELETE FROM review_decisions")
    assert "nobody signs" in worked.refusal("NONE", "UPDATE alerts SET assignee = 'eve'")
    for role in ("fraud_analyst", "eve"):
        assert "permission denied for table alerts" in worked.refusal(role, "SELECT * FROM alerts")
        assert worked.refusal(role, "SELECT * FROM open_alerts") == ""
    assert "permission denied for table alerts" in worked.refusal("fraud_pipeline", "DELETE FROM alerts")
    assert "permission denied for function erase_user" in worked.refusal(
        "fraud_pipeline", "SELECT erase_user('{}', '{}', '{}')"
    )


@pytest.mark.usefixtures("restored")
def test_the_doctor_finds_nothing_and_the_alert_still_follows_from_what_was_recorded(worked: Worked) -> None:
    assert "all is well" in worked.deployment.command("doctor")
    assert "follows from what was recorded" in worked.deployment.command("alert", "verify", worked.alert)


@pytest.mark.usefixtures("restored")
def test_nights_go_on_and_no_alert_is_raised_twice(worked: Worked, delivery: Delivery) -> None:
    before, known = rows_of(worked.url), worked.alerts
    again = worked.deployment.command("run", "--nightly", "--from", NIGHTS[-1], "--to", NIGHTS[-1])
    assert "1 days done" in again
    for table in ("alerts", "cases", "alert_events", "review_decisions"):
        assert rows_of(worked.url)[table] == before[table], table

    landing = worked.deployment.home / "landing" / "simulated" / "transactions"
    shutil.copy(delivery.later / f"transactions_{LATER[0]}.csv", landing)
    worked.deployment.command("run", "--nightly", "--from", LATER[0], "--to", LATER[0])
    after = worked.alerts
    assert len(set(after.values())) == len(after) > len(known)
    assert after.items() > known.items()
    assert min(after.keys() - known.keys()) == max(known) + 1
