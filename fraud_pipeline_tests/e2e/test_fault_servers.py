"""Faults of the servers themselves: PostgreSQL ends mid-write, MLflow is away, daemon and worker are killed."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import psycopg
import pytest

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.model_registry import ModelRegistry
from fraud_pipeline_tests.e2e.conftest import Delivery
from fraud_pipeline_tests.e2e.deployment import LATER, Dagster, wait_for
from fraud_pipeline_tests.e2e.fault_proxy import Fault, HttpProxy, address, proxied
from fraud_pipeline_tests.e2e.fault_trials import WORK, Outcome, Undisturbed, examine, note
from fraud_pipeline_tests.e2e.faults import Lab
from fraud_pipeline_tests.e2e.production import BUCKET, Production

pytestmark = pytest.mark.e2e

MODELS = ("isolation_forest", "local_outlier_factor", "feedback_classifier", "fraud_model")
SKEW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long skew(void) { const char *text = getenv("CLOCK_SKEW"); return text ? atol(text) : 0; }
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, now);
    if (id == CLOCK_REALTIME) now->tv_sec += skew();
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *where) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (where) *where = exact.tv_sec;
    return exact.tv_sec;
}
"""


@pytest.mark.parametrize("number", range(3))
def test_postgresql_ends_in_the_middle_and_comes_back(
    number: int, lab: Lab, undisturbed: Undisturbed, record_property: Callable[[str, object], None]
) -> None:
    share = (number + random.Random(number).random()) / 3  # noqa: S311 - a moment, no secret
    outcome = Outcome(f"PostgreSQL ends, {number + 1}", f"after {share:.0%} of the work")
    with lab.trial(f"restart_{number}") as trial:

        def disturb() -> None:
            process = trial.begin(*WORK)
            process.work_until(share * undisturbed.cpu_seconds)
            lab.production.postgres.stop()
            try:
                note(outcome, process)
            finally:
                lab.production.postgres.start()

        record_property("fault", str(examine(trial, undisturbed, outcome, disturb)))
    outcome.verify()


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler to give a process another clock")
@pytest.mark.parametrize("seconds", [-600, 600, 86_400])
def test_a_clock_that_is_wrong_changes_no_row(
    seconds: int,
    lab: Lab,
    undisturbed: Undisturbed,
    folder: Path,
    record_property: Callable[[str, object], None],
) -> None:
    library = folder / "skew.so"
    if not library.exists():
        source = folder / "skew.c"
        source.write_text(SKEW)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)  # noqa: S603, S607
    outcome = Outcome("clock skew", f"{seconds:+,} seconds")
    with lab.trial(f"skew_{abs(seconds)}_{seconds > 0}".lower()) as trial:
        skewed = {"LD_PRELOAD": str(library), "CLOCK_SKEW": str(seconds)}
        environment = trial.deployment.environment | skewed
        told = subprocess.run(["date", "+%s"], env=environment, capture_output=True, check=True)  # noqa: S607
        assert abs(int(told.stdout) - time.time() - seconds) < 60

        def disturb() -> None:
            process = trial.run_cold(*WORK, **skewed)
            outcome.codes.append(process.returncode)
            outcome.said.append(next((line for line in process.stderr.splitlines() if line.startswith("error")), ""))

        record_property("fault", str(examine(trial, undisturbed, outcome, disturb)))
    outcome.verify()


@pytest.mark.parametrize("first", [1, 40, 120])
def test_mlflow_that_goes_away_while_models_are_trained_leaves_nothing_half_registered(
    first: int, lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    production = lab.production
    direct, variables = production.mlflow.url, production.deployment.variables
    proxy = HttpProxy(address(direct))
    outcome = Outcome("MLflow lost at training", f"all from request {first} on")
    start = time.monotonic()
    with lab.trial(f"training_{first}") as trial, proxied(proxy) as port:
        proxy.set(Fault("lost", lambda request: request.number >= first))
        note(outcome, trial.begin("train", FRAUD_PIPELINE_MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}"))
        outcome.moment += f", {proxy.spoilt} of {proxy.requests}"
    outcome.seconds = time.monotonic() - start
    record_property("fault", str(outcome))
    assert outcome.codes == [2]
    assert "MLflow" in outcome.said[0] or "mlflow" in outcome.said[0]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in production.store.variables.items():
            patch.setenv(name, value)
        patch.setenv("MLFLOW_S3_ENDPOINT_URL", production.store.endpoint)
        registry = ModelRegistry(direct, variables["FRAUD_PIPELINE_ARTEFACT_ROOT"])
        for model in MODELS:
            for version in registry.versions(model):
                found, files = registry.read(model, version.version)  # compares the digest
                assert files
                assert found.sha256 == version.sha256
        champion = registry.alias("fraud_model", "champion")
        assert champion is not None
        assert champion.version == 1


def runs_of(dagster: Dagster, day: date) -> list[dict[str, object]]:
    return dagster.runs({"dagster/partition": day.isoformat()})


def land(production: Production, delivery: Delivery, day: date) -> None:
    name = f"transactions_{day}.csv"
    key = f"landing/simulated/transactions/{name}"
    production.store.client().put_object(Bucket=BUCKET, Key=key, Body=(delivery.later / name).read_bytes())


def rows_of(production: Production, day: date) -> int:
    with psycopg.connect(f"{production.postgres.url}/fraud_pipeline") as session:
        query = "select count(*), count(distinct transaction_id) from transactions where event_day = %s"
        ((rows, distinct),) = session.execute(query, [day]).fetchall()
        assert rows == distinct
        return int(rows)


def test_a_killed_run_worker_is_followed_by_a_retry(
    production: Production,
    production_dagster: Dagster,
    delivery: Delivery,
    record_property: Callable[[str, object], None],
) -> None:
    day = LATER[1]
    land(production, delivery, day)

    def worker() -> int | None:
        """Find the process that executes the steps of the day's run."""
        for run in runs_of(production_dagster, day):
            query = f"select event from event_logs where run_id = '{run['id']}'"  # noqa: S608 - an id of Dagster's
            events = "".join(production.rows("dagster", query)["event"])
            if begun := re.search(r"Executing steps in process \(pid: (\d+)\)", events):
                return int(begun[1])
        return None

    pid = wait_for(worker, "a worker runs the new day", seconds=240)
    assert pid is not None
    start = time.monotonic()
    os.kill(pid, signal.SIGKILL)

    def statuses() -> list[object]:
        return [run["status"] for run in runs_of(production_dagster, day)]

    # The failed run is known for some seconds before its retry is.
    wait_for(lambda: "SUCCESS" in statuses(), "a retry succeeds", seconds=240)
    assert statuses() == ["SUCCESS", "FAILURE"]
    assert rows_of(production, day) > 300
    outcome = Outcome("worker of the daemon killed", f"retried and done {time.monotonic() - start:.0f} s later")
    record_property("fault", f"{outcome.name:<32}{outcome.moment}")


def test_a_daemon_killed_between_tick_and_launch_loses_no_file_and_doubles_none(
    production: Production,
    production_dagster: Dagster,
    delivery: Delivery,
    record_property: Callable[[str, object], None],
) -> None:
    days = LATER[2:5]
    daemon = daemon_of(production)
    for day in days:
        land(production, delivery, day)
    wait_for(lambda: any(runs_of(production_dagster, day) for day in days), "the first run is made", seconds=240)
    os.kill(daemon, signal.SIGKILL)
    made = [len(runs_of(production_dagster, day)) for day in days]
    production.deployment.command("ui")
    assert daemon_of(production) != daemon
    for day in days:
        wait_for(lambda day=day: runs_of(production_dagster, day), f"{day} is requested", seconds=240)  # type: ignore[misc]
        (run,) = production_dagster.finished({"dagster/partition": day.isoformat()}, seconds=240)
        assert run["status"] == "SUCCESS"
        assert rows_of(production, day) > 300
    record_property(
        "fault", f"{'daemon killed':<32}after {sum(made)} of {len(days)} requests had become runs: one each"
    )


def daemon_of(production: Production) -> int:
    record = json.loads((production.deployment.home / "processes" / "processes.json").read_text())
    return int(record["daemon"]["pid"])


def test_tables_know_no_connection_of_the_dead(production: Production) -> None:
    database = Database(f"{production.postgres.url}/fraud_pipeline")
    with database.begin() as connection:
        left = connection.exec_driver_sql(
            "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in trans%%'"
        ).scalar_one()
    database.dispose()
    assert left == 0
