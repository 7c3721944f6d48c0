"""Which faults of a step are tried again, and when."""

import time

import dagster as dg
import pytest
from pydantic import SecretStr

from fraud_pipeline.connections import open_database
from fraud_pipeline.core.errors import DatabaseError, InvalidDataError
from fraud_pipeline.orchestration import resources
from fraud_pipeline.orchestration.assets import daily
from fraud_pipeline.orchestration.resources import open_patiently
from fraud_pipeline.settings import Settings

DAY = "2026-01-01"


class Faulty:
    """A step that fails so many times."""

    def __init__(self, times: int, error: Exception, cause: Exception | None = None) -> None:
        self.times, self.error, self.cause, self.calls = times, error, cause, 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error from self.cause


def run(faulty: Faulty, **tags: str) -> dg.ExecuteInProcessResult:
    @daily.daily_asset(Settings.from_env())
    def step(context: dg.AssetExecutionContext, faulty: dg.ResourceParam[Faulty]) -> None:
        """A step."""
        assert context.partition_key == DAY
        faulty()

    return dg.materialize([step], partition_key=DAY, resources={"faulty": faulty}, tags=tags, raise_on_error=False)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily, "RETRY_SECONDS", (0.1, 0.2, 0.3))


def test_a_connection_that_comes_back_lets_the_step_succeed() -> None:
    faulty = Faulty(2, DatabaseError("cannot be reached"), ConnectionResetError(104, "reset"))
    result = run(faulty)
    assert result.success
    waits = [
        event.step_retry_data.seconds_to_wait
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY
    ]
    assert (faulty.calls, waits) == (3, [0.1, 0.2])


def test_a_connection_that_stays_away_fails_the_step_in_the_end() -> None:
    faulty = Faulty(99, DatabaseError("cannot be reached"), ConnectionResetError(104, "reset"))
    assert not run(faulty).success
    assert faulty.calls == 4


@pytest.mark.parametrize("error", [InvalidDataError("a frame is broken"), OSError(28, "no space left"), ValueError()])
def test_what_will_not_pass_fails_at_once(error: Exception) -> None:
    faulty = Faulty(1, error)
    assert not run(faulty).success
    assert faulty.calls == 1


def test_a_command_shows_the_first_fault() -> None:
    faulty = Faulty(1, DatabaseError("cannot be reached"), ConnectionResetError(104, "reset"))
    assert not run(faulty, **{"dagster/max_retries": "0"}).success
    assert faulty.calls == 1


def test_a_step_that_yields_is_tried_again_as_well() -> None:
    faulty = Faulty(1, DatabaseError("cannot be reached"), TimeoutError())

    @daily.daily_asset(Settings.from_env())
    def step(faulty: dg.ResourceParam[Faulty]):  # type: ignore[no-untyped-def]  # Dagster reads the annotation
        """A step."""
        faulty()
        yield dg.MaterializeResult()

    assert dg.materialize([step], partition_key=DAY, resources={"faulty": faulty}).success
    assert faulty.calls == 2


@pytest.mark.parametrize(("tags", "patient"), [({}, True), ({"dagster/max_retries": "0"}, False)])
def test_a_run_waits_for_a_database_that_is_away_and_a_command_does_not(tags: dict[str, str], patient: bool) -> None:
    settings = Settings.from_env(database_url="postgresql://nobody@127.0.0.1:1/none")
    began = time.monotonic()
    with pytest.raises(DatabaseError, match="cannot be reached"):
        open_patiently(settings, dg.DagsterRun(job_name="score_nightly", tags=tags))
    assert (time.monotonic() - began >= sum(daily.RETRY_SECONDS)) is patient


def test_a_run_finds_a_database_that_comes_back(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_env(database_url=database_url)
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://nobody@127.0.0.1:1/none")})
    asked = iter([away, settings])
    monkeypatch.setattr(resources, "open_database", lambda _: open_database(next(asked)))
    open_patiently(settings, dg.DagsterRun(job_name="score_nightly")).dispose()
    assert next(asked, None) is None
