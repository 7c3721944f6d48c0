"""kill -9 of the daemon in a tick of the file sensor, at every moment between its start and the last launch."""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration

from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.adapters.source import Source
from fraud_pipeline.orchestration.runs import open_instance
from fraud_pipeline.settings import Settings

pytestmark = pytest.mark.e2e

SENSOR: Final = "transaction_file_arrived"
DAGSTER_YAML: Final = Path(__file__).parents[2] / "dagster.yaml"
DAYS: Final = [date(2026, 1, 1) + timedelta(days=number) for number in range(3)]
COLUMNS: Final = ("transaction_id", "user_id", "merchant_id", "event_time", "amount")
MOMENTS: Final = [
    ("TICK_CREATED", 1),  # before the sensor looks at the files
    ("TICK_HELD", 1),
    ("RUN_IDS_RESERVED", 1),  # after it did, with the cursor written and no run made
    ("RUN_CREATED", 1),  # between a run and its launch
    ("RUN_LAUNCHED", 1),
    ("RUN_CREATED", 2),
    ("RUN_LAUNCHED", 2),
    ("RUN_CREATED", 3),
    ("RUN_LAUNCHED", 3),
    ("RUN_IDS_ADDED_TO_EVALUATIONS", 1),  # all were launched, and the tick is not closed
]
"""Points of Dagster's daemon at which it can be told to end, and the how-manieth time that it passes there."""
RANDOM_MOMENTS: Final = 8


class KillAt(dict[str, int]):
    """Flags of the daemon by which it kills itself when it passes a point for the n-th time."""

    def __init__(self, point: str, passes: int) -> None:
        super().__init__({point: signal.SIGKILL})
        self._left = passes

    def get(self, key: str, default: int | None = None) -> int | None:  # type: ignore[override]
        if key not in self:
            return default
        self._left -= 1
        return self[key] if self._left == 0 else default


def daemon(flags: Mapping[str, int] | None) -> None:
    """Evaluate the sensors of the deployment once, as the daemon does, with its queue."""
    # It reads the environment of its deployment when it is imported.
    sys.modules.pop("fraud_pipeline.definitions", None)
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name="fraud_pipeline.definitions")
    location = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(target, location_name="fraud_pipeline"))
    with (
        open_instance(Settings.from_env(), DAGSTER_YAML) as instance,
        create_test_daemon_workspace_context(location, instance) as workspace,
    ):
        crash = None if flags is None else {SENSOR: flags}
        errors = list(execute_sensor_iteration(workspace, logging.getLogger(), None, None, debug_crash_flags=crash))
        assert not any(errors), errors


def begin(flags: Mapping[str, int] | None = None) -> multiprocessing.process.BaseProcess:
    """Start a daemon as a copy of this process."""
    process = multiprocessing.get_context("fork").Process(target=daemon, args=(flags,))
    process.start()
    return process


def again() -> float:
    """Start the daemon anew, after the interval of the sensor, and let it come to its end; returns its seconds."""
    time.sleep(1.1)
    start = time.monotonic()
    process = begin()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - start


@pytest.fixture
def landed(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Give a deployment with three files that nobody has seen, whose runs wait in the queue."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("FRAUD_PIPELINE_HOME", str(tmp_path))
    monkeypatch.setenv("FRAUD_PIPELINE_DATABASE_URL", database_url)
    monkeypatch.setenv("FRAUD_PIPELINE_SENSOR_INTERVAL_SECONDS", "1")
    settings = Settings.from_env()
    table = {"files": "*.csv", "columns": {name: name for name in COLUMNS}}
    source = Source.model_validate({"name": "bank", "currency": "EUR", "transactions": table})
    zone = LandingZone(settings.landing)
    zone.put_source(source)
    for day in DAYS:
        zone.put_transactions(source, f"{day}.csv", f"{','.join(COLUMNS)}\nt{day},u,m,{day}T10:00:00Z,5\n".encode())
        os.utime(Path(settings.landing) / "bank" / "transactions" / f"{day}.csv", (0, 1_700_000_000))
    open_instance(settings, DAGSTER_YAML).dispose()
    return settings


def runs(settings: Settings) -> list[dg.DagsterRun]:
    with open_instance(settings, DAGSTER_YAML) as instance:
        return list(instance.get_runs())


def assert_each_file_has_one_run(settings: Settings) -> None:
    found = runs(settings)
    assert Counter(run.tags["dagster/partition"] for run in found) == {day.isoformat(): 1 for day in DAYS}
    assert {run.status for run in found} == {dg.DagsterRunStatus.QUEUED}


@pytest.mark.parametrize(("point", "passes"), MOMENTS)
def test_killed_at_each_point_of_a_tick_every_file_gets_one_run(landed: Settings, point: str, passes: int) -> None:
    process = begin(KillAt(point, passes))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    made = {"RUN_CREATED": passes, "RUN_LAUNCHED": passes, "RUN_IDS_ADDED_TO_EVALUATIONS": len(DAYS)}.get(point, 0)
    assert len(runs(landed)) == made
    again()
    assert_each_file_has_one_run(landed)
    again()
    assert_each_file_has_one_run(landed)


def test_killed_at_any_moment_again_and_again_every_file_gets_one_run(landed: Settings) -> None:
    seconds = again()
    assert_each_file_has_one_run(landed)
    folder = Path(landed.landing) / "bank" / "transactions"
    killed = 0
    for number in range(3 * RANDOM_MOMENTS):
        if killed == RANDOM_MOMENTS:
            break
        # A corrected file each time, so that there is something to lose.
        file = folder / f"{DAYS[number % len(DAYS)]}.csv"
        file.write_text(f"{file.read_text()}t{number},u,m,2026-01-01T11:00:00Z,5\n")
        os.utime(file, (0, 1_700_000_001 + number))
        time.sleep(1.1)
        process = begin()
        time.sleep(seconds * killed / RANDOM_MOMENTS)
        process.kill()
        process.join()
        # On a busy machine it may have been done already.
        killed += process.exitcode == -signal.SIGKILL
        seconds = again()
        keys = [run.tags["dagster/run_key"] for run in runs(landed)]
        assert len(keys) == len(set(keys)) == len(DAYS) + number + 1
    assert killed == RANDOM_MOMENTS
