"""A challenger takes over only if it is strictly better on the same rows."""

import numpy as np
import pytest

from fraud_pipeline.core.promotion import compare

IS_FRAUD = np.array([True, False, True, False, False])
PERFECT = np.array([0.9, 0.1, 0.8, 0.2, 0.3])
SECOND_BEST = np.array([0.9, 0.1, 0.2, 0.8, 0.15])


def test_without_a_champion_the_challenger_is_promoted() -> None:
    verdict = compare(IS_FRAUD, SECOND_BEST, None)
    assert verdict.promoted
    assert verdict.champion_average_precision is None
    assert verdict.reason == "there is no champion yet"


def test_a_better_challenger_takes_over() -> None:
    verdict = compare(IS_FRAUD, PERFECT, SECOND_BEST)
    assert verdict.promoted
    assert verdict.challenger_average_precision == pytest.approx(1.0)
    # Frauds are on ranks 1 and 3: (1/1 + 2/3) / 2.
    assert verdict.champion_average_precision == pytest.approx(5 / 6)
    assert verdict.reason == "average precision 1.000 is above the champion's 0.833"


@pytest.mark.parametrize("champion", [PERFECT, PERFECT * 0.5], ids=["the same scores", "the same order"])
def test_a_tie_keeps_the_champion(champion: np.ndarray) -> None:
    verdict = compare(IS_FRAUD, PERFECT, champion)
    assert not verdict.promoted
    assert verdict.reason == "average precision 1.000 is not above the champion's 1.000"


def test_a_worse_challenger_is_not_promoted() -> None:
    assert not compare(IS_FRAUD, SECOND_BEST, PERFECT).promoted
