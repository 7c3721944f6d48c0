"""The garbage collector leaves alone what is loaded for good."""

import gc
from collections.abc import Iterator

import pytest

from fraud_pipeline.api import heap


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


def test_nothing_is_collected_until_loading_ends() -> None:
    heap.hold()
    with heap.loading():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_loaded_is_not_looked_at_again_and_what_comes_later_is() -> None:
    loaded: list[object] = []
    with heap.loading():
        loaded.append([])
    later: list[object] = []
    seen = {id(each) for each in gc.get_objects()}
    assert id(loaded[0]) not in seen
    assert id(later) in seen


def test_the_collector_is_on_again_after_a_failure() -> None:
    with pytest.raises(ValueError, match="no model"), heap.loading():
        raise ValueError("no model")
    assert gc.isenabled()
