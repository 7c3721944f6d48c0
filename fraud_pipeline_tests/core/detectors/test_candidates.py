"""The candidates of the comparison are fitted on the training rows and oriented like the detectors."""

import numpy as np
import pandas as pd
import pytest

from fraud_pipeline.core.detectors.candidates import score_candidates
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline_tests.builders import DETECTOR_COLUMNS, random_features

TRAINING = random_features(400, seed=1)
PLANTED = 8
ROWS = random_features(200, outliers=PLANTED, seed=2)


def test_planted_outliers_have_the_highest_scores_of_every_candidate() -> None:
    scores = score_candidates(TRAINING, ROWS, DETECTOR_COLUMNS)
    assert set(scores) == {"copod", "ecod", "hbos"}
    for values in scores.values():
        assert set(np.argsort(values)[-PLANTED:]) == set(range(len(ROWS) - PLANTED, len(ROWS)))


def test_scores_repeat_and_the_frames_are_left_as_they_were() -> None:
    training, rows = TRAINING.copy(deep=True), ROWS.copy(deep=True)
    first, again = (score_candidates(training, rows, DETECTOR_COLUMNS) for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    pd.testing.assert_frame_equal(training, TRAINING)
    pd.testing.assert_frame_equal(rows, ROWS)


def test_missing_columns_are_named() -> None:
    with pytest.raises(InvalidDataError, match="the features lack amount"):
        score_candidates(TRAINING, ROWS.drop(columns="amount"), DETECTOR_COLUMNS)
