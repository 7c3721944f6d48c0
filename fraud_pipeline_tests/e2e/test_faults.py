"""Faults at work between the pipeline and its servers; afterwards a run again leaves the rows of an undisturbed one."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from fraud_pipeline_tests.e2e.fault_trials import SCENARIOS, Outcome, Undisturbed
from fraud_pipeline_tests.e2e.faults import Lab

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def trials(lab: Lab, undisturbed: Undisturbed, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Outcome]]]:
    """Begin the trials that were asked for, two at a time."""
    names = [item.callspec.params.get("scenario") for item in request.session.items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(SCENARIOS[name], lab, undisturbed) for name in names if name in SCENARIOS}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_after_a_fault_a_run_again_leaves_the_rows_of_an_undisturbed_one(
    scenario: str, trials: dict[str, Future[Outcome]], record_property: Callable[[str, object], None]
) -> None:
    outcome = trials[scenario].result()
    record_property("fault", str(outcome))
    outcome.verify()
