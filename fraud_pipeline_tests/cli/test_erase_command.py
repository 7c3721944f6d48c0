"""``fraud-pipeline erase-user`` on a deployment that was walked through: nothing of the user is left anywhere."""

import io
import re
import shutil
import sys
import time
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.erasure import Person, erase_from_lake
from fraud_pipeline.orchestration.instance_status import active_runs
from fraud_pipeline_tests.adapters.test_database_erasure import dump
from fraud_pipeline_tests.cli.conftest import Deployment, Walk, assert_refused, configured, files_of
from fraud_pipeline_tests.conftest import libpq_url

DPO = ("--by", "dpo")


@dataclass(frozen=True)
class Worked:
    """A deployment of its own, and the card holder whose alerts were worked on."""

    deployment: Deployment
    user: str

    @property
    def url(self) -> str:
        url = self.deployment.settings.database_url
        assert url is not None
        return url.get_secret_value()

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """Every partition of the lake."""
        lake = self.deployment.lake
        return {f"{name} {day}": lake.read(name, day) for name in lake.datasets() for day in sorted(lake.days(name))}

    @property
    def everything(self) -> str:
        """Lake and database as text, cell by cell, and the lake's files as they lie there."""
        files = [path.read_bytes().decode("latin-1") for path in Path(self.deployment.settings.lake).rglob("*.*")]
        return "".join([dump(self.url), *(frame.to_csv() for frame in self.frames.values()), *files])

    @property
    def others(self) -> dict[str, list[tuple[object, ...]]]:
        """All rows of the database but those of the user, and without what records that something was done."""
        names = re.compile("|".join(map(re.escape, {self.user, *self.transactions})))
        alerts, cases = self.numbers("alerts", "alert_id"), self.numbers("cases", "case_id")
        rows = self.deployment.rows
        rows["alert_events"] = [row for row in rows["alert_events"] if row[1] not in alerts and row[2] not in cases]
        return {
            table: [row for row in found if not names.search(str(row))]
            for table, found in rows.items()
            if table not in {"erasures", "pipeline_runs"}
        }

    @property
    def transactions(self) -> set[str]:
        raw = [frame for name, frame in self.frames.items() if name.startswith("raw_transactions")]
        found = pd.concat(raw)
        return set(found.loc[found["user_id"] == self.user, "transaction_id"].dropna())

    def numbers(self, table: str, column: str) -> list[int]:
        query = sql.SQL("SELECT {} FROM {} WHERE user_id = %s ORDER BY 1")
        with psycopg.connect(libpq_url(self.url)) as session:
            found = session.execute(query.format(*map(sql.Identifier, (column, table))), [self.user]).fetchall()
        return [number for (number,) in found]


@pytest.fixture
def worked(walk: Walk, tmp_path: Path, postgres_server_url: str) -> Iterator[Worked]:
    """Copy the walked deployment, and let an analyst work on the card holder with most alerts."""
    source, name = walk.deployment.settings.database_url, f"erase_{uuid.uuid4().hex}"
    assert source is not None
    template = make_url(source.get_secret_value()).database
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute("SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE datname = %s", [template])
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        session.execute(create.format(sql.Identifier(name), sql.Identifier(str(template))))
    url = make_url(postgres_server_url).set(database=name).render_as_string(hide_password=False)
    home = Path(shutil.copytree(walk.deployment.home, tmp_path / "home"))
    deployment = Deployment(home, {"FRAUD_PIPELINE_DATABASE_URL": url})
    with psycopg.connect(libpq_url(url)) as session:
        query = (
            "SELECT user_id, min(alert_id) FROM alerts WHERE case_id IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1"
        )
        found = session.execute(query).fetchone()
    assert found is not None
    user, alert = found
    deployment.succeed("review", "take", alert, "--by", "ada")
    deployment.succeed("review", "comment", alert, "called", "--by", "ada")
    deployment.succeed("review", "close", alert, "--outcome", "confirmed_fraud", "--by", "ada")
    yield Worked(deployment, user)
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_nothing_of_the_user_is_left_and_other_users_keep_every_row(worked: Worked) -> None:
    frames, others, transactions = worked.frames, worked.others, worked.transactions
    landed = files_of(Path(worked.deployment.settings.landing))
    assert transactions
    assert worked.numbers("alerts", "alert_id")
    counted = worked.deployment.succeed("erase-user", worked.user, *DPO, "--dry-run").out
    assert [list(frame) for frame in worked.frames.values()] == [list(frame) for frame in frames.values()]
    assert worked.user in worked.everything

    told = worked.deployment.succeed("erase-user", worked.user, *DPO).out
    left = worked.everything
    assert worked.user not in left
    assert not [name for name in transactions if name in left]
    assert worked.others == others
    for name, frame in worked.frames.items():
        before = frames[name]
        kept = before[before["user_id"] != worked.user].reset_index(drop=True) if "user_id" in before else before
        pd.testing.assert_frame_equal(frame, kept)
    assert worked.user not in told
    assert counted.replace("would be erased", "erased").splitlines()[-8:-5] == told.splitlines()[-8:-5]
    assert files_of(Path(worked.deployment.settings.landing)) == landed


def test_the_days_that_are_named_bring_the_user_back_and_no_others(worked: Worked) -> None:
    told = worked.deployment.succeed("erase-user", worked.user, *DPO).out
    named = re.findall(r"simulated/transactions/transactions_(\S+)\.csv", told)
    assert f"A run of these days would bring the user back: {', '.join(named)}." in told
    landing = Path(worked.deployment.settings.landing) / "simulated" / "transactions"
    holds = [path.stem.partition("_")[2] for path in sorted(landing.iterdir()) if worked.user in path.read_text()]
    assert named == holds
    worked.deployment.succeed("run", "--from", named[0], "--to", named[0])
    assert worked.user in worked.everything
    again = worked.deployment.succeed("erase-user", worked.user, *DPO).out
    assert "rows of the lake erased: " in again
    assert worked.user not in worked.everything


def test_an_erasure_that_was_killed_after_the_lake_is_finished_by_the_next_one(worked: Worked) -> None:
    others = worked.others
    person = Person.of(worked.user, None)
    erase_from_lake(worked.deployment.lake, person, dry_run=False, on_day=lambda *_: None)
    assert worked.user in dump(worked.url)
    told = worked.deployment.succeed("erase-user", worked.user, *DPO).out
    assert "0 rows of the lake erased\n" in told
    assert worked.user not in worked.everything
    assert worked.others == others
    assert len(worked.deployment.rows["erasures"]) == 1


def test_a_process_that_is_killed_in_the_middle_of_the_lake_leaves_whole_files_and_is_run_again(worked: Worked) -> None:
    lake = Path(worked.deployment.settings.lake)
    before, others, columns = (
        files_of(lake),
        worked.others,
        {name: list(frame) for name, frame in worked.frames.items()},
    )
    process = worked.deployment.start("erase-user", worked.user, *DPO)
    while files_of(lake) == before and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert {name: list(frame) for name, frame in worked.frames.items()} == columns
    worked.deployment.succeed("erase-user", worked.user, *DPO)
    assert worked.user not in worked.everything
    assert worked.others == others


def test_once_more_changes_nothing_and_says_so(worked: Worked) -> None:
    worked.deployment.succeed("erase-user", worked.user, *DPO)
    before = files_of(Path(worked.deployment.settings.lake)), worked.deployment.content["transactions"]
    told = worked.deployment.succeed("erase-user", worked.user, *DPO).out
    assert "0 rows of the lake erased\n0 rows of the database erased\n" in told
    assert (files_of(Path(worked.deployment.settings.lake)), worked.deployment.content["transactions"]) == before


def test_the_identifier_may_come_by_standard_input(worked: Worked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{worked.user}\n"))
    worked.deployment.succeed("erase-user", "-", *DPO)
    assert worked.user not in worked.everything


def test_while_a_run_is_at_work_nothing_is_erased(worked: Worked) -> None:
    home = worked.deployment.settings.dagster_home
    with configured(worked.deployment.home, {}), dg.DagsterInstance.from_config(str(home)) as instance:
        before_all, now = datetime(2020, 1, 1, tzinfo=UTC), clock.utc_now()
        assert len(active_runs(instance, before_all)) == instance.get_runs_count() > 0
        assert active_runs(instance, now) == active_runs(instance) == []
        instance.add_run(dg.DagsterRun(job_name="score_nightly", status=dg.DagsterRunStatus.STARTED))
    refused = worked.deployment.run("erase-user", worked.user, *DPO)
    assert_refused(refused, "a run is at work", "score_nightly", "wait until it has ended")
    assert worked.user in worked.everything


def test_whoever_may_not_erase_in_the_database_leaves_the_lake_alone(worked: Worked) -> None:
    before = files_of(Path(worked.deployment.settings.lake))
    with psycopg.connect(libpq_url(worked.url), autocommit=True) as session:
        session.execute("CREATE ROLE clerk LOGIN IN ROLE fraud_pipeline")
    try:
        clerk = make_url(worked.url).set(username="clerk").render_as_string(hide_password=False)
        refused = worked.deployment.with_variables(database_url=clerk).run("erase-user", worked.user, *DPO)
        assert_refused(refused, "denies clerk the access", "erase_user")
    finally:
        with psycopg.connect(libpq_url(worked.url), autocommit=True) as session:
            session.execute("DROP ROLE clerk")
    assert files_of(Path(worked.deployment.settings.lake)) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((" ", *DPO), ("is blank",)),
        (("u1", "--by", " "), ("name of who",)),
        (("4111 1111 1111 1111", *DPO), ("FRAUD_PIPELINE_TOKENISATION_KEY is not set",)),
    ],
)
def test_what_cannot_be_erased_is_refused(
    deployment: Deployment, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_refused(deployment.run("erase-user", *arguments), *words)


def test_models_hold_no_identifier_of_the_rows_that_trained_them(walk: Walk) -> None:
    lake, home = walk.deployment.lake, walk.deployment.home
    rows = pd.concat([lake.read("validated_transactions", day) for day in lake.days("validated_transactions")])
    names = {name for column in ("transaction_id", "user_id", "merchant_id") for name in rows[column].unique()}
    words = re.compile(rb"[A-Za-z0-9_.-]+")
    kept = [*(home / "artefacts").rglob("*.*"), home / "mlflow.db"]
    assert len(kept) > 5
    for path in kept:
        parts = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                parts += [archive.read(name) for name in archive.namelist()]
        found = {word.decode() for part in parts for word in words.findall(part)}
        assert not found & names, path
